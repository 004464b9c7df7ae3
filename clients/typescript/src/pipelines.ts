// Unary calls go through pipelines where the server takes them: many calls in one message cost both sides less than a
// stream for each. One pipeline takes calls; older ones wait for their last answers.
import { BinaryReader } from "@bufbuild/protobuf/wire";
import {
  type ClientDuplexStream,
  type InterceptingListener,
  InterceptingCall,
  type Interceptor,
  type InterceptorOptions,
  Metadata,
  type NextCall,
  type StatusObject,
  status,
} from "@grpc/grpc-js";

import {
  CheckpointServiceDefinition,
  type MessageFns,
  PipelineCall,
} from "./generated/holdfast/v1/checkpoint_service.js";
import { type CallHeaders, type Outcome, Pipeline, PipelinedCall, statusOf } from "./pipeline.js";
import { DETAILS_KEY, isBroken } from "./statuses.js";

// A larger request is sent as a unary call, so that small calls do not wait for it.
const LARGEST_PIPELINED = 256 << 10;
// A server answers a new pipeline at once. If it does not, a proxy that buffers streams may be between.
const FIRST_ANSWER_MS = 3_000;
// The time without calls after which a pipeline is closed, at most twice that. An open stream keeps the process alive, and
// another one costs as much as a unary call.
const IDLE_MS = 1_000;
// How long a connection uses unary calls before it opens a pipeline again.
const UNARY_MS = 60_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const REFUSALS: ReadonlySet<status> = new Set([
  status.UNIMPLEMENTED,
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.RESOURCE_EXHAUSTED,
]);
/** The field of each method's request in a PipelineCall, which is also that of its response in a PipelineAnswer. */
export const FIELDS: ReadonlyMap<string, number> = new Map(
  Object.entries(CheckpointServiceDefinition.methods).flatMap(([name, method]) => {
    const field = fieldOf(name, method.requestType);
    return field === undefined ? [] : [[`/${CheckpointServiceDefinition.fullName}/${method.name}`, field] as const];
  }),
);

type InterceptingCallInterface = ReturnType<NextCall>;

/** A stream of Pipeline, whose messages are bytes. */
export type PipelineStream = ClientDuplexStream<Uint8Array, Uint8Array>;

/** The pipelines of one connection. */
export class Pipelines {
  /** An interceptor behind all others, which carries each call that a pipeline can carry. */
  readonly interceptor: Interceptor;
  readonly #open = new Map<Pipeline, Carrier>();
  #current: Carrier | undefined;
  #unaryUntil = 0;
  #isClosed = false;

  /** @param stream - Opens a stream. */
  constructor(private readonly stream: (metadata: Metadata) => PipelineStream) {
    this.interceptor = (options, nextCall) => {
      const field = FIELDS.get(options.method_definition.path);
      return new InterceptingCall(
        field === undefined ? nextCall(options) : new CarriedCall(this, field, options, nextCall),
      );
    };
  }

  /**
   * Let a call wait for the next message, and open a pipeline if there is none.
   *
   * @returns False if pipelines are not allowed now.
   */
  add(call: PipelinedCall, credentials: string): boolean {
    if (this.#isClosed || performance.now() < this.#unaryUntil) {
      return false;
    }
    if (this.#current !== undefined && this.#current.pipeline.credentials !== credentials) {
      // What it has not sent has its credentials, not those of the next pipeline.
      for (const unsent of this.#close(this.#current)) {
        unsent.finish("refused");
      }
    }
    if (this.#current === undefined) {
      const metadata = new Metadata();
      if (credentials) {
        metadata.set("authorization", credentials);
      }
      const carrier = new Carrier(new Pipeline(credentials), this.stream(metadata), {
        goingAway: () => {
          this.#retire(carrier);
        },
        defective: () => {
          this.#unaryUntil = performance.now() + UNARY_MS;
          this.#retire(carrier);
        },
        ended: (found) => {
          this.#ended(carrier, found);
        },
      });
      this.#current = carrier;
      this.#open.set(carrier.pipeline, carrier);
    }
    this.#current.pipeline.add(call);
    this.#current.wake();
    return true;
  }

  /** Cancel a call whose caller no longer waits. */
  cancel(call: PipelinedCall): void {
    for (const [pipeline, carrier] of this.#open) {
      pipeline.cancel(call);
      carrier.wake();
    }
  }

  /** End all pipelines. */
  close(): void {
    this.#isClosed = true;
    for (const carrier of this.#open.values()) {
      carrier.cancel();
    }
  }

