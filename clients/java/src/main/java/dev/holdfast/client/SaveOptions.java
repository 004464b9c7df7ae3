package dev.holdfast.client;

import dev.holdfast.v1.SaveHeader;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/** How a checkpoint is saved. An instance is immutable: each method returns another one. */
public final class SaveOptions {
  private static final SaveOptions DEFAULTS =
      new SaveOptions(
          SaveHeader.getDefaultInstance(), Optional.empty(), Optional.empty(), (done, total) -> {});

  private final SaveHeader header;
  private final Optional<String> parentId;
  private final Optional<Duration> timeout;
  private final Progress progress;

  private SaveOptions(
      SaveHeader header, Optional<String> parentId, Optional<Duration> timeout, Progress progress) {
    this.header = header;
    this.parentId = parentId;
    this.timeout = timeout;
    this.progress = progress;
  }

  /**
   * Returns the defaults: the server chooses the id, and the checkpoint stays until it is deleted.
   *
   * @return the options
   */
  public static SaveOptions defaults() {
    return DEFAULTS;
  }

  /**
   * Chooses the id.
   *
   * @param id the id of the checkpoint; "" lets the server choose
   * @return the options
   */
  public SaveOptions checkpointId(String id) {
    return with(header -> header.setCheckpointId(Arguments.text("checkpoint_id", id)));
  }

  /**
   * Chooses an id and promises that no checkpoint of the workflow has or ever had it, which makes
   * the save faster. If that is wrong and the server does not notice, two checkpoints have the id.
   *
   * @param id the id of the checkpoint
   * @return the options
   */
  public SaveOptions freshId(String id) {
    return with(
        header -> header.setCheckpointId(Arguments.text("checkpoint_id", id)).setFreshId(true));
  }

  /**
   * Names the parent.
   *
   * @param id the checkpoint that this one was made from; "" for none
   * @return the options
   */
  public SaveOptions parentId(String id) {
    SaveHeader named = header.toBuilder().setParentId(Arguments.text("parent_id", id)).build();
    return new SaveOptions(named, Optional.of(id), timeout, progress);
  }

  /**
   * Names the parent, without which the checkpoint is of no use: the parent is kept as long as it.
   *
   * @param id the checkpoint that this one was made from
   * @return the options
   */
  public SaveOptions neededParentId(String id) {
    return parentId(id).with(header -> header.setNeedsParent(true));
  }

  /**
   * Adds a label.
   *
   * @param key its key
   * @param value its value
   * @return the options
   */
  public SaveOptions label(String key, String value) {
    return with(
        header -> header.putLabels(Arguments.text("labels", key), Arguments.text("labels", value)));
  }

  /**
   * Adds labels.
   *
   * @param labels the labels to find it by
   * @return the options
   */
  public SaveOptions labels(Map<String, String> labels) {
    SaveOptions labelled = this;
    for (Map.Entry<String, String> each : Arguments.present("labels", labels).entrySet()) {
      labelled = labelled.label(each.getKey(), each.getValue());
    }
    return labelled;
  }

  /**
   * Commits only if since a revision of the log nobody has saved, deleted the whole workflow, or
   * acquired it under another epoch.
   *
   * @param revision the revision; 0: while no checkpoint exists
   * @return the options
   */
  public SaveOptions expectedRevision(long revision) {
    return with(header -> header.setExpectedRevision(revision));
  }

  /**
   * Sets the epoch of the writer. A save without an epoch is not fenced.
   *
   * @param epoch the epoch
   * @return the options
   */
  public SaveOptions epoch(long epoch) {
    return with(header -> header.setEpoch(epoch));
  }

  /**
   * Limits how long the checkpoint must be kept.
   *
   * @param time the time
   * @return the options
   */
  public SaveOptions ttl(Duration time) {
    return with(header -> header.setTtl(Arguments.stored("ttl", time)));
  }

  /**
   * Replaces the checkpoint that has the same id, if there is one.
   *
   * @return the options
   */
  public SaveOptions replace() {
    return with(header -> header.setReplace(true));
  }

  /**
   * Keeps the checkpoint when retention by count and age or a prune would remove it.
   *
   * @return the options
   */
  public SaveOptions pinned() {
    return with(header -> header.setPinned(true));
  }

  /**
   * Sets the idempotency key, to send a save again whose outcome is not known.
   *
   * @param id the key; by default a new one
   * @return the options
   */
  public SaveOptions requestId(String id) {
    return with(header -> header.setRequestId(Arguments.text("request_id", id)));
  }

  /**
   * Limits the time.
   *
   * @param time for everything, retries included; by default that of the client
   * @return the options
   */
  public SaveOptions timeout(Duration time) {
    return new SaveOptions(
        header, parentId, Optional.of(Arguments.duration("timeout", time)), progress);
  }

  /**
   * Observes a payload that is streamed.
   *
   * @param observer is called with the bytes sent and all bytes
   * @return the options
   */
  public SaveOptions progress(Progress observer) {
    return new SaveOptions(header, parentId, timeout, Arguments.present("progress", observer));
  }

  /** Returns the header of a request, with a request id. */
  SaveHeader header(String namespace, String workflowId, Format format) {
    SaveHeader.Builder named =
        header.toBuilder()
            .setNamespace(Arguments.text("namespace", namespace))
            .setWorkflowId(Arguments.text("workflow_id", workflowId))
            .setFormat(Arguments.present("format", format).message());
    if (!header.getRequestIdBytes().isEmpty()) {
      return named.build();
    }
    return named.setRequestId(RequestIds.create()).build();
  }

  Optional<String> parentId() {
    return parentId;
  }

  Optional<Duration> timeout() {
    return timeout;
  }

  Progress progress() {
    return progress;
  }

  private SaveOptions with(Consumer<SaveHeader.Builder> change) {
    SaveHeader.Builder changed = header.toBuilder();
    change.accept(changed);
    return new SaveOptions(changed.build(), parentId, timeout, progress);
  }
}
