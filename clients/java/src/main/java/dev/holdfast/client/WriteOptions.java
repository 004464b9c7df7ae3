package dev.holdfast.client;

import java.time.Duration;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * How something is deleted or attached. An instance is immutable: each method returns another one.
 */
public final class WriteOptions {
  private static final WriteOptions DEFAULTS =
      new WriteOptions(OptionalLong.empty(), Optional.empty(), false, Optional.empty());

  private final OptionalLong epoch;
  private final Optional<String> requestId;
  private final boolean isPurge;
  private final Optional<Duration> timeout;

  private WriteOptions(
      OptionalLong epoch, Optional<String> requestId, boolean isPurge, Optional<Duration> timeout) {
    this.epoch = epoch;
    this.requestId = requestId;
    this.isPurge = isPurge;
    this.timeout = timeout;
  }

  /**
   * Returns the defaults: without an epoch, and deleted bytes stay for the grace of the store.
   *
   * @return the options
   */
  public static WriteOptions defaults() {
    return DEFAULTS;
  }

  /**
   * Sets the epoch of the writer. A call without an epoch is not fenced.
   *
   * @param number the epoch
   * @return the options
   */
  public WriteOptions epoch(long number) {
    return new WriteOptions(OptionalLong.of(number), requestId, isPurge, timeout);
  }

  /**
   * Removes bytes before the call returns, and not only after the grace of the store. For {@code
   * delete} and {@code deleteWorkflow}.
   *
   * @return the options
   */
  public WriteOptions purge() {
    return new WriteOptions(epoch, requestId, true, timeout);
  }

  /**
   * Sets the idempotency key, to send a call again whose outcome is not known.
   *
   * @param id the key; by default a new one
   * @return the options
   */
  public WriteOptions requestId(String id) {
    Optional<String> key = Optional.of(Arguments.text("request_id", id));
    return new WriteOptions(epoch, key, isPurge, timeout);
  }

  /**
   * Limits the time.
   *
   * @param time for everything, retries included; by default that of the client
   * @return the options
   */
  public WriteOptions timeout(Duration time) {
    Optional<Duration> limit = Optional.of(Arguments.duration("timeout", time));
    return new WriteOptions(epoch, requestId, isPurge, limit);
  }

  OptionalLong epoch() {
    return epoch;
  }

  String key() {
    return requestId.orElseGet(RequestIds::create);
  }

  boolean isPurge() {
    return isPurge;
  }

  Optional<Duration> timeout() {
    return timeout;
  }
}
