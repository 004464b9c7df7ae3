// Errors by their reason: the class and the traits come from the published table.
import { status } from "@grpc/grpc-js";

import { type ErrorDetails, HoldfastError, ServerUnavailableError, WorkflowCheckpointResumeError } from "./errors.js";
import {
  CheckpointCorruptedError,
  DeadlineExceededError,
  InternalError,
  InvalidRequestError,
  PermissionDeniedError,
  REASONS,
  UnauthenticatedError,
  UnimplementedError,
} from "./generated/reasons.js";

type ErrorClass = new (message: string, details: ErrorDetails) => HoldfastError;
interface Traits {
  code: status;
  retryable: boolean;
  advice: string;
  ErrorClass: ErrorClass;
}

/** A reason that servers send. */
export type Reason = keyof typeof REASONS;

const TABLE = new Map<string, Traits>(Object.entries(REASONS));
// The class of a reason that this client does not know, by its status code. NOT_FOUND has none, because a caller would
// take it for a workflow that has not begun.
const CLASSES_BY_CODE = new Map<status, ErrorClass>([
  [status.DATA_LOSS, CheckpointCorruptedError],
  [status.DEADLINE_EXCEEDED, DeadlineExceededError],
  [status.INTERNAL, InternalError],
  [status.INVALID_ARGUMENT, InvalidRequestError],
  [status.PERMISSION_DENIED, PermissionDeniedError],
  [status.UNAUTHENTICATED, UnauthenticatedError],
  [status.UNAVAILABLE, ServerUnavailableError],
  [status.UNIMPLEMENTED, UnimplementedError],
]);

type Further = Partial<Omit<ErrorDetails, "reason">>;

/**
 * Return the error of a reason in the table.
 *
 * @param reason - The reason.
 * @param message - The message.
 * @param details - Details that are not those of the table.
 */
export function ofReason(reason: Reason, message: string, details: Further = {}): HoldfastError {
  const { code, retryable, advice, ErrorClass } = TABLE.get(reason) as Traits;
  return new ErrorClass(message, { code, retryable, advice, ...details, reason });
}

/**
 * Return the error of a reason that a server sent. One that is not in the table comes from a newer server: its class and
 * traits then follow from the status code.
 */
export function ofServer(reason: string, message: string, details: Further & { code: status }): HoldfastError {
  if (TABLE.has(reason)) {
    return ofReason(reason as Reason, message, details);
  }
  const { code } = details;
  const mayRetry =
    code === status.UNAVAILABLE ||
    code === status.DEADLINE_EXCEEDED ||
    (code === status.RESOURCE_EXHAUSTED && details.retryAfterMs !== undefined);
  const ErrorClass = CLASSES_BY_CODE.get(code) ?? WorkflowCheckpointResumeError;
  const advice = "Upgrade the client: it does not know this reason.";
  return new ErrorClass(message, { retryable: mayRetry, advice, ...details, reason });
}

/** Return the error of an answer that contradicts its request or itself. */
export function wrongAnswer(answer: string): HoldfastError {
  return ofReason("INTERNAL", `the server sent ${answer}`, {
    advice: "Check that the target is a Holdfast server, and upgrade it.",
  });
}
