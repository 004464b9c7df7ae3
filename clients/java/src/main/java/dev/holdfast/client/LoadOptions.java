package dev.holdfast.client;

import dev.holdfast.v1.CheckpointView;
import dev.holdfast.v1.Fallback;
import dev.holdfast.v1.LoadRequest;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Consumer;

/**
 * Which checkpoint is loaded, and how. An instance is immutable: each method returns another one.
 */
public final class LoadOptions {
  private static final LoadOptions DEFAULTS =
      new LoadOptions(
          LoadRequest.newBuilder()
              .setFallback(Fallback.FALLBACK_NONE)
              .setView(CheckpointView.CHECKPOINT_VIEW_PAYLOAD)
              .build(),
          Optional.empty(),
          OptionalLong.empty(),
          Optional.empty(),
          Optional.empty(),
          (done, total) -> {});

  private final LoadRequest request;
  private final Optional<String> part;
  private final OptionalLong maxBytes;
  private final Optional<Head> notBefore;
  private final Optional<Duration> timeout;
  private final Progress progress;

  private LoadOptions(
      LoadRequest request,
      Optional<String> part,
      OptionalLong maxBytes,
      Optional<Head> notBefore,
      Optional<Duration> timeout,
      Progress progress) {
    this.request = request;
    this.part = part;
    this.maxBytes = maxBytes;
    this.notBefore = notBefore;
    this.timeout = timeout;
    this.progress = progress;
  }

  /**
   * Returns the defaults: the newest checkpoint in any format, without fallback and records.
   *
   * @return the options
   */
  public static LoadOptions defaults() {
    return DEFAULTS;
  }

  /**
   * Names the checkpoint.
   *
   * @param id its id; "" for the newest
   * @return the options
   */
  public LoadOptions checkpointId(String id) {
    return with(request -> request.setCheckpointId(Arguments.text("checkpoint_id", id)));
  }

  /**
   * Accepts a format, and refuses those that no call of this method names, before data moves.
   *
   * @param format the format
   * @return the options
   */
  public LoadOptions accept(AcceptedFormat format) {
    AcceptedFormat accepted = Arguments.present("accepted_formats", format);
    return with(request -> request.addAcceptedFormats(accepted.message()));
  }

  /**
   * Loads the newest older checkpoint that is whole, if the checkpoint is damaged.
   *
   * @return the options
   */
  public LoadOptions fallback() {
    return with(request -> request.setFallback(Fallback.FALLBACK_LAST_GOOD));
  }

  /**
   * Loads the records of the checkpoint too.
   *
   * @return the options
   */
  public LoadOptions records() {
    return with(request -> request.setView(CheckpointView.CHECKPOINT_VIEW_FULL));
  }

  /**
   * Names the part that is loaded into a file or a stream.
   *
   * @param name its name; by default the default part or the only one
   * @return the options
   */
  public LoadOptions part(String name) {
    Optional<String> named = Optional.of(Arguments.text("part", name));
    return new LoadOptions(request, named, maxBytes, notBefore, timeout, progress);
  }

  /**
   * Limits the payload. Nothing of a larger one is loaded.
   *
   * @param bytes the most bytes that it may have; by default the largest heap of this process, or
   *     any number if it is loaded into a file or a stream
   * @return the options
   */
  public LoadOptions maxBytes(long bytes) {
    OptionalLong limit = OptionalLong.of(Arguments.range("max_bytes", bytes, 0, Long.MAX_VALUE));
    return new LoadOptions(request, part, limit, notBefore, timeout, progress);
  }

  /**
   * Fails with {@link RolledBackException} if the log is older than a head that the caller has
   * seen, perhaps by another client. The client remembers the head for later calls too.
   *
   * @param head the head
   * @return the options
   */
  public LoadOptions notBefore(Head head) {
    Optional<Head> seen = Optional.of(Arguments.present("not_before", head));
    return new LoadOptions(request, part, maxBytes, seen, timeout, progress);
  }

  /**
   * Limits the time.
   *
   * @param time for everything, retries included; by default that of the client
   * @return the options
   */
  public LoadOptions timeout(Duration time) {
    Optional<Duration> limit = Optional.of(Arguments.duration("timeout", time));
    return new LoadOptions(request, part, maxBytes, notBefore, limit, progress);
  }

  /**
   * Observes a payload that is streamed.
   *
   * @param observer is called with the bytes received and all bytes
   * @return the options
   */
  public LoadOptions progress(Progress observer) {
    Progress observing = Arguments.present("progress", observer);
    return new LoadOptions(request, part, maxBytes, notBefore, timeout, observing);
  }

  /** Returns these options for a checkpoint of one of these formats only. */
  LoadOptions onlyAccept(List<AcceptedFormat> formats) {
    return with(
        request ->
            request
                .clearAcceptedFormats()
                .addAllAcceptedFormats(formats.stream().map(AcceptedFormat::message).toList()));
  }

  LoadRequest request(String namespace, String workflowId) {
    return request.toBuilder()
        .setNamespace(Arguments.text("namespace", namespace))
        .setWorkflowId(Arguments.text("workflow_id", workflowId))
        .build();
  }

  Optional<String> part() {
    return part;
  }

  long limit(long otherwise) {
    return maxBytes.orElse(otherwise);
  }

  Optional<Head> notBefore() {
    return notBefore;
  }

  Optional<Duration> timeout() {
    return timeout;
  }

  Progress progress() {
    return progress;
  }

  private LoadOptions with(Consumer<LoadRequest.Builder> change) {
    LoadRequest.Builder changed = request.toBuilder();
    change.accept(changed);
    return new LoadOptions(changed.build(), part, maxBytes, notBefore, timeout, progress);
  }
}
