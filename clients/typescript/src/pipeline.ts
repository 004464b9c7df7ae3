// The calls of one pipeline: which of them wait, which are in flight, and what the next message holds. Whatever waits when
// the stream can take a message goes into it, up to a size that other calls need not wait for. A lone call goes at once.
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Metadata, type StatusObject, status } from "@grpc/grpc-js";

import { durationOf } from "./arguments.js";
import { Duration } from "./generated/google/protobuf/duration.js";
import { PipelineLimits } from "./generated/holdfast/v1/checkpoint_service.js";
import { DETAILS_KEY } from "./statuses.js";

const MESSAGE_BYTES = 512 << 10;
// The most calls that a server accepts in one message.
const MESSAGE_CALLS = 1000;
// What may be in flight before the server has stated its limits.
const FIRST_CALLS = 8;
const FIRST_BYTES = 1 << 20;
const CODES: ReadonlyMap<number, status> = new Map(
  Object.values(status).flatMap((each) => (typeof each === "number" ? [[each, each] as const] : [])),
);
const NOTHING = new Uint8Array();

/** How a call in a pipeline ended. A call that was refused was not started, and must be sent as a unary call. */
export type Outcome = { readonly response: Buffer } | { readonly failure: StatusObject } | "refused";

/** What a call sends besides its request. */
export interface CallHeaders {
  readonly traceparent: string;
  readonly tracestate: string;
}

/** A call in a pipeline, from its request to its outcome. */
export class PipelinedCall {
  id = 0;
  isDone = false;
  readonly size: number;
  #request: Uint8Array;

  /**
   * @param field - The field of the request in a PipelineCall, which is also that of the response in a PipelineAnswer.
   * @param request - The request, serialized.
   * @param deadline - When the call ends, by `Date.now()`.
   * @param headers - Its trace.
   * @param settle - Takes the outcome, once.
   */
  constructor(
    readonly field: number,
    request: Uint8Array,
    private readonly deadline: number,
    private readonly headers: CallHeaders,
    private readonly settle: (outcome: Outcome) => void,
  ) {
    this.#request = request;
    this.size = request.length;
  }

  /** End the call, unless it has ended. */
  finish(outcome: Outcome): void {
    if (!this.isDone) {
      this.isDone = true;
      this.#request = NOTHING;
      this.settle(outcome);
    }
  }

  /** Append the call to a PipelineRequest, and forget its request. */
  write(message: BinaryWriter): void {
    message.tag(1, WireType.LengthDelimited).fork();
    message.tag(1, WireType.Varint).int64(this.id);
    message.tag(2, WireType.LengthDelimited).fork();
    Duration.encode(durationOf(Math.max(this.deadline - Date.now(), 1)), message).join();
    for (const [field, value] of [
      [3, this.headers.traceparent],
      [4, this.headers.tracestate],
    ] as const) {
      if (value) {
        message.tag(field, WireType.LengthDelimited).string(value);
      }
    }
    message.tag(this.field, WireType.LengthDelimited).bytes(this.#request).join();
    this.#request = NOTHING;
  }

  /** Take the outcome of a PipelineAnswer. */
  answer(field: number, value: Uint8Array): void {
    if (field === this.field) {
      // A copy: the caller may keep a payload for long, and must not keep the answers of others with it.
      this.finish({ response: Buffer.from(value) });
    } else if (field === 2) {
      this.finish({ failure: failureOf(value) });
    } else {
      this.finish({ failure: statusOf(status.INTERNAL, "the server sent the answer of another call") });
    }
  }
}

/** The calls of one stream. */
export class Pipeline {
  hasSent = false;
  hasAnswered = false;
  /** Whether it takes no further calls. */
  isRetired = false;
  #waiting: PipelinedCall[] = [];
  readonly #inFlight = new Map<number, PipelinedCall>();
  #bytesInFlight = 0;
  #cancelled: number[] = [];
  #maxCalls = FIRST_CALLS;
  #maxBytes = FIRST_BYTES;
  #lastId = 0;
  #wasUsed = false;

  /** @param credentials - The token that the stream was opened with, which counts for all of its calls. */
  constructor(readonly credentials: string) {}

  /** Let a call wait for the next message. */
  add(call: PipelinedCall): void {
    this.#waiting.push(call);
    this.#wasUsed = true;
  }

  /** Cancel a call on the server, if it was sent. It keeps its id until it is answered. */
  cancel(call: PipelinedCall): void {
    if (this.#inFlight.get(call.id) === call && !this.isRetired) {
      this.#cancelled.push(call.id);
    }
  }

