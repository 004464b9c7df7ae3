// Converts LangGraph's checkpoints to parts and labels of Holdfast's, and back, with the saver's serializer. The server
// stores bytes and never reads them. The type that the serializer returns is in the part's name.
import type { Format, LoadedCheckpoint } from "@holdfast/client";
import {
  type Checkpoint,
  type CheckpointMetadata,
  type SerializerProtocol,
  copyCheckpoint,
} from "@langchain/langgraph-checkpoint";
import { createHash } from "node:crypto";

import { corrupted, incompatible } from "./errors.js";
import { type Place, decoded, encoded, placePart } from "./names.js";

/** The format of the checkpoints. The adapter for Python has another one, because its serializer differs. */
export const FORMAT: Format = { name: "langgraph-js-checkpoint", version: 1 };
/** The formats that the saver reads. */
export const ACCEPTED = [{ name: FORMAT.name, minVersion: 1, maxVersion: FORMAT.version }];
/** The part with the names of thread and namespace, if the workflow's id has a digest of one of them. */
export const PLACE = "place";

// Metadata by which lists can filter on the server.
const LABELLED = ["source", "step", "run_id"];
const LONGEST_LABEL = 1000;
const DIGEST = "sha256 ";

/** Return the parts to save for a checkpoint. */
export async function pack(
  serde: SerializerProtocol,
  place: Place,
  checkpoint: Checkpoint,
  metadata: CheckpointMetadata,
): Promise<Map<string, Uint8Array>> {
  const parts = new Map<string, Uint8Array>();
  for (const [name, value] of Object.entries({ checkpoint, metadata })) {
    const [kind, data] = await serde.dumpsTyped(value);
    parts.set(`${name}.${encoded(kind)}`, data);
  }
  const names = placePart(place);
  if (names !== undefined) {
    parts.set(PLACE, names);
  }
  return parts;
}

/**
 * Return the checkpoint without values that belong to no version of its own. The first checkpoint of a thread holds only
 * what `newVersions` names; a later one also the values that its parent had.
 */
export function withOwnValues(
  checkpoint: Checkpoint,
  newVersions: Readonly<Record<string, unknown>>,
  hasParent: boolean,
): Checkpoint {
  const copy = copyCheckpoint(checkpoint);
  if (!hasParent) {
    const own = Object.entries(copy.channel_values).filter(([channel]) => Object.hasOwn(newVersions, channel));
    copy.channel_values = Object.fromEntries(own);
  }
  return copy;
}

/** Return the checkpoint that was saved. */
export async function unpackCheckpoint(serde: SerializerProtocol, loaded: LoadedCheckpoint): Promise<Checkpoint> {
  return (await part(serde, loaded, "checkpoint")) as Checkpoint;
}

/** Return its metadata. */
export async function unpackMetadata(serde: SerializerProtocol, loaded: LoadedCheckpoint): Promise<CheckpointMetadata> {
  return (await part(serde, loaded, "metadata")) as CheckpointMetadata;
}

/** Restore a value. Throws a FormatIncompatibleError if the serializer cannot read it. */
export async function restored(
  serde: SerializerProtocol,
  kind: string,
  data: Uint8Array,
  name: string,
): Promise<unknown> {
  try {
    return (await serde.loadsTyped(kind, data)) as unknown;
  } catch (error) {
    throw incompatible(`the serializer cannot read ${name}, which has type ${kind}: ${String(error)}`);
  }
}

/** Return the labels by which lists filter metadata on the server. Values that are equal have equal labels. */
export function labelsOf(metadata: Readonly<Record<string, unknown>>): Record<string, string> {
  const found = LABELLED.map((key) => [key, labelOf(metadata[key])] as const);
  return Object.fromEntries(found.filter((pair): pair is [string, string] => pair[1] !== undefined));
}

/** Return whether a checkpoint is of no use without its ancestors: the value of a delta channel is rebuilt from them. */
export function needsParent(checkpoint: Checkpoint, metadata: CheckpointMetadata): boolean {
  return Object.keys(metadata.counters_since_delta_snapshot ?? {}).some(
    (channel) => channel in checkpoint.channel_versions && !(channel in checkpoint.channel_values),
  );
}

function labelOf(value: unknown): string | undefined {
  if (typeof value !== "string" && !(typeof value === "number" && Number.isFinite(value))) {
    return undefined;
  }
  const text = String(value);
  const isKept =
    Buffer.byteLength(text) <= LONGEST_LABEL && !/[\p{C}\u2028\u2029]/u.test(text) && !text.startsWith(DIGEST);
  return isKept ? text : `${DIGEST}${createHash("sha256").update(text).digest("hex")}`;
}

async function part(serde: SerializerProtocol, loaded: LoadedCheckpoint, name: string): Promise<unknown> {
  for (const [key, data] of loaded.parts) {
    const [prefix, kind = ""] = key.split(/\.(.*)/s);
    if (prefix === name) {
      return restored(serde, decoded(kind), data, `${name} of checkpoint ${loaded.checkpointId}`);
    }
  }
  throw corrupted(`checkpoint ${loaded.checkpointId} has no part ${name}`);
}
