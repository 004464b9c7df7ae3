// One logical call: one deadline, one trace, and as many attempts as the deadline and the retry bucket allow.
import * as arguments_ from "./arguments.js";
import { Budget } from "./budget.js";
import {
  type Connection,
  type Method,
  type Request,
  type Response,
  type Sending,
  type UnaryMethod,
  nameOf,
} from "./connection.js";
import { HoldfastError } from "./errors.js";
import type { Attempt as AttemptMessage } from "./generated/holdfast/v1/checkpoint.js";
import { SeenHeads, type Watch } from "./heads.js";
import { wrongAnswer } from "./reasons.js";
import { type FullRetryPolicy, RetryBucket, pauseMs } from "./retry.js";
import type { Scope } from "./scope.js";
import { fromServiceError } from "./statuses.js";
import { LogicalCall } from "./telemetry.js";
import type { KeptToken } from "./tokens.js";

const MIN_ATTEMPT_MS = 100;
// A token that was accepted for so long has expired. One that is refused sooner is not replaced without a pause.
const ACCEPTED_MS = 5_000;
// Longer than keepalive takes to notice a hung connection, so that the next attempt uses another one.
const USUAL_ATTEMPT_MS = 12_000;
// Calls that stream, or whose work grows with the amount of stored data.
const LONG: ReadonlySet<Method> = new Set<Method>([
  "copyWorkflow",
  "deleteCheckpoints",
  "deleteWorkflow",
  "deleteWorkflows",
  "loadStream",
  "prune",
  "saveStream",
  "validate",
]);

/** How long a call may take, and what ends it early. */
export interface CallOptions {
  /** Milliseconds for everything, retries included. Default: the client's. */
  readonly timeoutMs?: number | undefined;
  /** Ends the call early: it then fails with the signal's reason. A save may have taken effect or not. */
  readonly signal?: AbortSignal | undefined;
}

/** One attempt of a call. */
export interface Attempt extends Sending {
  /** 1 for the first attempt. */
  readonly number: number;
  /** What says in a request which attempt it is. */
  readonly message: AttemptMessage;
}

/** Makes calls with retries. */
export class Caller {
  /** The heads that the client has seen. */
  readonly heads = new SeenHeads();
  readonly #bucket: RetryBucket;

  constructor(
    readonly connection: Connection,
    private readonly policy: FullRetryPolicy,
    private readonly token: KeptToken | undefined,
    private readonly timeoutMs: number,
  ) {
    this.#bucket = new RetryBucket(policy);
  }

  /** Return the time for a logical call of several requests. */
  budget(options: CallOptions): Budget {
    const { timeoutMs } = options;
    return new Budget(timeoutMs === undefined ? this.timeoutMs : arguments_.milliseconds("timeoutMs", timeoutMs));
  }

  /**
   * Send a request until it succeeds, fails for good, or its time is up.
   *
   * @param method - The method, which decides how long an attempt may take.
   * @param send - Makes one attempt.
   * @param options - The time; the idempotency key, for errors that the server did not make; and what was seen of the
   * workflow when the call began.
   */
  async call<Result>(
    method: Method,
    send: (attempt: Attempt) => Promise<Result>,
    options: { timeoutMs: number; signal: AbortSignal | undefined; requestId?: string; watch: Watch },
  ): Promise<Result> {
    const { timeoutMs, signal, requestId = "", watch } = options;
    const scope = this.connection.scope(signal);
    const logical = new LogicalCall(nameOf(method), requestId);
    try {
      const result = await this.#attempts(method, send, scope, logical, timeoutMs, requestId, watch);
      logical.end();
      return result;
    } catch (error) {
      logical.end(error);
      throw error;
    } finally {
      scope.end();
    }
  }

  /** Send one request with retries and return its answer. Its `attempt` is set if it has one. */
  async unary<M extends UnaryMethod>(
    method: M,
    request: Request<M>,
    options: { timeoutMs: number; signal: AbortSignal | undefined },
  ): Promise<Response<M>> {
    const send = (attempt: Attempt) =>
      this.connection.unary(method, "attempt" in request ? { ...request, attempt: attempt.message } : request, attempt);
    const requestId = "requestId" in request ? request.requestId : "";
    return this.call(method, send, { ...options, requestId, watch: this.heads.watch(request) });
  }

