// The connection of one client to its server: unary calls and streams as promises, with their cancellation.
import {
  type CallOptions,
  type ChannelOptions,
  Client,
  type ClientReadableStream,
  type ClientWritableStream,
  type Interceptor,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { once } from "node:events";

import { closed } from "./errors.js";
import { CheckpointServiceDefinition, type MessageFns } from "./generated/holdfast/v1/checkpoint_service.js";
import { Pipelines } from "./pipelines.js";
import { Scope } from "./scope.js";
import type { Destination } from "./targets.js";

type Methods = CheckpointServiceDefinition["methods"];
type Message<Fns> = Fns extends MessageFns<infer T> ? T : never;

/** A method of the service. */
export type Method = keyof Methods;
/** The request of a method. */
export type Request<M extends Method> = Message<Methods[M]["requestType"]>;
/** The response of a method. */
export type Response<M extends Method> = Message<Methods[M]["responseType"]>;
/** A method with one request and one response. */
export type UnaryMethod = Exclude<Method, "saveStream" | "loadStream" | "pipeline">;

/** What one attempt of a call sends besides its request. */
export interface Sending {
  readonly timeoutMs: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly scope: Scope;
}

const OPTIONS: ChannelOptions = {
  "grpc.enable_retries": 0,
  // Each client has its own connection, because a server limits the calls of each connection.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  // While a call waits, ping a silent server and give up a server that stays silent. Servers of Holdfast accept at most
  // one ping every 5 seconds.
  "grpc.keepalive_time_ms": 6_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc-node.flow_control_window": 4 << 20,
  "grpc.max_receive_message_length": 8 << 20,
};

/** The connection of one client. */
export class Connection {
  readonly #client: Client;
  readonly #pipelines: Pipelines;
  readonly #scopes = new Set<Scope>();
  #isClosed = false;

  constructor({ target, credentials, options }: Destination, interceptors: readonly Interceptor[]) {
    this.#pipelines = new Pipelines((metadata) =>
      streams.makeBidiStreamRequest(PIPELINE_PATH, asBuffer, asBytes, metadata, {}),
    );
    this.#client = new Client(target, credentials, {
      ...OPTIONS,
      ...options,
      interceptors: [...interceptors, this.#pipelines.interceptor],
    });
    // The caller's interceptors see the calls in a pipeline, not its stream.
    const streams = new Client(target, credentials, { channelOverride: this.#client.getChannel() });
  }

  /**
   * Begin a logical call, which ends early if the client is closed or the caller aborts.
   *
   * @throws ClientClosedError if the client is closed.
   */
  scope(signal: AbortSignal | undefined): Scope {
    if (this.#isClosed) {
      throw closed();
    }
    return new Scope(signal, this.#scopes);
  }

  /** Close the connection for good. Running calls end with ClientClosedError. */
  close(): void {
    this.#isClosed = true;
    for (const scope of this.#scopes) {
      scope.cancel(closed());
    }
    this.#pipelines.close();
    this.#client.close();
  }

  /**
   * Send a request and return its response.
   *
   * @throws ServiceError if the call fails.
   */
  async unary<M extends UnaryMethod>(method: M, request: Request<M>, sending: Sending): Promise<Response<M>> {
    const { path, requestSerialize, responseDeserialize } = definition(method);
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        ...outgoing(sending),
        (error, response) => {
          stop();
          settle(error, response, resolve, reject);
        },
      );
      const stop = sending.scope.onCancel(() => {
        call.cancel();
      });
    });
  }

  /**
   * Send a stream of messages and return the response.
   *
   * @param messages - Makes the messages. It may wait for the server's initial metadata.
   * @throws ServiceError if the call fails, or what `messages` throws.
   */
  async sendStream(
    messages: (initial: Promise<Metadata>) => AsyncIterable<Request<"saveStream">>,
    sending: Sending,
  ): Promise<Response<"saveStream">> {
    const { path, requestSerialize, responseDeserialize } = definition("saveStream");
    let end = () => {};
    const over = new Promise<void>((resolve) => (end = resolve));
    const state = { isOver: false };
    let send!: ClientWritableStream<Request<"saveStream">>;
    const answer = new Promise<Response<"saveStream">>((resolve, reject) => {
      send = this.#client.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        ...outgoing(sending),
        (error, response) => {
          state.isOver = true;
          end();
          settle(error, response, resolve, reject);
        },
      );
    });
    // Its error is thrown below, once nothing is sent any more. A message that is written too late is lost with the call.
    answer.catch(() => undefined);
    send.on("error", () => undefined);
    const stop = sending.scope.onCancel(() => {
      send.cancel();
    });
    const initial = Promise.race([
      once(send, "metadata").then(([metadata]) => metadata as Metadata),
      over.then(() => new Metadata()),
    ]);
    // Only a stream that resumes waits for it.
    initial.catch(() => undefined);
    try {
      let written = Promise.resolve();
      for await (const message of messages(initial)) {
        // One message is made while the one before it is sent.
        await Promise.race([written, over]);
        if (state.isOver) {
          break;
        }
        written = new Promise((resolve) => {
          send.write(message, () => {
            resolve();
          });
        });
      }
      send.end();
      return await answer;
    } catch (error) {
      send.cancel();
      await over;
      throw error;
    } finally {
      stop();
    }
  }

  /** Send a request and return the stream of its responses. It is cancelled when the iteration ends early. */
  async *receiveStream(request: Request<"loadStream">, sending: Sending): AsyncGenerator<Response<"loadStream">> {
    const { path, requestSerialize, responseDeserialize } = definition("loadStream");
    const stream: ClientReadableStream<Response<"loadStream">> = this.#client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      ...outgoing(sending),
    );
    const stop = sending.scope.onCancel(() => {
      stream.cancel();
    });
    const state: { failure?: Error; hasEnded: boolean } = { hasEnded: false };
    let wake = () => {};
    stream.on("readable", () => {
      wake();
    });
    stream.on("end", () => {
      state.hasEnded = true;
      wake();
    });
    stream.on("error", (error) => {
      state.failure = error;
      wake();
    });
    try {
      for (;;) {
        // Messages that came before an error count: the stream's own iterator would drop them.
        const message = stream.read() as Response<"loadStream"> | null;
        if (message !== null) {
          yield message;
        } else if (state.failure !== undefined) {
          throw state.failure;
        } else if (state.hasEnded) {
          return;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    } finally {
      stop();
      stream.cancel();
    }
  }
}

