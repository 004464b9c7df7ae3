// The time of a logical call that takes several requests, such as the pages of a list.
import { ofReason } from "./reasons.js";

/** The time that is left for the requests of a call. The caller's own time between them does not count. */
export class Budget {
  #left: number;

  constructor(private readonly ms: number) {
    this.#left = ms;
  }

  /** The milliseconds that are left. */
  get leftMs(): number {
    return this.#left;
  }

  /** Restore all the time. */
  renew(): void {
    this.#left = this.ms;
  }

  /**
   * Make a request and count its time.
   *
   * @param request - Makes the request, in at most the given milliseconds.
   * @throws DeadlineExceededError if no time is left.
   */
  async spend<Result>(request: (timeoutMs: number) => Promise<Result>): Promise<Result> {
    if (this.#left <= 0) {
      throw ofReason("DEADLINE_EXCEEDED", `the ${this.ms} ms for all requests of the call passed before its end`);
    }
    const began = performance.now();
    try {
      return await request(this.#left);
    } finally {
      this.#left -= performance.now() - began;
    }
  }
}
