// Cancellation of calls: by the caller's AbortSignal, or because the client is closed.
import { shown } from "./arguments.js";

// A longer timer of Node.js fires at once.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** One logical call, which ends early if it is cancelled. */
export class Scope {
  readonly #onCancel = new Set<() => void>();
  readonly #forget: () => void;
  #reason: { error: unknown } | undefined;

  /**
   * @param signal - The caller's signal.
   * @param registered - Where the client keeps its running calls.
   */
  constructor(signal: AbortSignal | undefined, registered: Set<Scope>) {
    if (signal !== undefined && typeof (signal as Partial<AbortSignal> | null)?.addEventListener !== "function") {
      throw new TypeError(`signal must be an AbortSignal, not ${shown(signal)}`);
    }
    const onAbort = () => {
      this.cancel(signal?.reason);
    };
    this.#forget = () => {
      signal?.removeEventListener("abort", onAbort);
      registered.delete(this);
    };
    registered.add(this);
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) {
      onAbort();
    }
  }

  /** Cancel the call: it then fails with the error. */
  cancel(error: unknown): void {
    if (this.#reason === undefined) {
      this.#reason = { error };
      for (const callback of this.#onCancel) {
        callback();
      }
    }
  }

  /** Throw the error of the cancellation if there was one. */
  throwIfCancelled(): void {
    if (this.#reason !== undefined) {
      throw this.#reason.error;
    }
  }

  /** Call a function at once when the call is cancelled. Returns a function that takes this back. */
  onCancel(callback: () => void): () => void {
    this.#onCancel.add(callback);
    if (this.#reason !== undefined) {
      callback();
    }
    return () => this.#onCancel.delete(callback);
  }

  /** Wait between two attempts. */
  async sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, ms);
      const stop = this.onCancel(done);
      function done() {
        clearTimeout(timer);
        // onCancel calls back before it returns if the call is cancelled already.
        queueMicrotask(() => {
          stop();
        });
        resolve();
      }
    });
    this.throwIfCancelled();
  }

  /** Settle as a promise does, but no later than the cancellation. */
  async untilCancelled<Result>(promise: Promise<Result>): Promise<Result> {
    let stop = () => {};
    const cancelled = new Promise<void>((resolve) => {
      stop = this.onCancel(resolve);
    });
    try {
      const outcome = await Promise.race([promise.then((result) => ({ result })), cancelled]);
      this.throwIfCancelled();
      return (outcome as { result: Result }).result;
    } finally {
      stop();
    }
  }

  /** Settle as a promise does, but no later than the cancellation or the timeout. */
  async within<Result>(promise: Promise<Result>, ms: number, late: () => Error): Promise<Result> {
    let stop = () => {};
    let timer: NodeJS.Timeout | undefined;
    const cut = new Promise<"late" | "cancelled">((resolve) => {
      timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER_MS), "late");
      stop = this.onCancel(() => {
        resolve("cancelled");
      });
    });
    try {
      const outcome = await Promise.race([promise.then((result) => ({ result })), cut]);
      this.throwIfCancelled();
      if (typeof outcome === "object") {
        return outcome.result;
      }
      throw late();
    } finally {
      clearTimeout(timer);
      stop();
    }
  }

  /** Forget the caller's signal. */
  end(): void {
    this.#forget();
  }
}