  /**
   * Iterate over the pages of an answer, all of them within one budget of time. A page that deleted something renews the
   * budget: a deletion of many goes on as long as it makes progress.
   */
  async *pages<M extends "list" | "listWorkflows" | "listRecords" | "deleteCheckpoints" | "deleteWorkflows">(
    method: M,
    first: Request<M>,
    budget: Budget,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Response<M>> {
    // A page token that repeats would make an endless list. The distance to the remembered token doubles until it is a
    // multiple of any cycle's length.
    let remembered = "";
    let steps = 0;
    let renewedAfter = 1;
    let request = first;
    for (;;) {
      const current = request;
      const page = await budget.spend((timeoutMs) => this.unary(method, current, { timeoutMs, signal }));
      if ("deleted" in page && page.deleted > 0n) {
        budget.renew();
      }
      yield page;
      const token = page.nextPageToken;
      if (!token) {
        return;
      }
      if (token === remembered) {
        throw wrongAnswer("the same page token twice, so that its list would never end");
      }
      if (++steps === renewedAfter) {
        [remembered, steps, renewedAfter] = [token, 0, renewedAfter * 2];
      }
      request = { ...request, pageToken: token };
    }
  }

  async #attempts<Result>(
    method: Method,
    send: (attempt: Attempt) => Promise<Result>,
    scope: Scope,
    logical: LogicalCall,
    timeoutMs: number,
    requestId: string,
    watch: Watch,
  ): Promise<Result> {
    const started = performance.now();
    const left = () => Math.max(timeoutMs - (performance.now() - started), 1);
    const longest = this.policy.attemptTimeoutMs ?? (LONG.has(method) ? timeoutMs : USUAL_ATTEMPT_MS);
    let previous: HoldfastError | undefined;
    let earlier: HoldfastError | undefined;
    let hasRefreshed = false;
    for (let number = 1; ; number += 1) {
      const began = performance.now();
      let credentials = "";
      let error: HoldfastError;
      scope.throwIfCancelled();
      const trace = logical.beginAttempt(number, previous);
      try {
        if (this.token !== undefined) {
          credentials = await this.token.current(scope, left());
        }
        const elapsed = performance.now() - started;
        const result = await send({
          number,
          message: { number, elapsed: arguments_.durationOf(elapsed) },
          timeoutMs: Math.max(Math.min(timeoutMs - elapsed, longest), 1),
          metadata: { ...trace, ...(credentials ? { authorization: credentials } : {}) },
          scope,
        });
        watch.require(result);
        logical.endAttempt();
        this.#bucket.succeeded();
        return result;
      } catch (raised) {
        try {
          scope.throwIfCancelled();
          error = converted(raised, logical.traceId, requestId);
        } catch (final) {
          logical.endAttempt(final);
          throw final;
        }
        logical.endAttempt(error);
      }
      previous = error;
      const mayRefresh = this.#mayRefresh(error, credentials, hasRefreshed);
      if (mayRefresh && (!hasRefreshed || performance.now() - began > ACCEPTED_MS)) {
        hasRefreshed = true;
        continue;
      }
      const pause = error.retryable || mayRefresh ? this.#pause(number, error, left()) : undefined;
      if (pause === undefined) {
        watch.requireOf(error);
        throw explained(error, earlier);
      }
      earlier = error.reason === "DEADLINE_EXCEEDED" ? earlier : error;
      await scope.sleep(pause);
    }
  }

  /** Return whether to send a call again with a new token: once, and whenever one has expired on the way. */
  #mayRefresh(error: HoldfastError, credentials: string, hasRefreshed: boolean): boolean {
    if (error.reason !== "UNAUTHENTICATED" || this.token === undefined || !credentials) {
      return false;
    }
    return this.token.refuse(credentials) && (!hasRefreshed || "accepted" in error.metadata);
  }

  /** Return how long to wait before the next attempt; undefined if there is none. */
  #pause(number: number, error: HoldfastError, leftMs: number): number | undefined {
    const wait = this.#bucket.take(leftMs);
    if (wait === undefined) {
      const { burstRetries, retriesPerSecond } = this.policy;
      const why = burstRetries
        ? `this client has made many retries and has paused them (its retry policy allows ${burstRetries} in a row ` +
          `and ${retriesPerSecond} each second)`
        : "this client's retry policy allows no retries";
      error.message += `; it was not retried: ${why}`;
      error.metadata["retries"] = "off";
      return undefined;
    }
    const pause = Math.max(wait, pauseMs(this.policy, number, error));
    // An attempt that ends before it can be answered would only hide the error of this one.
    return pause + MIN_ATTEMPT_MS < leftMs ? pause : undefined;
  }
}

/** Return the error of an attempt; throw what is not one, such as an error of the caller's file. */
function converted(raised: unknown, traceId: string, requestId: string): HoldfastError {
  if (raised instanceof HoldfastError) {
    // Errors that the client itself raises about an answer have no trace id yet.
    raised.traceId ||= traceId;
    return raised;
  }
  if (raised instanceof Error && "code" in raised && "details" in raised && "metadata" in raised) {
    return fromServiceError(raised as Parameters<typeof fromServiceError>[0], { traceId, requestId });
  }
  throw raised;
}

/** Return the error; if it only says that the time is up, add why an earlier attempt failed. */
function explained(error: HoldfastError, earlier: HoldfastError | undefined): HoldfastError {
  if (earlier !== undefined && error.reason === "DEADLINE_EXCEEDED") {
    error.message += `; an earlier attempt ended with ${earlier.reason}: ${earlier.message}`;
    error.metadata["previous_reason"] = earlier.reason;
  }
  return error;
}