  /** Let the next pipeline take what one has not sent. */
  #retire(carrier: Carrier): void {
    for (const call of this.#close(carrier)) {
      if (!call.isDone && !this.add(call, carrier.pipeline.credentials)) {
        call.finish("refused");
      }
    }
  }

  /** Close a pipeline for sending. Returns what it has not sent. */
  #close(carrier: Carrier): PipelinedCall[] {
    if (this.#current === carrier) {
      this.#current = undefined;
    }
    const unsent = carrier.pipeline.retire();
    carrier.wake();
    return unsent;
  }

  /** Decide the outcome of every open call of a pipeline after its stream ended. */
  #ended({ pipeline }: Carrier, found: StatusObject): void {
    this.#open.delete(pipeline);
    if (this.#current?.pipeline === pipeline) {
      this.#current = undefined;
    }
    const calls = pipeline.end();
    if (!calls.length) {
      return;
    }
    const { code } = found;
    const hasDetails = found.metadata.get(DETAILS_KEY).length > 0;
    const isBreak = code === status.OK || isBroken(found);
    // A server or proxy refuses a pipeline before it starts any call. A server that refuses the token takes pipelines with
    // another one; a proxy may not.
    const isRefusal =
      !pipeline.hasAnswered &&
      !(code === status.UNAUTHENTICATED && hasDetails) &&
      (REFUSALS.has(code) || (!pipeline.hasSent && !isBreak));
    if (isRefusal || (!isBreak && !hasDetails)) {
      this.#unaryUntil = performance.now() + UNARY_MS;
    }
    const failure =
      isBreak || hasDetails
        ? { ...found, code: code === status.OK ? status.UNAVAILABLE : code }
        : statusOf(status.UNAVAILABLE, `the pipeline broke: ${status[code]}: ${found.details}`);
    for (const call of calls) {
      call.finish(isRefusal ? "refused" : { failure });
    }
  }
}

interface CarrierEvents {
  /** The pipeline takes no further calls. */
  goingAway(): void;
  /** The server does not answer it. */
  defective(): void;
  /** The stream ended. */
  ended(found: StatusObject): void;
}

/** Sends the messages of a pipeline on its stream, and reads the answers. */
class Carrier {
  readonly #idle: NodeJS.Timeout;
  #firstAnswer: NodeJS.Timeout | undefined;
  #isScheduled = false;
  #isWriting = false;
  #hasEnded = false;

  constructor(
    readonly pipeline: Pipeline,
    private readonly stream: PipelineStream,
    private readonly events: CarrierEvents,
  ) {
    this.#idle = setInterval(() => {
      if (!pipeline.isRetired && pipeline.isIdle()) {
        events.goingAway();
      }
    }, IDLE_MS).unref();
    stream.on("data", (message: Uint8Array) => {
      clearTimeout(this.#firstAnswer);
      this.#received(message);
    });
    // The status says it as well.
    stream.on("error", () => undefined);
    stream.on("status", (found: StatusObject) => {
      // Answers that came before the end count. Each is passed to the function above.
      let message: unknown;
      do {
        message = stream.read();
      } while (message !== null);
      this.#hasEnded = true;
      clearInterval(this.#idle);
      clearTimeout(this.#firstAnswer);
      events.ended(found);
    });
  }

  /** Send what waits soon. */
  wake(): void {
    // Callers whose answers came together make their next calls together: let them run first.
    if (!this.#isScheduled && !this.#isWriting && !this.#hasEnded) {
      this.#isScheduled = true;
      setImmediate(() => {
        this.#isScheduled = false;
        this.#write();
      });
    }
  }

  /** End the stream at once. */
  cancel(): void {
    this.stream.cancel();
  }

  #write(): void {
    if (this.#hasEnded || this.#isWriting) {
      return;
    }
    const message = this.pipeline.message();
    if (message === undefined) {
      if (this.pipeline.isRetired && !this.stream.writableEnded) {
        this.stream.end();
      }
      return;
    }
    this.#isWriting = true;
    this.stream.write(message, () => {
      this.#isWriting = false;
      this.wake();
    });
    if (!this.pipeline.hasSent) {
      this.pipeline.hasSent = true;
      this.#firstAnswer = setTimeout(() => {
        if (!this.pipeline.isRetired && !this.pipeline.hasAnswered) {
          this.events.defective();
        }
      }, FIRST_ANSWER_MS);
    }
  }

  #received(message: Uint8Array): void {
    let isGoingAway: boolean;
    try {
      isGoingAway = this.pipeline.received(message);
    } catch {
      // What follows cannot be trusted. Calls without an answer are retried.
      this.stream.cancel();
      return;
    }
    if (isGoingAway) {
      this.events.goingAway();
    }
    this.wake();
  }
}

