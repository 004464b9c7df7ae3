package dev.holdfast.client;

import dev.holdfast.v1.ListLogRequest;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Consumer;

/** Which entries of a log are listed. An instance is immutable: each method returns another one. */
public final class LogOptions {
  private static final LogOptions DEFAULTS =
      new LogOptions(ListLogRequest.getDefaultInstance(), Optional.empty());

  private final ListLogRequest request;
  private final Optional<Duration> timeout;

  private LogOptions(ListLogRequest request, Optional<Duration> timeout) {
    this.request = request;
    this.timeout = timeout;
  }

  /**
   * Returns the defaults: every entry.
   *
   * @return the options
   */
  public static LogOptions defaults() {
    return DEFAULTS;
  }

  /**
   * Lists entries below a revision only.
   *
   * @param revision the revision
   * @return the options
   */
  public LogOptions beforeRevision(long revision) {
    return with(request -> request.setBeforeRevision(revision));
  }

  /**
   * Lists entries above a revision only.
   *
   * @param revision the revision
   * @return the options
   */
  public LogOptions afterRevision(long revision) {
    return with(request -> request.setAfterRevision(revision));
  }

  /**
   * Sets how many entries are requested at a time.
   *
   * @param size the number, at most 1000; 0: the server chooses
   * @return the options
   */
  public LogOptions pageSize(int size) {
    return with(request -> request.setPageSize(size));
  }

  /**
   * Limits the time.
   *
   * @param time for all pages, retries included; by default that of the client
   * @return the options
   */
  public LogOptions timeout(Duration time) {
    return new LogOptions(request, Optional.of(Arguments.duration("timeout", time)));
  }

  ListLogRequest request(String namespace, String workflowId) {
    return request.toBuilder()
        .setNamespace(Arguments.text("namespace", namespace))
        .setWorkflowId(Arguments.text("workflow_id", workflowId))
        .build();
  }

  Optional<Duration> timeout() {
    return timeout;
  }

  private LogOptions with(Consumer<ListLogRequest.Builder> change) {
    ListLogRequest.Builder changed = request.toBuilder();
    change.accept(changed);
    return new LogOptions(changed.build(), timeout);
  }
}