function outgoing({ timeoutMs, metadata }: Sending): [Metadata, CallOptions] {
  const sent = new Metadata();
  for (const [key, value] of Object.entries(metadata)) {
    sent.set(key, value);
  }
  return [sent, { deadline: Date.now() + timeoutMs }];
}

function settle<T>(
  error: ServiceError | null,
  response: T | undefined,
  resolve: (response: T) => void,
  reject: (error: Error) => void,
): void {
  if (error !== null) {
    reject(error);
  } else {
    resolve(response as T);
  }
}

const PIPELINE_PATH = `/${CheckpointServiceDefinition.fullName}/${CheckpointServiceDefinition.methods.pipeline.name}`;

function asBytes(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

type Wire<M extends Method> = Pick<
  MethodDefinition<Request<M>, Response<M>>,
  "path" | "requestSerialize" | "responseDeserialize"
>;

function definition<M extends Method>(method: M): Wire<M> {
  const { name, requestType, responseType } = CheckpointServiceDefinition.methods[method];
  const requests = requestType as MessageFns<unknown> as MessageFns<Request<M>>;
  const responses = responseType as MessageFns<unknown> as MessageFns<Response<M>>;
  return {
    path: `/${CheckpointServiceDefinition.fullName}/${name}`,
    requestSerialize: (request) => Buffer.from(requests.encode(request).finish()),
    responseDeserialize: (bytes) => responses.decode(asBytes(bytes)),
  };
}

/** Return the name of a method in the service. */
export function nameOf(method: Method): string {
  return CheckpointServiceDefinition.methods[method].name;
}
