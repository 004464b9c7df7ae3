// Checks of callers' arguments before they become requests. A wrong type is a TypeError, a value out of range an
// InvalidRequestError. Limits that a server may change are left to the server.
import { inspect } from "node:util";

import type { HoldfastError } from "./errors.js";
import type { Duration } from "./generated/google/protobuf/duration.js";
import type { Timestamp } from "./generated/google/protobuf/timestamp.js";
import type {
  AcceptedFormat as AcceptedFormatMessage,
  Format as FormatMessage,
} from "./generated/holdfast/v1/checkpoint.js";
import { randomHex } from "./random.js";
import { ofReason } from "./reasons.js";
import type { AcceptedFormat, Format, Labels } from "./values.js";

const LONGEST_MS = 366 * 24 * 3600 * 1000;
const MAX_INT64 = 2n ** 63n - 1n;
/** The highest version of a format. */
export const MAX_VERSION = 2 ** 31 - 1;

/** A 64-bit integer of a caller: a bigint, or a number that is exact. */
export type Integer = bigint | number;

/** Return the error for an argument whose value is not allowed. */
export function invalid(name: string, problem: string): HoldfastError {
  return ofReason("INVALID_REQUEST", `${name} ${problem}`, {
    fieldViolations: [{ field: name, description: problem }],
  });
}

/** Return a new idempotency key. */
export function newRequestId(): string {
  return randomHex(16);
}

/** Check an argument that must be a string that UTF-8 can hold. */
export function text(name: string, value: unknown): string {
  if (typeof value !== "string") {
    throw new TypeError(`${name} must be a string, not ${shown(value)}`);
  }
  if (!value.isWellFormed()) {
    throw invalid(name, `must be text that UTF-8 can hold, not ${shown(value)}`);
  }
  return value;
}

/** Check an argument that must be a string; absent is "". */
export function optionalText(name: string, value: unknown): string {
  return value === undefined ? "" : text(name, value);
}

/**
 * Check the options of a deletion, which must not become wider because a value or its name was lost on the way here.
 *
 * @param options - The options.
 * @param selecting - Those that say what to delete. One that is given must have a value.
 * @param others - The other ones.
 */
export function requireStated(options: object, selecting: readonly string[], others: readonly string[]): void {
  if (typeof options !== "object" || (options as unknown) === null) {
    throw new TypeError(`options must be an object, not ${shown(options)}`);
  }
  const unknown = Object.keys(options).find((each) => !selecting.includes(each) && !others.includes(each));
  if (unknown !== undefined) {
    throw new TypeError(`${unknown} is not an option of this deletion`);
  }
  for (const name of selecting) {
    const value: unknown = Reflect.get(options, name);
    if (name in options && (value === undefined || value === null)) {
      throw new TypeError(`${name} must have a value, not ${String(value)}: leave it out if it is no condition`);
    }
    if (value instanceof Object && !(value instanceof Date) && !Object.keys(value).length) {
      throw invalid(name, "must not be empty: leave it out if it is no condition");
    }
  }
}

/** Check an argument that must be a boolean; absent is false. */
export function flag(name: string, value: unknown): boolean {
  if (value !== undefined && typeof value !== "boolean") {
    throw new TypeError(`${name} must be true or false, not ${shown(value)}`);
  }
  return value ?? false;
}

/** Convert an argument that must be an integer of 0 or more to a bigint; absent stays absent. */
export function integer(name: string, value: unknown): bigint | undefined {
  if (value === undefined) {
    return undefined;
  }
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw invalid(name, `must be a bigint, or a number that is an exact integer, not ${shown(value)}`);
  }
  if (typeof value !== "bigint" && typeof value !== "number") {
    throw new TypeError(`${name} must be a bigint or a number, not ${shown(value)}`);
  }
  const exact = BigInt(value);
  if (exact < 0n || exact > MAX_INT64) {
    throw invalid(name, `must be 0 to ${MAX_INT64}, not ${exact}`);
  }
  return exact;
}

