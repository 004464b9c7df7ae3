// Wrong behaviour, one kind for each name: in an interceptor between the client and its connection, or in the options
// that the driver gives.
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  InterceptingCall,
  type InterceptingListener,
  type Interceptor,
  type Listener,
  type StatusObject,
  status,
} from "@grpc/grpc-js";
import { createHash, randomUUID } from "node:crypto";

import { crc32c } from "../src/crc32c.js";

/** The options of `open`. */
export interface Opening {
  targets: string[];
  timeout_ms?: number;
  retry?: Record<string, number>;
  tls?: Record<string, string>;
  [name: string]: unknown;
}

type Message = Record<string, unknown>;

const DETAILS_KEY = "grpc-status-details-bin";
const HOUR_MS = 3_600_000;
const DEFAULT_TIMEOUT_MS = 10_000;
const LAST_GOOD = 2;
const DROPPED: Readonly<Record<string, string>> = {
  drops_traceparent: "traceparent",
  drops_token: "authorization",
  forgets_upload: "holdfast-resume",
};
const REQUESTS: Readonly<Record<string, (request: Message, path: string) => Message>> = {
  always_falls_back: (request) => changed(request, "fallback", () => LAST_GOOD),
  drops_accepted_formats: (request) => changed(request, "acceptedFormats", () => []),
  drops_attempt: (request) => changed(request, "attempt", () => undefined),
  drops_epoch: (request) => changed(request, "epoch", () => undefined),
  drops_expected_revision: (request) => changed(request, "expectedRevision", () => undefined),
  drops_stamp: (request) => changed(request, "observedStamp", () => 0n),
  first_attempt_always: (request) => changed(request, "attempt", () => ({ number: 1, elapsed: undefined })),
  forgets_ranges: (request) => changed(request, "ranges", () => []),
  new_request_id_per_attempt: (request) => changed(request, "requestId", () => randomUUID()),
  reuses_request_id: (request) => changed(request, "requestId", () => "same"),
  reuses_writer_request_id: (request, path) =>
    path.endsWith("/AcquireWriter") ? changed(request, "requestId", () => "same") : request,
  rounds_int64: (request) => changed(changed(request, "epoch", rounded), "expectedRevision", rounded),
};
const HEADS = ["head", "targetHead"];
const ANSWERS: Readonly<Record<string, (answer: Message, request: Message) => Message>> = {
  believes_answers: believed,
  drops_heads: headless,
  reads_one_page: (answer) => changed(answer, "nextPageToken", () => ""),
  repairs_digests: repaired,
  rounds_int64: (answer) => changed(answer, "epoch", rounded),
  stops_at_empty_page: (answer) => (isEmpty(answer) ? changed(answer, "nextPageToken", () => "") : answer),
  trusts_included: (answer) =>
    changed(
      changed(answer, "payloadIncluded", () => true),
      "recordsIncluded",
      () => true,
    ),
};

/** The names of all mutants. */
export const MUTANTS = [
  ...new Set([
    ...Object.keys(DROPPED),
    ...Object.keys(REQUESTS),
    ...Object.keys(ANSWERS),
    "drops_deadline",
    "first_address_only",
    "ignores_budget",
    "ignores_finish",
    "ignores_retry_info",
    "ignores_tls",
    "never_retries",
    "receives_4_mib",
    "renews_deadline",
    "retries_final_errors",
    "strips_details",
  ]),
].sort();

/** Return the options of a client, as a mutant changes them. */
export function options(mutant: string, given: Opening): Opening {
  switch (mutant) {
    case "never_retries":
      return { ...given, retry: { ...given.retry, burst: 0 } };
    case "ignores_budget":
      return { ...given, retry: { ...given.retry, burst: 10_000, per_second: 10_000 } };
    case "ignores_tls": {
      const plain = { ...given };
      delete plain.tls;
      return plain;
    }
    case "first_address_only":
      return { ...given, targets: given.targets.slice(0, 1) };
  }
  return given;
}

/** Return the interceptors of a client, as a mutant needs them. */
export function interceptors(mutant: string, timeoutMs: number | undefined): Interceptor[] {
  if (mutant === "retries_final_errors") {
    return [resending];
  }
  return mutant ? [mutated(mutant, timeoutMs)] : [];
}

