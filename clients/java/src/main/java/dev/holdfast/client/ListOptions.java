package dev.holdfast.client;

import dev.holdfast.v1.CheckpointView;
import dev.holdfast.v1.ListFilter;
import dev.holdfast.v1.ListRequest;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.function.Consumer;

/** Which checkpoints are listed. An instance is immutable: each method returns another one. */
public final class ListOptions {
  private static final ListOptions DEFAULTS =
      new ListOptions(
          ListRequest.newBuilder().setView(CheckpointView.CHECKPOINT_VIEW_METADATA).build(),
          false,
          Optional.empty());

  private final ListRequest request;
  private final boolean isStrict;
  private final Optional<Duration> timeout;

  private ListOptions(ListRequest request, boolean isStrict, Optional<Duration> timeout) {
    this.request = request;
    this.isStrict = isStrict;
    this.timeout = timeout;
  }

  /**
   * Returns the defaults: all checkpoints, in pages of the size that the server chooses.
   *
   * @return the options
   */
  public static ListOptions defaults() {
    return DEFAULTS;
  }

  /**
   * Requires a label.
   *
   * @param key its key
   * @param value its value
   * @return the options
   */
  public ListOptions label(String key, String value) {
    return filter(
        filter -> filter.putLabels(Arguments.text("labels", key), Arguments.text("labels", value)));
  }

  /**
   * Leaves out checkpoints that were saved before a time.
   *
   * @param time the earliest time
   * @return the options
   */
  public ListOptions createdAfter(Instant time) {
    return filter(filter -> filter.setCreatedAfter(Arguments.message("created_after", time)));
  }

  /**
   * Leaves out checkpoints that were saved at or after a time.
   *
   * @param time the time
   * @return the options
   */
  public ListOptions createdBefore(Instant time) {
    return filter(filter -> filter.setCreatedBefore(Arguments.message("created_before", time)));
  }

  /**
   * Requires a format, or another one of those that further calls of this method name.
   *
   * @param format the format
   * @return the options
   */
  public ListOptions format(AcceptedFormat format) {
    return filter(filter -> filter.addFormats(Arguments.present("format", format).message()));
  }

  /**
   * Leaves out a checkpoint and newer ones.
   *
   * @param id the id of the checkpoint
   * @return the options
   */
  public ListOptions before(String id) {
    return with(request -> request.setBeforeCheckpointId(Arguments.text("before", id)));
  }

  /**
   * Throws where a commit marker is damaged, because a checkpoint may be missing there. By default
   * it is left out.
   *
   * @return the options
   */
  public ListOptions strict() {
    return new ListOptions(request, true, timeout);
  }

  /**
   * Sets how many are requested at a time.
   *
   * @param size the number; 0: the server chooses
   * @return the options
   */
  public ListOptions pageSize(int size) {
    return with(request -> request.setPageSize(size));
  }

  /**
   * Limits the time.
   *
   * @param time for all pages together, retries included; the caller's own time between them does
   *     not count. By default that of the client
   * @return the options
   */
  public ListOptions timeout(Duration time) {
    return new ListOptions(request, isStrict, Optional.of(Arguments.duration("timeout", time)));
  }

  ListRequest request(String namespace, String workflowId) {
    return request.toBuilder()
        .setNamespace(Arguments.text("namespace", namespace))
        .setWorkflowId(Arguments.text("workflow_id", workflowId))
        .build();
  }

  boolean isStrict() {
    return isStrict;
  }

  Optional<Duration> timeout() {
    return timeout;
  }

  private ListOptions filter(Consumer<ListFilter.Builder> change) {
    return with(request -> change.accept(request.getFilterBuilder()));
  }

  private ListOptions with(Consumer<ListRequest.Builder> change) {
    ListRequest.Builder changed = request.toBuilder();
    change.accept(changed);
    return new ListOptions(changed.build(), isStrict, timeout);
  }
}
