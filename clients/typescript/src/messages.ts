// Conversion of messages of the API to values of the public API.
import type { Timestamp } from "./generated/google/protobuf/timestamp.js";
import type * as api from "./generated/holdfast/v1/checkpoint.js";
import type { Finding, SkippedCheckpoint, Workflow } from "./generated/holdfast/v1/checkpoint_service.js";
import { wrongAnswer } from "./reasons.js";
import type { Checkpoint, Skipped, WorkflowInfo } from "./values.js";

const MAX_DATE_MS = 8.64e15;

/** Convert a checkpoint. Throws an InternalError if it has a time that does not exist. */
export function toCheckpoint(message: api.Checkpoint, replayed = false): Checkpoint {
  return {
    namespace: message.namespace,
    workflowId: message.workflowId,
    checkpointId: message.checkpointId,
    revision: message.revision,
    parentId: message.parentId,
    format: { name: message.format?.name ?? "", version: message.format?.version ?? 0 },
    labels: Object.fromEntries(message.labels),
    parts: message.parts.map(({ name, sizeBytes, sha256, crc32c }) => ({ name, sizeBytes, sha256, crc32c })),
    sizeBytes: message.sizeBytes,
    created: toDate(message.createTime),
    expires: message.expireTime && toDate(message.expireTime),
    epoch: message.epoch,
    requestId: message.requestId,
    traceId: message.traceId,
    replayed,
    pinned: message.pinned,
    storedBytes: message.storedBytes,
    principal: message.principal,
  };
}

/** Convert a checkpoint that was skipped, or a finding. */
export function toSkipped({ checkpointId, revision, reason, message }: SkippedCheckpoint | Finding): Skipped {
  return { checkpointId, revision, reason, message };
}

/** Convert a workflow of a list. */
export function toWorkflowInfo(message: Workflow): WorkflowInfo {
  const { namespace, workflowId, headRevision, checkpointRevision, epoch } = message;
  return { namespace, workflowId, headRevision, checkpointRevision, epoch, updated: toDate(message.updateTime) };
}

/** Convert a time. Throws an InternalError if it does not exist. */
export function toDate(time: Timestamp | undefined): Date {
  const { seconds, nanos } = time ?? { seconds: 0n, nanos: 0 };
  const ms = Number(seconds) * 1000 + Math.floor(nanos / 1e6);
  if (!(Math.abs(ms) <= MAX_DATE_MS) || nanos < 0 || nanos > 999_999_999) {
    throw wrongAnswer(`an invalid time: ${seconds} s, ${nanos} ns`);
  }
  return new Date(ms);
}