function mutated(mutant: string, timeoutMs = DEFAULT_TIMEOUT_MS): Interceptor {
  return (callOptions, nextCall) => {
    const { path } = callOptions.method_definition;
    const called = { ...callOptions };
    if (mutant === "drops_deadline") {
      called.deadline = Date.now() + HOUR_MS;
    } else if (mutant === "renews_deadline") {
      called.deadline = Date.now() + timeoutMs;
    }
    const received = { largest: 0 };
    const definition = callOptions.method_definition;
    const parse = definition.responseDeserialize;
    definition.responseDeserialize = (bytes) => {
      received.largest = Math.max(received.largest, bytes.length);
      return parse(bytes) as never;
    };
    let request: Message = {};
    return new InterceptingCall(nextCall(called), {
      start(metadata, listener, next) {
        const dropped = DROPPED[mutant];
        if (dropped !== undefined) {
          metadata.remove(dropped);
        }
        next(
          metadata,
          listening(mutant, path, listener, received, {
            request: () => request,
            sendAgain(answered) {
              const again = nextCall(called);
              again.start(metadata, answered);
              again.sendMessage(request);
              again.halfClose();
            },
          }),
        );
      },
      sendMessage(message: Message, next) {
        request = requested(mutant, message, path);
        next(request);
      },
    });
  };
}

/** Send a unary call that failed with another status than UNAVAILABLE once more. */
const resending: Interceptor = (callOptions, nextCall) => {
  let sent: unknown;
  return new InterceptingCall(nextCall(callOptions), {
    start(metadata, outer, next) {
      next(metadata, {
        onReceiveStatus(found, end) {
          const isStream = callOptions.method_definition.requestStream || callOptions.method_definition.responseStream;
          if (isStream || found.code === status.OK || found.code === status.UNAVAILABLE) {
            end(found);
            return;
          }
          let answer: unknown;
          const again = nextCall(callOptions);
          again.start(metadata, {
            onReceiveMetadata: () => undefined,
            onReceiveMessage: (message: unknown) => {
              answer = message;
            },
            onReceiveStatus: (second) => {
              if (second.code === status.OK) {
                outer.onReceiveMessage(answer);
              }
              end(second);
            },
          });
          again.sendMessage(sent);
          again.halfClose();
        },
      });
    },
    sendMessage(message, next) {
      sent = message;
      next(message);
    },
  });
};

/** Return a request as a mutant changes it. */
function requested(mutant: string, message: Message, path: string): Message {
  const change = REQUESTS[mutant];
  if (change === undefined) {
    return message;
  }
  const streamed = message["message"] as { $case: string; value: Message } | undefined;
  if (streamed !== undefined) {
    return streamed.$case === "header" ? { message: { ...streamed, value: change(streamed.value, path) } } : message;
  }
  return message["header"] === undefined
    ? change(message, path)
    : { ...message, header: change(message["header"] as Message, path) };
}

/** Return a listener that changes answers as a mutant does. */
function listening(
  mutant: string,
  path: string,
  outer: { onReceiveMessage(message: Message): void },
  received: { largest: number },
  sent: { request(): Message; sendAgain(answered: Partial<InterceptingListener>): void },
): Listener {
  let streamed = { kind: "", bytes: 0n };
  const isTooLarge = () => mutant === "receives_4_mib" && received.largest > 4 << 20;
  return {
    onReceiveMetadata: (metadata, next) => {
      next(metadata);
    },
    onReceiveMessage(message: Message | null, next) {
      if (message === null) {
        next(message);
        return;
      }
      const chunk = message["message"] as { $case: string; value: { data?: Uint8Array } } | undefined;
      streamed = {
        kind: chunk?.$case ?? "",
        bytes: streamed.bytes + BigInt(chunk?.value.data?.length ?? 0),
      };
      next(ANSWERS[mutant]?.(message, sent.request()) ?? message);
    },
    onReceiveStatus(found, next) {
      if (
        mutant === "retries_final_errors" &&
        !path.endsWith("Stream") &&
        found.code &&
        found.code !== status.UNAVAILABLE
      ) {
        sent.sendAgain({
          onReceiveMetadata: () => undefined,
          onReceiveMessage: (message: Message | null) => {
            if (message !== null) {
              outer.onReceiveMessage(message);
            }
          },
          onReceiveStatus: next,
        });
        return;
      }
      if (
        mutant === "ignores_finish" &&
        path.endsWith("/LoadStream") &&
        found.code === status.OK &&
        streamed.kind !== "finish"
      ) {
        outer.onReceiveMessage({ message: { $case: "finish", value: { sizeBytes: streamed.bytes } } });
      }
      next(
        isTooLarge()
          ? { ...found, code: status.RESOURCE_EXHAUSTED, details: "a message larger than 4 MiB" }
          : ended(mutant, found),
      );
    },
  };
}

