package dev.holdfast.client;

import java.time.Duration;

/**
 * One call of the public API, and the time that is left for all its requests. The caller's own time
 * between the pages of a list does not count.
 */
final class Operation extends Cancellation {
  private final Duration whole;
  private long leftNanos;

  Operation(Duration whole) {
    this.whole = whole;
    this.leftNanos = whole.toNanos();
  }

  /**
   * Returns the time that a request may take.
   *
   * @throws DeadlineExceededException none is left
   */
  synchronized Duration left() {
    if (leftNanos <= 0) {
      throw Reasons.exception(
          Reasons.DEADLINE_EXCEEDED,
          "the " + whole.toMillis() + " ms for all requests of the call passed before its end");
    }
    return Duration.ofNanos(leftNanos);
  }

  /** Returns an operation for the next request of a list, which has the time that is left. */
  synchronized Operation next() {
    Operation next = new Operation(whole);
    next.leftNanos = leftNanos;
    return next;
  }

  /** Restores all the time, for a call whose requests have it each. */
  synchronized void renew() {
    leftNanos = whole.toNanos();
  }

  synchronized void spend(long nanos) {
    leftNanos -= nanos;
  }
}