  /** Return the next message; undefined if nothing can be sent now. */
  message(): Uint8Array | undefined {
    const writer = new BinaryWriter();
    const cancelled = this.#cancelled.splice(0, MESSAGE_CALLS);
    if (cancelled.length) {
      writer.tag(2, WireType.LengthDelimited).fork();
      cancelled.forEach((id) => writer.int64(id));
      writer.join();
    }
    const count = cancelled.length + this.#append(writer);
    return count ? writer.finish() : undefined;
  }

  /** Append calls that wait. Returns how many. */
  #append(writer: BinaryWriter): number {
    // Nothing follows the first calls until the server has answered, or a refusal could be taken for a break.
    if (!this.hasAnswered && this.#inFlight.size) {
      return 0;
    }
    let [taken, count, size] = [0, 0, 0];
    for (const call of this.#waiting) {
      if (!call.isDone) {
        if (count === MESSAGE_CALLS || !this.#hasRoom(call) || (size && size + call.size > MESSAGE_BYTES)) {
          break;
        }
        call.id = this.#lastId += 1;
        this.#inFlight.set(call.id, call);
        this.#bytesInFlight += call.size;
        size += call.size;
        count += 1;
        call.write(writer);
      }
      taken += 1;
    }
    this.#waiting.splice(0, taken);
    return count;
  }

  #hasRoom(call: PipelinedCall): boolean {
    const { size } = this.#inFlight;
    return !size || (size < this.#maxCalls && this.#bytesInFlight + call.size <= this.#maxBytes);
  }

  /**
   * Take a PipelineResponse: limits, and the outcomes of calls. Ids that are not in flight are ignored.
   *
   * @returns Whether the server will end the pipeline.
   * @throws Error if it is not a PipelineResponse.
   */
  received(message: Uint8Array): boolean {
    this.hasAnswered = true;
    let isGoingAway = false;
    const reader = new BinaryReader(message);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, field);
      } else if (field === 1) {
        this.#answer(reader.bytes());
      } else if (field === 2) {
        const { calls, bytes } = PipelineLimits.decode(reader.bytes());
        [this.#maxCalls, this.#maxBytes] = [Math.max(calls, 1), Math.max(Number(bytes), 1)];
      } else {
        reader.bytes();
        isGoingAway ||= field === 3;
      }
    }
    return isGoingAway;
  }

  #answer(answer: Uint8Array): void {
    const reader = new BinaryReader(answer);
    let id = 0;
    let outcome = 0;
    let value: Uint8Array = NOTHING;
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === 1 && wireType === WireType.Varint) {
        id = Number(reader.int64());
      } else if (wireType === WireType.LengthDelimited) {
        outcome = field;
        value = reader.bytes();
      } else {
        reader.skip(wireType, field);
      }
    }
    const call = this.#inFlight.get(id);
    if (call !== undefined) {
      this.#inFlight.delete(id);
      this.#bytesInFlight -= call.size;
      call.answer(outcome, value);
    }
  }

  /** Return whether no call is open, and none was added since this was last called. */
  isIdle(): boolean {
    const wasUsed = this.#wasUsed;
    this.#wasUsed = false;
    return !wasUsed && !this.#waiting.length && !this.#inFlight.size;
  }

  /** Take no further calls. Returns those that were not sent. */
  retire(): PipelinedCall[] {
    this.isRetired = true;
    return this.#waiting.splice(0);
  }

  /** Send nothing more. Returns the calls without an outcome. */
  end(): PipelinedCall[] {
    const open = [...this.retire(), ...this.#inFlight.values()].filter((call) => !call.isDone);
    this.#inFlight.clear();
    this.#cancelled = [];
    return open;
  }
}

/** Return a status without details. */
export function statusOf(code: status, details: string): StatusObject {
  return { code, details, metadata: new Metadata() };
}

/** Return a serialized google.rpc.Status as that of a unary call. */
function failureOf(raw: Uint8Array): StatusObject {
  let code = 0;
  let message = "";
  try {
    const reader = new BinaryReader(raw);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === 1 && wireType === WireType.Varint) {
        code = reader.int32();
      } else if (field === 2 && wireType === WireType.LengthDelimited) {
        message = reader.string();
      } else {
        reader.skip(wireType, field);
      }
    }
  } catch {
    code = 0;
  }
  if (code === 0) {
    return statusOf(status.INTERNAL, "the server sent a status that cannot be read");
  }
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, Buffer.from(raw));
  const known = CODES.get(code) ?? status.UNKNOWN;
  return { code: known, details: message, metadata };
}
