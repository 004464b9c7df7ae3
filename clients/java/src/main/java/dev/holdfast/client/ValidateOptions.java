package dev.holdfast.client;

import dev.holdfast.v1.ValidateRequest;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Consumer;

/** What is validated, and how. An instance is immutable: each method returns another one. */
public final class ValidateOptions {
  private static final ValidateOptions DEFAULTS =
      new ValidateOptions(ValidateRequest.getDefaultInstance(), Optional.empty(), Optional.empty())
          .depth(ValidateDepth.CHECKSUM);

  private final ValidateRequest request;
  private final Optional<Head> notBefore;
  private final Optional<Duration> timeout;

  private ValidateOptions(
      ValidateRequest request, Optional<Head> notBefore, Optional<Duration> timeout) {
    this.request = request;
    this.notBefore = notBefore;
    this.timeout = timeout;
  }

  /**
   * Returns the defaults: every byte of the newest checkpoint, in any format.
   *
   * @return the options
   */
  public static ValidateOptions defaults() {
    return DEFAULTS;
  }

  /**
   * Names the checkpoint.
   *
   * @param id its id; "" for the newest
   * @return the options
   */
  public ValidateOptions checkpointId(String id) {
    return with(request -> request.setCheckpointId(Arguments.text("checkpoint_id", id)));
  }

  /**
   * Sets how much is read.
   *
   * @param depth the depth
   * @return the options
   */
  public ValidateOptions depth(ValidateDepth depth) {
    return with(request -> request.setDepth(Arguments.present("depth", depth).message()));
  }

  /**
   * Accepts a format. Any that no call of this method names is a finding.
   *
   * @param format the format
   * @return the options
   */
  public ValidateOptions accept(AcceptedFormat format) {
    AcceptedFormat accepted = Arguments.present("accepted_formats", format);
    return with(request -> request.addAcceptedFormats(accepted.message()));
  }

  /**
   * Fails with {@link RolledBackException} if the log is older than a head that the caller has
   * seen, perhaps by another client. The client remembers the head for later calls too.
   *
   * @param head the head
   * @return the options
   */
  public ValidateOptions notBefore(Head head) {
    Optional<Head> seen = Optional.of(Arguments.present("not_before", head));
    return new ValidateOptions(request, seen, timeout);
  }

  /**
   * Limits the time.
   *
   * @param time for everything, retries included; by default that of the client
   * @return the options
   */
  public ValidateOptions timeout(Duration time) {
    return new ValidateOptions(
        request, notBefore, Optional.of(Arguments.duration("timeout", time)));
  }

  ValidateRequest request(String namespace, String workflowId) {
    return request.toBuilder()
        .setNamespace(Arguments.text("namespace", namespace))
        .setWorkflowId(Arguments.text("workflow_id", workflowId))
        .build();
  }

  Optional<Head> notBefore() {
    return notBefore;
  }

  Optional<Duration> timeout() {
    return timeout;
  }

  private ValidateOptions with(Consumer<ValidateRequest.Builder> change) {
    ValidateRequest.Builder changed = request.toBuilder();
    change.accept(changed);
    return new ValidateOptions(changed.build(), notBefore, timeout);
  }
}
