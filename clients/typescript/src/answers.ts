// Checks of a server's answers before they reach the caller: a broken or hostile server must not hurt it. An answer must
// name what was requested, must not contradict itself, and must not be larger than it announces or the caller allows.
import { createHash } from "node:crypto";
import { totalmem } from "node:os";

import { shown } from "./arguments.js";
import type { Checkpoint, Part, SaveHeader, Record as RecordMessage } from "./generated/holdfast/v1/checkpoint.js";
import {
  Fallback,
  type FailedDeletion,
  type LoadRequest,
  type LoadResponse,
  type LoadStreamHeader,
  type LoadStreamRequest,
  type ValidateRequest,
  type ValidateResponse,
  type Workflow,
} from "./generated/holdfast/v1/checkpoint_service.js";
import type { HoldfastError } from "./errors.js";
import { toCheckpoint, toSkipped } from "./messages.js";
import { ofReason, ofServer, wrongAnswer } from "./reasons.js";
import type { AcceptedFormat, CheckpointRecord, Validation } from "./values.js";
import { REASONS } from "./generated/reasons.js";
import { status } from "@grpc/grpc-js";

// The most bytes that the records of one checkpoint may have together, if the caller sets no other limit.
const RECORDS_BYTES = 512n << 20n;

/** Require that a checkpoint of an answer is one that was requested. An empty id is for any. */
export function requireNamed(
  found: Checkpoint | undefined,
  namespace: string,
  workflowId = "",
  checkpointId = "",
): asserts found is Checkpoint {
  if (!found?.checkpointId || !found.workflowId || found.revision < 1n) {
    throw wrongAnswer("a checkpoint without id, workflow or revision");
  }
  for (const [name, value] of Object.entries({ namespace, workflowId, checkpointId })) {
    const actual = found[name as "namespace"];
    if (value && actual !== value) {
      throw wrongAnswer(`${name} ${shown(actual)}, but ${shown(value)} was requested`);
    }
  }
}

/** Require that the answer to a load, or the header of its stream, is about the requested checkpoint. */
export function requireLoaded(
  answer: LoadResponse | LoadStreamHeader,
  request: LoadRequest | LoadStreamRequest,
): asserts answer is (LoadResponse | LoadStreamHeader) & { checkpoint: Checkpoint } {
  if (answer.fellBack && request.fallback !== Fallback.LAST_GOOD) {
    throw wrongAnswer("an older checkpoint, but no fallback was requested");
  }
  requireNamed(answer.checkpoint, request.namespace, request.workflowId, answer.fellBack ? "" : request.checkpointId);
}

/** Require that a checkpoint is the one that was saved. */
export function requireSaved(
  found: Checkpoint | undefined,
  header: SaveHeader,
  sizes: ReadonlyMap<string, number>,
): asserts found is Checkpoint {
  requireNamed(found, header.namespace, header.workflowId, header.checkpointId);
  const isSame =
    found.format?.name === header.format?.name &&
    found.format?.version === header.format?.version &&
    found.parts.length === sizes.size &&
    found.parts.every((part) => part.sizeBytes === BigInt(sizes.get(part.name) ?? -1));
  if (!isSame) {
    throw wrongAnswer("a checkpoint with another format or other parts than were saved");
  }
}

/** Require that a workflow of a list is one that was requested. */
export function requireListed(found: Workflow, namespace: string, prefix: string): void {
  if (found.namespace !== namespace || !found.workflowId.startsWith(prefix)) {
    throw wrongAnswer(
      `workflow ${shown(found.workflowId)} of namespace ${shown(found.namespace)}, which was not requested`,
    );
  }
}

/** Refuse a checkpoint of another format, as a server does in a load. An empty list accepts any format. */
export function requireAccepted(found: Checkpoint, accepted: readonly AcceptedFormat[]): void {
  const { name, version } = found.format ?? { name: "", version: 0 };
  if (
    accepted.length &&
    !accepted.some((one) => one.name === name && one.minVersion <= version && version <= one.maxVersion)
  ) {
    const understood = accepted.map((one) => `${one.name} ${one.minVersion} to ${one.maxVersion}`).join(", ");
    throw ofReason(
      "FORMAT_INCOMPATIBLE",
      `the checkpoint has format ${name} version ${version}, the caller accepts ${understood}`,
      { metadata: { checkpoint_id: found.checkpointId, revision: String(found.revision) } },
    );
  }
}

/** Raise the first failure of a deletion of many workflows, and count the others. */
export function requireAllDeleted(failed: readonly FailedDeletion[], deleted: bigint, requestId: string): void {
  const [first] = failed;
  if (first !== undefined) {
    const code = (REASONS as Readonly<Record<string, { code: status }>>)[first.reason]?.code ?? status.INTERNAL;
    throw ofServer(
      first.reason,
      `${failed.length} workflows could not be deleted, ${deleted} were; the first is ${shown(first.workflowId)}: ${first.message}`,
      {
        code,
        requestId,
        metadata: { workflow_id: first.workflowId, failed: String(failed.length), deleted: String(deleted) },
      },
    );
  }
}