/** Check an argument that must be a number within limits. */
export function amount(name: string, value: unknown, low: number, high: number): number {
  if (typeof value !== "number") {
    throw new TypeError(`${name} must be a number, not ${shown(value)}`);
  }
  if (!(value >= low && value <= high)) {
    throw invalid(name, `must be ${low} to ${high}, not ${value}`);
  }
  return value;
}

/** Check an argument that must be an integer within limits. */
export function small(name: string, value: unknown, low: number, high: number): number {
  const checked = amount(name, value, low, high);
  if (!Number.isInteger(checked)) {
    throw invalid(name, `must be an integer, not ${checked}`);
  }
  return checked;
}

/** Check an argument that must be a time in milliseconds, more than 0 and at most 366 days. */
export function milliseconds(name: string, value: unknown): number {
  const checked = amount(name, value, 0, LONGEST_MS);
  if (checked === 0) {
    throw invalid(name, "must be more than 0 milliseconds");
  }
  return checked;
}

/** Convert milliseconds to the message of a duration; absent stays absent. */
export function duration(name: string, value: unknown): Duration | undefined {
  if (value === undefined) {
    return undefined;
  }
  const checked = amount(name, value, 0, 1e14);
  if (checked === 0) {
    throw invalid(name, "must be more than 0 milliseconds");
  }
  return durationOf(checked);
}

/** Return the message of a duration of 0 or more milliseconds. */
export function durationOf(ms: number): Duration {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.min(999_999_999, Math.round((ms - seconds * 1000) * 1e6)) };
}

/** Convert a Date to the message of a time; absent stays absent. */
export function moment(name: string, value: unknown): Timestamp | undefined {
  if (value === undefined) {
    return undefined;
  }
  if (!(value instanceof Date)) {
    throw new TypeError(`${name} must be a Date, not ${shown(value)}`);
  }
  const ms = value.getTime();
  if (Number.isNaN(ms)) {
    throw invalid(name, "must be a valid Date");
  }
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: (ms - seconds * 1000) * 1e6 };
}

/** Check labels. */
export function labels(value: Labels | undefined): Map<string, string> {
  const isObject = typeof value === "object" && (value as unknown) !== null;
  // The labels of a Map are not properties, and would be lost.
  if (value !== undefined && (!isObject || value instanceof Map || Array.isArray(value))) {
    throw new TypeError(`labels must be an object of strings, not ${shown(value)}`);
  }
  return new Map(
    Object.entries(value ?? {}).map(([key, each]) => [
      text("a key of labels", key),
      text(`labels[${shown(key)}]`, each),
    ]),
  );
}

/** Check bytes. */
export function bytes(name: string, value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) {
    throw new TypeError(`${name} must be a Uint8Array, not ${shown(value)}`);
  }
  return value;
}

/** Check a format. */
export function format(name: string, value: Format): FormatMessage {
  if (typeof value !== "object" || (value as unknown) === null) {
    throw new TypeError(`${name} must be a format { name, version }, not ${shown(value)}`);
  }
  return { name: text(`${name}.name`, value.name), version: small(`${name}.version`, value.version, 1, MAX_VERSION) };
}

/** Check accepted formats. */
export function acceptedFormats(name: string, value: readonly AcceptedFormat[] = []): AcceptedFormatMessage[] {
  if (!(Array.isArray as (value: unknown) => boolean)(value)) {
    throw new TypeError(`${name} must be a list of formats, not ${shown(value)}`);
  }
  return value.map((each, index) => ({
    name: text(`${name}[${index}].name`, each.name),
    minVersion: small(`${name}[${index}].minVersion`, each.minVersion, 1, MAX_VERSION),
    maxVersion: small(`${name}[${index}].maxVersion`, each.maxVersion, 1, MAX_VERSION),
  }));
}

/** Return a value for an error, cut. */
export function shown(value: unknown): string {
  return inspect(value, { depth: 0, maxArrayLength: 3, maxStringLength: 100, breakLength: Infinity }).slice(0, 200);
}
