package dev.holdfast.client;

import dev.holdfast.v1.AcquireWriterRequest;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Consumer;

/** How a workflow is acquired. An instance is immutable: each method returns another one. */
public final class AcquireOptions {
  private static final AcquireOptions DEFAULTS =
      new AcquireOptions(AcquireWriterRequest.getDefaultInstance(), Optional.empty());

  private final AcquireWriterRequest request;
  private final Optional<Duration> timeout;

  private AcquireOptions(AcquireWriterRequest request, Optional<Duration> timeout) {
    this.request = request;
    this.timeout = timeout;
  }

  /**
   * Returns the defaults: in any case but a lease of another writer, and without a lease.
   *
   * @return the options
   */
  public static AcquireOptions defaults() {
    return DEFAULTS;
  }

  /**
   * Acquires only if since a revision of the log nobody has saved, deleted the whole workflow, or
   * acquired it.
   *
   * @param revision the revision; 0: while no checkpoint exists
   * @return the options
   */
  public AcquireOptions expectedRevision(long revision) {
    return with(request -> request.setExpectedRevision(revision));
  }

  /**
   * Refuses others without {@link #force()} for a time, from now and from each save, deletion and
   * prune of the new writer. A lease is a courtesy: only the epoch keeps a writer from committing.
   *
   * @param time the length of the lease
   * @param holder the name of its holder, shown to others
   * @return the options
   */
  public AcquireOptions lease(Duration time, String holder) {
    return with(
        request ->
            request
                .setLease(Arguments.stored("lease", time))
                .setHolder(Arguments.text("holder", holder)));
  }

  /**
   * Refuses others for a time, under the name of this process.
   *
   * @param time the length of the lease
   * @return the options
   */
  public AcquireOptions lease(Duration time) {
    return lease(time, "java:" + ProcessHandle.current().pid());
  }

  /**
   * Evicts the holder of a lease that has not ended.
   *
   * @return the options
   */
  public AcquireOptions force() {
    return with(request -> request.setForce(true));
  }

  /**
   * Sets the idempotency key. Each process needs one of its own: a key that was used before returns
   * the old epoch, which another process has too.
   *
   * @param id the key; by default a new one
   * @return the options
   */
  public AcquireOptions requestId(String id) {
    return with(request -> request.setRequestId(Arguments.text("request_id", id)));
  }

  /**
   * Limits the time.
   *
   * @param time for everything, retries included; by default that of the client
   * @return the options
   */
  public AcquireOptions timeout(Duration time) {
    return new AcquireOptions(request, Optional.of(Arguments.duration("timeout", time)));
  }

  AcquireWriterRequest request(String namespace, String workflowId) {
    AcquireWriterRequest.Builder named =
        request.toBuilder()
            .setNamespace(Arguments.text("namespace", namespace))
            .setWorkflowId(Arguments.text("workflow_id", workflowId));
    if (!request.getRequestIdBytes().isEmpty()) {
      return named.build();
    }
    return named.setRequestId(RequestIds.create()).build();
  }

  Optional<Duration> timeout() {
    return timeout;
  }

  private AcquireOptions with(Consumer<AcquireWriterRequest.Builder> change) {
    AcquireWriterRequest.Builder changed = request.toBuilder();
    change.accept(changed);
    return new AcquireOptions(changed.build(), timeout);
  }
}
