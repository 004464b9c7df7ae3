// What the client returns and throws, as answers of the protocol; and bytes, in both directions.
import { status } from "@grpc/grpc-js";
import {
  type Checkpoint,
  type CheckpointRecord,
  HoldfastError,
  type LoadedCheckpoint,
  type Skipped,
  type Validation,
  WorkflowCheckpointResumeError,
} from "@holdfast/client";
import { createHash } from "node:crypto";

/** Bytes of a command. */
export type Content = { text: string } | { base64: string } | { seed: number; size: string };

const MIB = 1 << 20;
const SHOWN_BYTES = 256;

/** Return the bytes of a command. */
export function decoded(content: Content): Uint8Array {
  if ("text" in content) {
    return new TextEncoder().encode(content.text);
  }
  if ("base64" in content) {
    return Buffer.from(content.base64, "base64");
  }
  const digests = Array.from({ length: MIB / 32 }, (_, index) =>
    createHash("sha256").update(`${content.seed}:${index}`).digest(),
  );
  const block = Buffer.concat(digests);
  const size = Number(content.size);
  const data = Buffer.alloc(size);
  for (let start = 0; start < size; start += MIB) {
    block.writeBigUInt64BE(BigInt(start / MIB));
    block.copy(data, start);
  }
  return data;
}

/** Return a description of bytes. */
export function described(data: Uint8Array): object {
  const sha256 = createHash("sha256").update(data).digest("hex");
  const shown = data.length <= SHOWN_BYTES ? { base64: Buffer.from(data).toString("base64") } : {};
  return { size: String(data.length), sha256, ...shown };
}

/** Return a checkpoint. */
export function checkpoint(found: Checkpoint): object {
  return {
    namespace: found.namespace,
    workflow_id: found.workflowId,
    checkpoint_id: found.checkpointId,
    revision: String(found.revision),
    parent_id: found.parentId,
    format: found.format,
    labels: found.labels,
    parts: found.parts.map(({ name, sizeBytes, sha256 }) => ({
      name,
      size: String(sizeBytes),
      sha256: Buffer.from(sha256).toString("hex"),
    })),
    size: String(found.sizeBytes),
    epoch: String(found.epoch),
    request_id: found.requestId,
    trace_id: found.traceId,
    pinned: found.pinned,
    replayed: found.replayed,
  };
}

/** Return what a load says besides the payload. */
export function loadedWithoutData(
  found: Pick<LoadedCheckpoint, "info" | "fellBack" | "skipped" | "headRevision">,
): object {
  return {
    ...checkpoint(found.info),
    fell_back: found.fellBack,
    skipped: skipped(found.skipped),
    head_revision: String(found.headRevision),
  };
}

/** Return a loaded checkpoint. */
export function loaded(found: LoadedCheckpoint): object {
  return {
    ...loadedWithoutData(found),
    format: found.format,
    data: [...found.parts].map(([name, data]) => ({ name, data: described(data) })),
    records: records(found.records),
    migrated_from: found.migratedFrom ?? null,
  };
}

/** Return records. */
export function records(found: readonly CheckpointRecord[]): object[] {
  return found.map(({ key, data }) => ({ key, data: described(data) }));
}

/** Return the result of a validation. */
export function validation(found: Validation): object {
  return {
    resumable: found.resumable,
    findings: skipped(found.findings),
    checkpoint: found.checkpoint ? checkpoint(found.checkpoint) : null,
    last_good: found.lastGood ? checkpoint(found.lastGood) : null,
  };
}

/** Return the error of a call, or the fault of a command that the driver cannot run. */
export function errorOf(error: unknown): object {
  if (error instanceof HoldfastError) {
    const lastGood = error instanceof WorkflowCheckpointResumeError ? error.lastGood : undefined;
    return {
      error: {
        reason: error.reason,
        code: status[error.code],
        message: error.message,
        trace_id: error.traceId,
        request_id: error.requestId,
        retryable: error.retryable,
        metadata: error.metadata,
        retry_after_ms: error.retryAfterMs ?? null,
        field_violations: error.fieldViolations.map(({ field, description }) => [field, description]),
        last_good: lastGood ? checkpoint(lastGood) : null,
      },
    };
  }
  if (error instanceof TypeError && error.message.includes(" must be ")) {
    return { error: { reason: "INVALID_REQUEST", code: "INVALID_ARGUMENT", message: error.message, retryable: false } };
  }
  return { fault: String(error) };
}

function skipped(found: readonly Skipped[]): object[] {
  return found.map(({ checkpointId, revision, reason }) => ({
    checkpoint_id: checkpointId,
    revision: String(revision),
    reason,
  }));
}
