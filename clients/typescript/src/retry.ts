// The rules of retries: exponential backoff with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog,
// 2015), and a token bucket for each client. A retry takes a token. A success gives a tenth of a token back, and so does
// time. This way a dead server is not flooded, and callers still retry when the server is back.
import * as arguments_ from "./arguments.js";
import type { HoldfastError } from "./errors.js";

const MAX_SERVER_DELAY_MS = 30_000;
const MAX_TOKENS = 1e9;
const TOKENS_PER_SUCCESS = 0.1;
const LONGEST_MS = 366 * 24 * 3600 * 1000;

/** How a client retries its calls, each within the deadline of the call. */
export interface RetryPolicy {
  /** The upper bound of the first pause; it doubles with each further pause. Default: 50. */
  readonly initialBackoffMs?: number;
  /** The largest upper bound. Default: 5000. */
  readonly maxBackoffMs?: number;
  /**
   * The most time that one attempt may take. Default: 12 seconds for calls that a server answers at once, and all the
   * time that is left for streams and for calls whose work grows with the size of what is stored.
   */
  readonly attemptTimeoutMs?: number | undefined;
  /** How many retries the client's calls may make in a row; 0: none. Default: 50. */
  readonly burstRetries?: number;
  /** How many more retries each second allows. A retry waits for its token if there is time. Default: 5. */
  readonly retriesPerSecond?: number;
}

/** A policy whose values are all set. */
export type FullRetryPolicy = Required<Omit<RetryPolicy, "attemptTimeoutMs">> & Pick<RetryPolicy, "attemptTimeoutMs">;

/** Check a policy and add the defaults. */
export function retryPolicy(given: RetryPolicy = {}): FullRetryPolicy {
  const policy = {
    initialBackoffMs: arguments_.amount("retry.initialBackoffMs", given.initialBackoffMs ?? 50, 0, LONGEST_MS),
    maxBackoffMs: arguments_.amount("retry.maxBackoffMs", given.maxBackoffMs ?? 5000, 0, LONGEST_MS),
    burstRetries: arguments_.amount("retry.burstRetries", given.burstRetries ?? 50, 0, MAX_TOKENS),
    retriesPerSecond: arguments_.amount("retry.retriesPerSecond", given.retriesPerSecond ?? 5, 0, MAX_TOKENS),
  };
  const { attemptTimeoutMs } = given;
  return attemptTimeoutMs === undefined
    ? policy
    : { ...policy, attemptTimeoutMs: arguments_.milliseconds("retry.attemptTimeoutMs", attemptTimeoutMs) };
}

/** Return how long to wait after a failed attempt; 1 is the first. */
export function pauseMs(policy: FullRetryPolicy, attempt: number, error: HoldfastError): number {
  const bound = Math.min(policy.maxBackoffMs, policy.initialBackoffMs * 2 ** Math.min(attempt - 1, 30));
  return Math.min(error.retryAfterMs ?? 0, MAX_SERVER_DELAY_MS) + Math.random() * bound;
}

/** The retry tokens of a client. */
export class RetryBucket {
  readonly #capacity: number;
  readonly #perMs: number;
  readonly #clock: () => number;
  #tokens: number;
  #refilled: number;

  constructor(policy: FullRetryPolicy, clock: () => number = () => performance.now()) {
    this.#capacity = policy.burstRetries;
    this.#perMs = policy.burstRetries ? policy.retriesPerSecond / 1000 : 0;
    this.#clock = clock;
    this.#tokens = this.#capacity;
    this.#refilled = clock();
  }

  /** Note an attempt that the server answered. */
  succeeded(): void {
    this.#add(TOKENS_PER_SUCCESS);
  }

  /**
   * Take a token for a retry.
   *
   * @param leftMs - How long the retry may wait for its token.
   * @returns How long it must wait; undefined if that is longer than it may. Then no token is taken.
   */
  take(leftMs: number): number | undefined {
    this.#add(0);
    const missing = 1 - this.#tokens;
    if (missing > 0 && (this.#perMs === 0 || missing / this.#perMs >= leftMs)) {
      return undefined;
    }
    this.#tokens -= 1;
    return missing > 0 ? missing / this.#perMs : 0;
  }

  #add(tokens: number): void {
    const now = this.#clock();
    this.#tokens = Math.min(this.#capacity, this.#tokens + tokens + (now - this.#refilled) * this.#perMs);
    this.#refilled = now;
  }
}
