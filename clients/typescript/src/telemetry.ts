// Spans and metrics of calls, through the OpenTelemetry API if the program has it. Each logical call has a client span,
// and each attempt a span below it, whose context goes to the server as W3C trace context. A program without tracing
// still has a trace id for each call, the same on every attempt: the server's spans and every error carry it.
import { status } from "@grpc/grpc-js";
import type * as OpenTelemetry from "@opentelemetry/api";
import { createRequire } from "node:module";

import { HoldfastError } from "./errors.js";
import { VERSION } from "./generated/version.js";
import { randomHex } from "./random.js";

const SERVICE = "holdfast.v1.CheckpointService";

const api = loaded();
const tracer = api?.trace.getTracer("holdfast", VERSION);
const meter = api?.metrics.getMeter("holdfast", VERSION);
const callSeconds = meter?.createHistogram("rpc.client.call.duration", {
  unit: "s",
  description: "Logical calls with all their attempts, by method and reason of failure.",
});
const retries = meter?.createCounter("holdfast.client.retries", {
  unit: "{attempt}",
  description: "Attempts beyond the first, by method and reason.",
});

function loaded(): typeof OpenTelemetry | undefined {
  try {
    return createRequire(import.meta.url)("@opentelemetry/api") as typeof OpenTelemetry;
  } catch {
    return undefined;
  }
}

/** The metadata that passes a trace on to the server. */
export interface TraceHeaders {
  traceparent: string;
  tracestate?: string;
}

/** A call with all its attempts. */
export class LogicalCall {
  /** The trace, 32 hex digits. */
  readonly traceId: string;
  readonly #method: string;
  readonly #attributes: Record<string, string>;
  readonly #context: OpenTelemetry.Context | undefined;
  readonly #span: OpenTelemetry.Span | undefined;
  readonly #began = performance.now();
  #attempt: OpenTelemetry.Span | undefined;

  constructor(method: string, requestId: string) {
    this.#method = `${SERVICE}/${method}`;
    this.#attributes = { "rpc.system.name": "grpc", "rpc.method": this.#method };
    if (api !== undefined && tracer !== undefined) {
      const parent = api.context.active();
      const attributes = requestId ? { ...this.#attributes, "holdfast.request_id": requestId } : this.#attributes;
      this.#span = tracer.startSpan(this.#method, { kind: api.SpanKind.CLIENT, attributes }, parent);
      this.#context = api.trace.setSpan(parent, this.#span);
    }
    const own = this.#span?.spanContext();
    this.traceId = own !== undefined && isValid(own) ? own.traceId : randomHex(16);
  }

  /**
   * Begin an attempt.
   *
   * @param number - 1 for the first.
   * @param previous - Why the attempt before it failed.
   */
  beginAttempt(number: number, previous: HoldfastError | undefined): TraceHeaders {
    if (previous !== undefined) {
      retries?.add(1, { ...this.#attributes, "error.type": previous.reason });
    }
    const attributes = { ...this.#attributes, "holdfast.attempt": number };
    this.#attempt = tracer?.startSpan(`${this.#method} attempt`, { attributes }, this.#context);
    const own = this.#attempt?.spanContext();
    if (own === undefined || !isValid(own)) {
      return { traceparent: `00-${this.traceId}-${randomHex(8)}-01` };
    }
    const flags = own.traceFlags.toString(16).padStart(2, "0");
    const state = own.traceState?.serialize();
    return { traceparent: `00-${own.traceId}-${own.spanId}-${flags}`, ...(state ? { tracestate: state } : {}) };
  }

  /** End the attempt. */
  endAttempt(error?: unknown): void {
    end(this.#attempt, error);
  }

  /** End the call. */
  end(error?: unknown): void {
    end(this.#span, error);
    callSeconds?.record((performance.now() - this.#began) / 1000, { ...this.#attributes, ...outcome(error) });
  }
}

function end(span: OpenTelemetry.Span | undefined, error: unknown): void {
  span?.setAttributes(outcome(error));
  if (api !== undefined && error instanceof HoldfastError) {
    span?.setStatus({ code: api.SpanStatusCode.ERROR, message: error.message });
  }
  span?.end();
}

function outcome(error: unknown): Record<string, string> {
  if (error instanceof HoldfastError) {
    return { "rpc.response.status_code": status[error.code], "error.type": error.reason };
  }
  return error === undefined ? { "rpc.response.status_code": "OK" } : {};
}

function isValid(context: OpenTelemetry.SpanContext): boolean {
  return api?.trace.isSpanContextValid(context) ?? false;
}