/** One call of gRPC, which a pipeline carries, or else a stream of its own. */
class CarriedCall implements InterceptingCallInterface {
  #metadata = new Metadata();
  #listener: Partial<InterceptingListener> = {};
  #message: unknown;
  #call: PipelinedCall | undefined;
  #unary: InterceptingCallInterface | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hasEnded = false;

  constructor(
    private readonly pipelines: Pipelines,
    private readonly field: number,
    private readonly options: InterceptorOptions,
    private readonly nextCall: NextCall,
  ) {}

  start(metadata: Metadata, listener: Partial<InterceptingListener> = {}): void {
    [this.#metadata, this.#listener] = [metadata, listener];
  }

  sendMessage(message: unknown): void {
    this.#message = message;
  }

  sendMessageWithContext(_: object, message: unknown): void {
    this.#message = message;
  }

  /** Send the call, now that its request is known. */
  halfClose(): void {
    if (this.#hasEnded) {
      return;
    }
    const given = headersOf(this.#metadata);
    const deadline = Number(this.options.deadline ?? Infinity);
    const request = this.#serialized();
    if (given === undefined || request === undefined || !Number.isFinite(deadline)) {
      this.#sendUnary();
      return;
    }
    const call = new PipelinedCall(this.field, request, deadline, given, (outcome) => {
      this.#settle(outcome);
    });
    if (!this.pipelines.add(call, given.credentials)) {
      this.#sendUnary();
      return;
    }
    this.#call = call;
    this.#timer = setTimeout(
      () => {
        this.cancelWithStatus(status.DEADLINE_EXCEEDED, "the deadline passed in a pipeline");
      },
      Math.min(Math.max(deadline - Date.now(), 0), LONGEST_TIMER_MS),
    );
  }

  startRead(): void {
    this.#unary?.startRead();
  }

  cancelWithStatus(code: status, details: string): void {
    if (this.#unary !== undefined) {
      this.#unary.cancelWithStatus(code, details);
    } else if (!this.#hasEnded) {
      const call = this.#call;
      if (call === undefined) {
        this.#end(statusOf(code, details));
      } else {
        call.finish({ failure: statusOf(code, details) });
        this.pipelines.cancel(call);
      }
    }
  }

  getPeer(): string {
    return this.#unary?.getPeer() ?? "";
  }

  getAuthContext(): ReturnType<InterceptingCallInterface["getAuthContext"]> {
    return this.#unary?.getAuthContext() ?? null;
  }

  /** Return the request; undefined if a pipeline cannot carry it, and a call of its own says what is wrong with it. */
  #serialized(): Buffer | undefined {
    try {
      const request = this.options.method_definition.requestSerialize(this.#message);
      return request.length <= LARGEST_PIPELINED ? request : undefined;
    } catch {
      return undefined;
    }
  }

  #sendUnary(): void {
    this.#unary = this.nextCall(this.options);
    this.#unary.start(this.#metadata, this.#listener);
    this.#unary.sendMessage(this.#message);
    this.#unary.halfClose();
  }

  #settle(outcome: Outcome): void {
    clearTimeout(this.#timer);
    if (outcome === "refused") {
      this.#sendUnary();
    } else if ("failure" in outcome) {
      this.#end(outcome.failure);
    } else {
      let response: unknown;
      try {
        response = this.options.method_definition.responseDeserialize(outcome.response);
      } catch (error) {
        this.#end(statusOf(status.INTERNAL, `the answer cannot be read: ${String(error)}`));
        return;
      }
      this.#listener.onReceiveMetadata?.(new Metadata());
      this.#listener.onReceiveMessage?.(response);
      this.#end(statusOf(status.OK, ""));
    }
  }

  #end(found: StatusObject): void {
    this.#hasEnded = true;
    this.#listener.onReceiveStatus?.(found);
  }
}

/** Return the headers of a call; undefined if it has one that a pipeline cannot carry. */
function headersOf(metadata: Metadata): (CallHeaders & { credentials: string }) | undefined {
  const { traceparent = "", tracestate = "", authorization = "", ...others } = metadata.getMap();
  if (Object.keys(others).length) {
    return undefined;
  }
  return { traceparent: String(traceparent), tracestate: String(tracestate), credentials: String(authorization) };
}

/** Return the field of a method's request in a PipelineCall; undefined if it has none. */
function fieldOf(name: string, requestType: object): number | undefined {
  const value: unknown = (requestType as MessageFns<unknown>).fromPartial({});
  // The generated code knows the fields by the names of their methods, and has no other table of them.
  const request = { $case: name, value } as PipelineCall["request"];
  const bytes = PipelineCall.encode(PipelineCall.fromPartial({ request })).finish();
  return bytes.length ? new BinaryReader(bytes).tag()[0] : undefined;
}