/** Return the result of a validation. */
export function validated(response: ValidateResponse, request: ValidateRequest): Validation {
  const { checkpoint, lastGood } = response;
  if (checkpoint !== undefined) {
    requireNamed(checkpoint, request.namespace, request.workflowId, request.checkpointId);
  }
  if (lastGood !== undefined) {
    requireNamed(lastGood, request.namespace, request.workflowId);
  }
  return {
    resumable: response.resumable,
    findings: response.findings.map(toSkipped),
    checkpoint: checkpoint && toCheckpoint(checkpoint),
    lastGood: lastGood && toCheckpoint(lastGood),
  };
}

/**
 * Check the sizes that a checkpoint announces.
 *
 * @param maxBytes - The most bytes that the caller accepts; undefined for what this machine's memory could hold.
 * @throws CheckpointCorruptedError if they contradict each other, PayloadTooLargeError if the payload is too large.
 */
export function requireSizes(found: Checkpoint, maxBytes: bigint | undefined): void {
  const names = new Set(found.parts.map((part) => part.name));
  if (names.size !== found.parts.length || found.parts.some((part) => part.sizeBytes < 0n)) {
    throw ofReason(
      "CHECKPOINT_CORRUPTED",
      "two parts of the checkpoint have the same name, or a part has a negative size",
    );
  }
  const sum = found.parts.reduce((total, part) => total + part.sizeBytes, 0n);
  if (sum !== found.sizeBytes) {
    throw ofReason("CHECKPOINT_CORRUPTED", `the checkpoint announces ${found.sizeBytes} bytes, its parts ${sum}`);
  }
  const limit = maxBytes ?? BigInt(totalmem());
  if (found.sizeBytes > limit) {
    const source = maxBytes === undefined ? "this machine's memory" : "maxBytes";
    throw ofReason("PAYLOAD_TOO_LARGE", `the checkpoint has ${found.sizeBytes} bytes, ${source} allows ${limit}`, {
      metadata: { checkpoint_id: found.checkpointId, size_bytes: String(found.sizeBytes) },
      advice: "Raise maxBytes, or load where there is more memory.",
    });
  }
}

/** Check that parts of an answer match the sizes and digests of the checkpoint, and return them. */
export function checkedParts(checkpoint: Checkpoint, received: readonly Part[]): Map<string, Uint8Array> {
  const data = new Map(received.map((part) => [part.name, part.data]));
  for (const name of data.keys()) {
    if (!checkpoint.parts.some((part) => part.name === name)) {
      throw transitError(`part ${shown(name)} is not a part of the checkpoint`);
    }
  }
  return new Map(
    checkpoint.parts.map((part) => {
      const found = data.get(part.name) ?? new Uint8Array();
      if (BigInt(found.length) !== part.sizeBytes || !createHash("sha256").update(found).digest().equals(part.sha256)) {
        throw mismatch(checkpoint.checkpointId, part.name);
      }
      return [part.name, found] as const;
    }),
  );
}

/** Return the error for a payload that arrived damaged. */
export function transitError(problem: string): HoldfastError {
  return ofReason("CHECKPOINT_CORRUPTED", `the payload was damaged in transit: ${problem}`);
}

/** Return the error for a part that differs from its description. */
export function mismatch(checkpointId: string, part: string): HoldfastError {
  return ofReason(
    "CHECKPOINT_CORRUPTED",
    `part ${shown(part)} of checkpoint ${shown(checkpointId)} does not match its size and digest`,
    { metadata: { checkpoint_id: checkpointId, part } },
  );
}

/** The records of a checkpoint, collected over all pages. */
export class Collected {
  readonly records: CheckpointRecord[] = [];
  readonly #limit: bigint;
  #sizeBytes = 0n;

  constructor(maxBytes: bigint | undefined) {
    this.#limit = maxBytes ?? RECORDS_BYTES;
  }

  /** Add the records of a page, which must be in the order of their keys. */
  add(records: readonly RecordMessage[]): void {
    for (const { key, data } of records) {
      const last = this.records.at(-1);
      if (last !== undefined && Buffer.compare(Buffer.from(key), Buffer.from(last.key)) <= 0) {
        throw wrongAnswer(`the record ${shown(key)} out of order`);
      }
      this.#sizeBytes += BigInt(Buffer.byteLength(key) + data.length);
      if (this.#sizeBytes > this.#limit) {
        throw ofReason("PAYLOAD_TOO_LARGE", `the records of the checkpoint have more than ${this.#limit} bytes`, {
          advice: "Raise maxBytes.",
        });
      }
      this.records.push({ key, data });
    }
  }
}
