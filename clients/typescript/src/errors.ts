// The errors of the client: their base classes, and those that the client itself raises. The classes of the reasons
// that servers send are generated from the table of reasons.
import { status } from "@grpc/grpc-js";

/** The details of a {@link HoldfastError}, besides its message. */
export interface ErrorDetails {
  reason: string;
  code: status;
  traceId?: string;
  requestId?: string;
  metadata?: Readonly<Record<string, string>>;
  retryable?: boolean;
  advice?: string;
  fieldViolations?: readonly FieldViolation[];
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** A field of a request, and what is wrong with it. */
export interface FieldViolation {
  field: string;
  description: string;
}

/** The failure of a call. There is a subclass for each reason. */
export class HoldfastError extends Error {
  /** The reason, such as "CHECKPOINT_NOT_FOUND". */
  readonly reason: string;
  /** The gRPC status code. */
  readonly code: status;
  /** The call's trace, 32 hex digits. */
  traceId: string;
  /** The idempotency key, or "". */
  readonly requestId: string;
  /** The ids and values that belong to the message. */
  readonly metadata: Record<string, string>;
  /** Whether the same request may succeed if it is sent again. */
  readonly retryable: boolean;
  /** The caller's next step. */
  readonly advice: string;
  /** The fields of the request that are wrong. */
  readonly fieldViolations: readonly FieldViolation[];
  /** How long the server asks to wait, in milliseconds; undefined if it does not say. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.reason = details.reason;
    this.code = details.code;
    this.traceId = details.traceId ?? "";
    this.requestId = details.requestId ?? "";
    this.metadata = { ...details.metadata };
    this.retryable = details.retryable ?? false;
    this.advice = details.advice ?? "";
    this.fieldViolations = details.fieldViolations ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Return the reason, the message and the trace in one line. */
  override toString(): string {
    return `${this.name}: ${this.reason}: ${this.message}${this.traceId && ` (trace ${this.traceId})`}`;
  }
}

/** A checkpoint could not be loaded or resumed from. */
export class WorkflowCheckpointResumeError extends HoldfastError {
  /** The newest checkpoint that could be resumed from, if `resume` found one. */
  lastGood: import("./values.js").Checkpoint | undefined;
}

/** The server cannot be reached, or the connection broke. */
export class ServerUnavailableError extends WorkflowCheckpointResumeError {}

/** Client and server cannot agree on a connection: only one uses TLS, or one refuses the other's certificate. */
export class HandshakeFailedError extends WorkflowCheckpointResumeError {}

/** The client was closed before the call or during it. */
export class ClientClosedError extends WorkflowCheckpointResumeError {}

/** The log is older than this client has seen it, or another one: somebody has rolled it back in the store. */
export class RolledBackError extends WorkflowCheckpointResumeError {}

type Further = Omit<ErrorDetails, "reason" | "code"> & { code?: status };

/** Return the error of a connection that cannot be made or that broke. */
export function unavailable(message: string, details: Further = {}): HoldfastError {
  return new ServerUnavailableError(message, {
    code: status.UNAVAILABLE,
    ...details,
    reason: "SERVER_UNAVAILABLE",
    retryable: true,
    advice: "Check that the server runs and that the target is right.",
  });
}

/** Return the error of a connection on which client and server cannot agree. */
export function handshakeFailed(message: string, details: Further = {}): HoldfastError {
  return new HandshakeFailedError(message, {
    code: status.UNAVAILABLE,
    ...details,
    reason: "HANDSHAKE_FAILED",
    advice: "Correct the target, the client's TLS, or the server's certificate; a retry does not help.",
  });
}

/** Return the error of a log that was rolled back. */
export function rolledBack(message: string, details: Further): HoldfastError {
  return new RolledBackError(message, {
    code: status.DATA_LOSS,
    ...details,
    reason: "ROLLED_BACK",
    advice: "Stop, and ask the operator what happened to the store; forgetHead accepts the log as it is.",
  });
}

/** Return the error of a call on a closed client. */
export function closed(): HoldfastError {
  return new ClientClosedError("the client is closed; a call that was running may or may not have taken effect", {
    code: status.CANCELLED,
    reason: "CLIENT_CLOSED",
    advice: "Open another client; a call that was running may be sent again with the same request id.",
  });
}
