package dev.holdfast.client;

import java.time.Duration;
import java.util.Optional;

/**
 * How a client retries its calls, each within the deadline of the call.
 *
 * @param initialBackoff the upper bound of the first pause; it doubles with each further pause
 * @param maxBackoff the largest upper bound
 * @param attemptTimeout the most time that one attempt may take. Empty: 12 seconds for calls that a
 *     server answers at once, and all the time that is left for streams and validations
 * @param burstRetries how many retries the calls of the client may make in a row; 0 for none
 * @param retriesPerSecond how many more retries each second allows. A retry waits for its token if
 *     there is time
 */
public record RetryPolicy(
    Duration initialBackoff,
    Duration maxBackoff,
    Optional<Duration> attemptTimeout,
    double burstRetries,
    double retriesPerSecond) {
  private static final double MOST_TOKENS = 1e9;

  /**
   * Checks the values.
   *
   * @param initialBackoff the upper bound of the first pause
   * @param maxBackoff the largest upper bound
   * @param attemptTimeout the most time that one attempt may take
   * @param burstRetries how many retries in a row
   * @param retriesPerSecond how many more each second
   * @throws InvalidRequestException if one is out of range
   */
  public RetryPolicy {
    Arguments.durationOrZero("initial_backoff", initialBackoff);
    Arguments.durationOrZero("max_backoff", maxBackoff);
    Arguments.present("attempt_timeout", attemptTimeout)
        .ifPresent(given -> Arguments.duration("attempt_timeout", given));
    Arguments.amount("burst_retries", burstRetries, MOST_TOKENS);
    Arguments.amount("retries_per_second", retriesPerSecond, MOST_TOKENS);
  }

  /**
   * Returns the policy of a client that sets none: 50 retries in a row, 5 more each second, pauses
   * of at most 50 ms at first and 5 seconds later.
   *
   * @return the policy
   */
  public static RetryPolicy defaults() {
    return new RetryPolicy(Duration.ofMillis(50), Duration.ofSeconds(5), Optional.empty(), 50, 5);
  }

  /**
   * Returns a policy without retries.
   *
   * @return the policy
   */
  public static RetryPolicy never() {
    return defaults().withBudget(0, 0);
  }

  /**
   * Returns this policy with other pauses.
   *
   * @param initial the upper bound of the first pause
   * @param max the largest upper bound
   * @return the policy
   */
  public RetryPolicy withBackoff(Duration initial, Duration max) {
    return new RetryPolicy(initial, max, attemptTimeout, burstRetries, retriesPerSecond);
  }

  /**
   * Returns this policy with another limit for each attempt.
   *
   * @param timeout the most time that one attempt may take
   * @return the policy
   */
  public RetryPolicy withAttemptTimeout(Duration timeout) {
    return new RetryPolicy(
        initialBackoff,
        maxBackoff,
        Optional.of(Arguments.present("attempt_timeout", timeout)),
        burstRetries,
        retriesPerSecond);
  }

  /**
   * Returns this policy with another budget.
   *
   * @param burst how many retries in a row
   * @param perSecond how many more each second
   * @return the policy
   */
  public RetryPolicy withBudget(double burst, double perSecond) {
    return new RetryPolicy(initialBackoff, maxBackoff, attemptTimeout, burst, perSecond);
  }
}