/** Return the end of a call, as a mutant changes it. */
function ended(mutant: string, found: StatusObject): StatusObject {
  if (!["strips_details", "ignores_retry_info", "drops_heads"].includes(mutant)) {
    return found;
  }
  const metadata = found.metadata.clone();
  const [details] = metadata.get(DETAILS_KEY);
  metadata.remove(DETAILS_KEY);
  if (mutant !== "drops_heads") {
    metadata.remove("grpc-retry-pushback-ms");
  }
  if (mutant !== "strips_details" && details instanceof Uint8Array) {
    const kept = mutant === "drops_heads" ? withoutHead(details) : withoutRetryInfo(details);
    metadata.set(DETAILS_KEY, Buffer.from(kept));
  }
  return { ...found, metadata };
}

/** Return a google.rpc.Status without its RetryInfo. */
function withoutRetryInfo(details: Uint8Array): Uint8Array {
  return rewritten(details, (_, detail) => (Buffer.from(detail).includes("google.rpc.RetryInfo") ? undefined : detail));
}

/** Return a google.rpc.Status whose ErrorInfo names no head. */
function withoutHead(details: Uint8Array): Uint8Array {
  const inInfo = (field: number, pair: Uint8Array) =>
    field === 3 && /head_(revision|digest)/.test(Buffer.from(pair).toString("latin1")) ? undefined : pair;
  const inAny = (field: number, value: Uint8Array) => (field === 2 ? rewritten(value, inInfo) : value);
  return rewritten(details, (field, detail) =>
    field === 3 && Buffer.from(detail).includes("google.rpc.ErrorInfo") ? rewritten(detail, inAny) : detail,
  );
}

/** Return a message with its length-delimited fields changed, or left out. */
function rewritten(
  message: Uint8Array,
  change: (field: number, value: Uint8Array) => Uint8Array | undefined,
): Uint8Array {
  const reader = new BinaryReader(message);
  const writer = new BinaryWriter();
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [field, wireType] = reader.tag();
    if (wireType === WireType.LengthDelimited) {
      const value = change(field, reader.bytes());
      if (value !== undefined) {
        writer.tag(field, wireType).bytes(value);
      }
    } else {
      reader.skip(wireType, field);
      writer.raw(message.subarray(start, reader.pos));
    }
  }
  return writer.finish();
}

/** Name what was requested in the checkpoint of an answer. */
function believed(answer: Message, request: Message): Message {
  const named = (request["header"] ?? request) as { namespace: string; workflowId: string; checkpointId: string };
  return changed(answer, "checkpoint", (found) => ({
    ...(found as Message),
    namespace: named.namespace,
    workflowId: named.workflowId,
    checkpointId: named.checkpointId || (found as { checkpointId: string }).checkpointId,
  }));
}

/** Set the digests of an answer of Load to those of its data. */
function repaired(answer: Message): Message {
  if (!("payloadIncluded" in answer)) {
    return answer;
  }
  const data = new Map((answer["parts"] as { name: string; data: Uint8Array }[]).map((part) => [part.name, part.data]));
  return changed(answer, "checkpoint", (found) => ({
    ...(found as Message),
    parts: (found as { parts: { name: string }[] }).parts.map((part) => {
      const bytes = data.get(part.name) ?? new Uint8Array();
      return { ...part, sha256: createHash("sha256").update(bytes).digest(), crc32c: crc32c(bytes) };
    }),
  }));
}

/** Clear the heads of an answer, or of the header of a stream. */
function headless(answer: Message): Message {
  const streamed = answer["message"] as { $case: string; value: Message } | undefined;
  if (streamed?.$case === "header") {
    return { message: { ...streamed, value: headless(streamed.value) } };
  }
  return HEADS.reduce((message, name) => changed(message, name, () => undefined), answer);
}

function changed(message: Message, name: string, change: (value: unknown) => unknown): Message {
  return name in message ? { ...message, [name]: change(message[name]) } : message;
}

function rounded(value: unknown): unknown {
  return typeof value === "bigint" ? BigInt(Number(value)) : value;
}

function isEmpty(answer: Message): boolean {
  return ["checkpoints", "records", "workflows"].every((name) => !(answer[name] as unknown[] | undefined)?.length);
}
