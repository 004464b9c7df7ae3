package dev.holdfast.client;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.LongSupplier;

/**
 * The retry tokens of a client, and the pauses between attempts.
 *
 * <p>Full jitter is the scheme of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). A
 * retry takes a token. A success gives a tenth of a token back, and so does time, at the rate of
 * the policy. This way a dead server is not flooded, and callers still retry when it is back.
 */
final class RetryBucket {
  private static final double TOKENS_PER_SUCCESS = 0.1;
  private static final double NANOS = 1e9;
  private static final Duration LONGEST_SERVER_DELAY = Duration.ofSeconds(30);

  private final RetryPolicy policy;
  private final double perNano;
  private final LongSupplier nanoClock;
  private double tokens;
  private long refilled;

  RetryBucket(RetryPolicy policy, LongSupplier nanoClock) {
    this.policy = policy;
    this.perNano = policy.burstRetries() > 0 ? policy.retriesPerSecond() / NANOS : 0;
    this.nanoClock = nanoClock;
    this.tokens = policy.burstRetries();
    this.refilled = nanoClock.getAsLong();
  }

  /** Notes an attempt that the server answered. */
  synchronized void succeeded() {
    add(TOKENS_PER_SUCCESS);
  }

  /**
   * Takes a token for a retry, and returns how long the retry must wait for it. Empty if that is
   * longer than it may: then no token is taken.
   */
  synchronized Optional<Duration> take(Duration left) {
    add(0);
    double missing = 1 - tokens;
    if (missing > 0 && (perNano == 0 || missing / perNano >= left.toNanos())) {
      return Optional.empty();
    }
    tokens -= 1;
    return Optional.of(
        missing > 0 ? Duration.ofNanos(Math.round(missing / perNano)) : Duration.ZERO);
  }

  /** Returns the pause after a failed attempt; 1 is the first. */
  Duration pause(int attempt, Optional<Duration> serverDelay) {
    double doubled = policy.initialBackoff().toNanos() * Math.pow(2, Math.min(attempt - 1, 30));
    double bound = Math.min(policy.maxBackoff().toNanos(), doubled);
    Duration pause = Duration.ofNanos((long) (ThreadLocalRandom.current().nextDouble() * bound));
    Duration asked = serverDelay.orElse(Duration.ZERO);
    return pause.plus(asked.compareTo(LONGEST_SERVER_DELAY) > 0 ? LONGEST_SERVER_DELAY : asked);
  }

  /** Returns why a retry was not made although the error allows it. */
  String exhausted() {
    if (policy.burstRetries() == 0) {
      return "the RetryPolicy of this client allows no retries";
    }
    return String.format(
        "this client has made many retries and has paused them (its RetryPolicy allows %.9g in a"
            + " row and %.9g each second)",
        policy.burstRetries(), policy.retriesPerSecond());
  }

  private void add(double more) {
    long now = nanoClock.getAsLong();
    tokens = Math.min(policy.burstRetries(), tokens + more + (now - refilled) * perNano);
    refilled = now;
  }
}
