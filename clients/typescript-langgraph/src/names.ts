// Converts LangGraph's ids, which may be any text, to ids of workflows, checkpoints and records, and back.
//
// Each checkpoint namespace of a thread is one workflow. The workflow of the namespace "" has the thread's name as its id.
// The id of every other one is that name, "#" and the namespace's name. No name contains "#", so a list or deletion by the
// prefix of name and "#" finds all namespaces of a thread and of no other. Names are percent-encoded. A name that is too
// long is replaced by a digest, and each checkpoint of such a workflow contains the true names. The adapter for Python
// uses the same names.
import { createHash } from "node:crypto";

const KEPT = /[A-Za-z0-9_.~!$&'()*+,:;=@|^ -]/;
const LETTERS = /^[A-Za-z0-9_-]+$/;
const EMPTY = "%";
const DIGEST = "%!";
const SEPARATOR = "#";
// The most letters of both names, as the server's store encodes them.
const THREAD_LETTERS = 80;
const NAMESPACE_LETTERS = 117;
const KEY_LETTERS = 400;

/** A thread's checkpoint namespace. */
export interface Place {
  readonly threadId: string;
  readonly checkpointNs: string;
}

/** Return a text encoded as an id. The length is not limited. */
export function encoded(text: string): string {
  if (LETTERS.test(text)) {
    return text;
  }
  if (!text) {
    return EMPTY;
  }
  if (!text.isWellFormed()) {
    throw new TypeError("an id must be text that UTF-8 can hold");
  }
  if (text === "." || text === "..") {
    return text.replaceAll(".", "%2E");
  }
  return Array.from(text, (letter) => (KEPT.test(letter) ? letter : quoted(letter))).join("");
}

/** Return the text of an encoded name. */
export function decoded(name: string): string {
  return name === EMPTY ? "" : decodeURIComponent(name);
}

/** Return the workflow that contains the checkpoints of a place. */
export function workflowOf({ threadId, checkpointNs }: Place): string {
  const thread = short(encoded(threadId), THREAD_LETTERS);
  return checkpointNs ? `${thread}${SEPARATOR}${short(encoded(checkpointNs), NAMESPACE_LETTERS)}` : thread;
}

/** Return the prefix of the workflows of a thread's namespaces, except "". */
export function namespacesPrefix(threadId: string): string {
  return `${short(encoded(threadId), THREAD_LETTERS)}${SEPARATOR}`;
}

/** Return the part of each checkpoint that contains the names; undefined if the workflow's id contains them. */
export function placePart(place: Place): Uint8Array | undefined {
  return workflowOf(place).includes(DIGEST)
    ? new TextEncoder().encode(JSON.stringify([place.threadId, place.checkpointNs]))
    : undefined;
}

/**
 * Return the place of a workflow; undefined if the id contains a digest and no part is given.
 *
 * @param part - The part of one of its checkpoints that contains the names.
 */
export function placeOf(workflowId: string, part?: Uint8Array): Place | undefined {
  const [thread = "", ...rest] = workflowId.split(SEPARATOR);
  const names = [thread, rest.join(SEPARATOR)];
  if (!names.some((name) => name.startsWith(DIGEST))) {
    const [threadId = "", checkpointNs = ""] = names.map((name) => name && decoded(name));
    return { threadId, checkpointNs };
  }
  if (part === undefined) {
    return undefined;
  }
  const [threadId, checkpointNs] = JSON.parse(new TextDecoder().decode(part)) as [string, string];
  return { threadId, checkpointNs };
}

/** Return the key of a task's record. */
export function recordKey(taskId: string, suffix: string): string {
  const name = encoded(taskId);
  return `${name.length <= KEY_LETTERS ? name : digestOf(name)}#${suffix}`;
}

function quoted(letter: string): string {
  return [...new TextEncoder().encode(letter)].map((byte) => `%${hex(byte)}`).join("");
}

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, "0");
}

/** Return a name, or its digest if the store would encode it with more letters than the limit. */
function short(name: string, limit: number): string {
  // The store encodes everything but letters, digits, "_" and "-" as three letters.
  const letters = Array.from(name).reduce((sum, letter) => sum + (LETTERS.test(letter) ? 1 : 3), 0);
  return letters <= limit ? name : digestOf(name);
}

function digestOf(name: string): string {
  return `${DIGEST}${createHash("sha256").update(name).digest("hex")}`;
}
