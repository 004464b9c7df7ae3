// Converts pending writes to records of their checkpoint, and back, as the adapter for Python does.
//
// Each write is one record, with a key made of its task and index. The first write with a key stays, except for those to
// special channels. All writes of a task are attached in one call, so a reader sees all of them or none. If they are too
// large for one call, their data is attached first, as chunks that are named by a digest, and then small records that
// refer to the chunks, in one call.
import { CheckpointCorruptedError, type CheckpointRecord } from "@holdfast/client";
import { compareWritesSortKeys, writesSortKey } from "@langchain/langgraph-checkpoint";
import { createHash } from "node:crypto";

import { corrupted } from "./errors.js";
import { recordKey } from "./names.js";

// The limits of a server for one call.
const CALL_RECORDS = 1000;
const CALL_BYTES = 5 << 19;
// Three chunks fit in one call, and two in one answer.
const CHUNK_BYTES = (1 << 20) - 1024;
const BUNDLE = "bundle";
// No key of a task begins with it.
const CHUNK = "#";
const WRITES = "w".charCodeAt(0);
const REFERENCE = "r".charCodeAt(0);

/** A write of a task. */
export interface Write {
  readonly taskId: string;
  readonly taskPath: string;
  /** Its position among the task's writes; negative for a special channel. */
  readonly index: number;
  readonly channel: string;
  /** The serializer's name of the value's type. */
  readonly kind: string;
  readonly data: Uint8Array;
}

/** The records of a task's writes. */
export interface Packed {
  /** To attach first, in any number of calls; no reader sees them by themselves. */
  readonly chunks: readonly CheckpointRecord[];
  /** To attach afterwards, in one call. */
  readonly final: readonly CheckpointRecord[];
}

/** Return the records of one task's writes. */
export function pack(writes: readonly Write[]): Packed {
  const single = new Map(writes.map((write) => [recordKey(write.taskId, suffix(write)), write]));
  const plain = [...single].map(([key, write]) => ({
    key,
    data: Buffer.concat([Buffer.of(WRITES), frame([write])]),
    replace: write.index < 0,
  }));
  const size = plain.reduce((sum, { key, data }) => sum + Buffer.byteLength(key) + data.length, 0);
  if (plain.length <= CALL_RECORDS && size <= CALL_BYTES) {
    return { chunks: [], final: plain };
  }
  const bundles = new Map<string, Write[]>(
    [...single].filter(([, write]) => write.index < 0).map(([key, one]) => [key, [one]]),
  );
  const ordinary = [...single.values()].filter((write) => write.index >= 0);
  if (ordinary[0] !== undefined) {
    bundles.set(recordKey(ordinary[0].taskId, BUNDLE), ordinary);
  }
  const chunks: CheckpointRecord[] = [];
  const final: CheckpointRecord[] = [];
  for (const [key, bundle] of bundles) {
    const bytes = frame(bundle);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const count = Math.ceil(bytes.length / CHUNK_BYTES);
    for (let index = 0; index < count; index += 1) {
      chunks.push({
        key: chunkKey(sha256, index),
        data: bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
      });
    }
    const reference = Buffer.from(JSON.stringify({ sha256, chunks: count }));
    final.push({ key, data: Buffer.concat([Buffer.of(REFERENCE), reference]), replace: (bundle[0]?.index ?? 0) < 0 });
  }
  return { chunks, final };
}

/** Return the writes in records, ordered by path, task and index. Throws a CheckpointCorruptedError if they are damaged. */
export function unpack(records: readonly CheckpointRecord[]): Write[] {
  const data = new Map(records.map((record) => [record.key, Buffer.from(record.data)]));
  const found = new Map<string, Write>();
  // Bundles first: a record of a single write takes precedence.
  const keys = [...data.keys()].filter((key) => !key.startsWith(CHUNK));
  const isSingle = (key: string) => Number(data.get(key)?.[0] === WRITES);
  for (const key of keys.sort((one, other) => isSingle(one) - isSingle(other))) {
    try {
      for (const write of writesOf(data.get(key) ?? Buffer.alloc(0), data)) {
        found.set(JSON.stringify([write.taskId, write.index]), write);
      }
    } catch (error) {
      throw error instanceof CheckpointCorruptedError
        ? error
        : corrupted(`record ${key} does not contain writes: ${String(error)}`);
    }
  }
  const keyOf = (write: Write) => writesSortKey(write.taskPath, write.taskId, write.index);
  return [...found.values()].sort((one, other) => compareWritesSortKeys(keyOf(one), keyOf(other)));
}

function suffix({ index }: Write): string {
  return index >= 0 ? String(index).padStart(6, "0") : `special${-index}`;
}

function chunkKey(name: string, index: number): string {
  return `${CHUNK}${name}.${String(index).padStart(6, "0")}`;
}

/** Return writes of one task as bytes: the size of a description, the description, and the values. */
function frame(writes: readonly Write[]): Buffer {
  const described = Buffer.from(
    JSON.stringify({
      task_id: writes[0]?.taskId,
      task_path: writes[0]?.taskPath,
      writes: writes.map(({ index, channel, kind, data }) => [index, channel, kind, data.length]),
    }),
  );
  const size = Buffer.alloc(4);
  size.writeUInt32BE(described.length);
  return Buffer.concat([size, described, ...writes.map((write) => write.data)]);
}

function writesOf(record: Buffer, records: ReadonlyMap<string, Buffer>): Write[] {
  let bytes = record.subarray(1);
  if (record[0] === REFERENCE) {
    const { sha256, chunks } = JSON.parse(bytes.toString()) as { sha256: string; chunks: number };
    const pieces = Array.from(
      { length: chunks },
      (_, index) => records.get(chunkKey(sha256, index)) ?? Buffer.alloc(0),
    );
    bytes = Buffer.concat(pieces);
    if (createHash("sha256").update(bytes).digest("hex") !== sha256) {
      throw corrupted("a chunk of writes is missing or damaged");
    }
  } else if (record[0] !== WRITES) {
    throw corrupted("a record of writes has an unknown kind");
  }
  let start = 4 + bytes.readUInt32BE();
  const described = JSON.parse(bytes.subarray(4, start).toString()) as {
    task_id: string;
    task_path: string;
    writes: [number, string, string, number][];
  };
  return described.writes.map(([index, channel, kind, size]) => {
    const data = bytes.subarray(start, start + size);
    if (data.length !== size) {
      throw corrupted("a value of a write is cut");
    }
    start += size;
    return { taskId: described.task_id, taskPath: described.task_path, index, channel, kind, data };
  });
}
