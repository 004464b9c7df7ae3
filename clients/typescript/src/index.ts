/**
 * The client of Holdfast, the checkpoint store for workflow engines.
 *
 * @packageDocumentation
 */
export type { Integer } from "./arguments.js";
export type { CallOptions } from "./calls.js";
export { Client, type ClientOptions } from "./client.js";
export {
  ClientClosedError,
  type ErrorDetails,
  type FieldViolation,
  HandshakeFailedError,
  HoldfastError,
  RolledBackError,
  ServerUnavailableError,
  WorkflowCheckpointResumeError,
} from "./errors.js";
export * from "./generated/reasons.js";
export { Head } from "./heads.js";
export { type Migration, Migrations, type Parts } from "./migrations.js";
export type * from "./options.js";
export type { Data, Progress, Source } from "./payload.js";
export type { Reason } from "./reasons.js";
export type { RetryPolicy } from "./retry.js";
export type { Target } from "./sinks.js";
export type { Tls } from "./targets.js";
export type { Token } from "./tokens.js";
export * from "./values.js";
export { Workflow } from "./workflow.js";
