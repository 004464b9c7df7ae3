// A server that answers as a test says.
import {
  Metadata,
  Server,
  type ServerDuplexStream,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
  status,
} from "@grpc/grpc-js";
import { BinaryWriter } from "@bufbuild/protobuf/wire";

import {
  CheckpointServiceDefinition,
  type MessageFns,
  type PipelineRequest,
} from "../src/generated/holdfast/v1/checkpoint_service.js";

/** A call that a scripted server has received. */
export interface Received {
  method: string;
  request: Record<string, unknown>;
  metadata: Metadata;
  deadlineMs: number;
}

/** What a scripted server answers: nothing, a response, the messages of a stream, or a failure. */
export type Answer = "silence" | { response: object } | { messages: object[] } | { code: status; details?: Uint8Array };

/** A pipeline, from the side of the server. */
export type ServedPipeline = ServerDuplexStream<PipelineRequest, object>;

/** A server that gives one answer after another, whatever is called. It takes pipelines if it is given what serves them. */
export class Scripted {
  readonly received: Received[] = [];
  readonly #server = new Server();
  target = "";

  constructor(
    readonly answers: Answer[],
    private readonly serve?: (pipeline: ServedPipeline) => void,
  ) {}

  async start(): Promise<this> {
    const definition: Record<string, unknown> = {};
    const handlers: UntypedServiceImplementation = {};
    for (const method of Object.values(CheckpointServiceDefinition.methods)) {
      const requests = method.requestType as unknown as MessageFns<object>;
      const responses = method.responseType as unknown as MessageFns<object>;
      definition[method.name] = {
        path: `/${CheckpointServiceDefinition.fullName}/${method.name}`,
        requestStream: method.requestStream,
        responseStream: method.responseStream,
        requestSerialize: (message: object) => Buffer.from(requests.encode(message).finish()),
        requestDeserialize: (bytes: Buffer) => requests.decode(bytes),
        responseSerialize: (message: object) => Buffer.from(responses.encode(responses.fromPartial(message)).finish()),
        responseDeserialize: (bytes: Buffer) => responses.decode(bytes),
      };
      handlers[method.name] = ((call: never, done: never) => {
        this.#answer(method.name, call, done);
      }) as UntypedHandleCall;
    }
    if (this.serve === undefined) {
      delete definition["Pipeline"];
    } else {
      handlers["Pipeline"] = this.serve;
    }
    this.#server.addService(definition as ServiceDefinition, handlers);
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
        if (error) {
          reject(error);
        } else {
          resolve(bound);
        }
      });
    });
    this.target = `127.0.0.1:${port}`;
    return this;
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  #answer(
    method: string,
    call: {
      request: Record<string, unknown>;
      metadata: Metadata;
      getDeadline(): number | Date;
      write(message: object): void;
      end(): void;
      emit(event: "error", error: object): void;
    },
    done: ((error: object | null, response?: object) => void) | undefined,
  ): void {
    const { request, metadata } = call;
    this.received.push({ method, request, metadata, deadlineMs: Number(call.getDeadline()) - Date.now() });
    const answer = this.answers.shift() ?? { code: status.UNIMPLEMENTED };
    if (answer === "silence") {
      return;
    }
    if ("response" in answer) {
      done?.(null, answer.response);
    } else if ("messages" in answer) {
      answer.messages.forEach((message) => {
        call.write(message);
      });
      call.end();
    } else {
      const trailers = new Metadata();
      if (answer.details !== undefined) {
        trailers.set("grpc-status-details-bin", Buffer.from(answer.details));
      }
      const error = { code: answer.code, details: "scripted", metadata: trailers };
      if (done === undefined) {
        call.emit("error", error);
      } else {
        done(error);
      }
    }
  }
}

/** Return a failure with the details that a Holdfast server sends. */
export function refusal(
  code: status,
  reason: string,
  extra: { retryMs?: number; metadata?: Record<string, string> } = {},
): Answer {
  const message = (write: (writer: BinaryWriter) => void) => {
    const writer = new BinaryWriter();
    write(writer);
    return writer.finish();
  };
  const text = (writer: BinaryWriter, field: number, value: string) => writer.uint32((field << 3) | 2).string(value);
  const bytes = (writer: BinaryWriter, field: number, value: Uint8Array) =>
    writer.uint32((field << 3) | 2).bytes(value);
  const detail = (type: string, value: Uint8Array) =>
    message((any) => {
      text(any, 1, `type.googleapis.com/google.rpc.${type}`);
      bytes(any, 2, value);
    });
  const details = message((writer) => {
    writer.uint32(8).int32(code);
    text(writer, 2, "the message");
    const info = message((one) => {
      text(one, 1, reason);
      text(one, 2, "holdfast.dev");
      for (const [key, value] of Object.entries(extra.metadata ?? {})) {
        bytes(
          one,
          3,
          message((pair) => text(text(pair, 1, key), 2, value)),
        );
      }
    });
    bytes(writer, 3, detail("ErrorInfo", info));
    if (extra.retryMs !== undefined) {
      const delay = message((one) => one.uint32(8).int64((extra.retryMs ?? 0) / 1000));
      bytes(
        writer,
        3,
        detail(
          "RetryInfo",
          message((one) => bytes(one, 1, delay)),
        ),
      );
    }
  });
  return { code, details };
}
