package dev.holdfast.client;

import java.io.OutputStream;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;

/**
 * A workflow, as one writer sees it, with futures. Each method does what the method of {@link
 * Workflow} with the same name does. Wait for a save before the next one.
 */
public final class AsyncWorkflow {
  // How often one save gives way to other saves of the same writer.
  private static final int MAX_ADOPTIONS = 10;

  private final AsyncHoldfastClient client;
  private final String namespace;
  private final String workflowId;
  private OptionalLong revision = OptionalLong.empty();
  private OptionalLong epoch = OptionalLong.empty();
  private String checkpointId = "";

  AsyncWorkflow(AsyncHoldfastClient client, String namespace, String workflowId) {
    this.client = client;
    this.namespace = Arguments.text("namespace", namespace);
    this.workflowId = Arguments.text("workflow_id", workflowId);
  }

  /**
   * Returns the revision that the next save expects.
   *
   * @return the revision; empty before the first call
   */
  public synchronized OptionalLong revision() {
    return revision;
  }

  /**
   * Returns the epoch of this writer.
   *
   * @return the epoch; empty before {@link #acquireWriter}
   */
  public synchronized OptionalLong epoch() {
    return epoch;
  }

  /**
   * Returns the checkpoint that was saved last or resumed from.
   *
   * @return its id; "" before that
   */
  public synchronized String checkpointId() {
    return checkpointId;
  }

  /**
   * Returns the newest head of the log that the client has seen.
   *
   * @return the head; empty if none is remembered
   */
  public Optional<Head> head() {
    return client.head(namespace, workflowId);
  }

  /**
   * Becomes the only writer.
   *
   * @param options how
   * @return the writer
   */
  public CompletableFuture<Writer> acquireWriter(AcquireOptions options) {
    CompletableFuture<Writer> acquired = client.acquireWriter(namespace, workflowId, options);
    return Cancellation.of(acquired)
        .published(acquired.whenComplete((writer, failure) -> keep(writer)));
  }

  /**
   * Saves the next checkpoint.
   *
   * @param data the payload
   * @param format the format of the payload
   * @param options how; the handle sets expected revision and epoch, and the parent by default
   * @return the checkpoint
   */
  public CompletableFuture<Checkpoint> save(Payload data, Format format, SaveOptions options) {
    Cancellation cancellation = new Cancellation();
    return cancellation.published(save(cancellation, data, format, options, MAX_ADOPTIONS));
  }

  private CompletableFuture<Checkpoint> save(
      Cancellation cancellation,
      Payload data,
      Format format,
      SaveOptions options,
      int adoptionsLeft) {
    CompletableFuture<Checkpoint> saving =
        client.save(namespace, workflowId, data, format, options == null ? null : next(options));
    cancellation.onCancel(() -> saving.cancel(true));
    return saving
        .handle(
            (saved, failure) -> {
              if (failure == null) {
                keep(saved.revision(), saved.checkpointId());
                return CompletableFuture.completedFuture(saved);
              }
              OptionalLong head = ownHead(Cancellation.bare(failure));
              if (head.isEmpty() || adoptionsLeft == 0) {
                return CompletableFuture.<Checkpoint>failedFuture(failure);
              }
              return adopt(cancellation, head.getAsLong())
                  .thenCompose(
                      nothing -> save(cancellation, data, format, options, adoptionsLeft - 1));
            })
        .thenCompose(outcome -> outcome);
  }

  private synchronized SaveOptions next(SaveOptions options) {
    SaveOptions next = options;
    if (options.parentId().isEmpty() && !checkpointId.isEmpty()) {
      next = next.parentId(checkpointId);
    }
    if (revision.isPresent()) {
      next = next.expectedRevision(revision.getAsLong());
    }
    if (epoch.isPresent()) {
      next = next.epoch(epoch.getAsLong());
    }
    return next;
  }

  /** Continues from a head that this writer made by another handle. */
  private CompletableFuture<Void> adopt(Cancellation cancellation, long head) {
    CompletableFuture<Validation> newest =
        client.validate(
            namespace, workflowId, ValidateOptions.defaults().depth(ValidateDepth.MARKER));
    cancellation.onCancel(() -> newest.cancel(true));
    return newest.thenAccept(
        found -> keep(head, found.checkpoint().map(Checkpoint::checkpointId).orElse("")));
  }

  /** Returns the head's revision if every conflicting save was made under the handle's epoch. */
  private synchronized OptionalLong ownHead(Throwable failure) {
    if (!(failure instanceof RevisionConflictException conflict)
        || revision.isEmpty()
        || epoch.orElse(0) == 0) {
      return OptionalLong.empty();
    }
    try {
      List<Long> found =
          Arrays.asList(
                  "head_revision",
                  "last_save_revision",
                  "last_save_epoch",
                  "last_other_save_revision")
              .stream()
              .map(name -> Long.valueOf(conflict.metadata().getOrDefault(name, "")))
              .toList();
      long expected = revision.getAsLong();
      boolean isOwn =
          found.get(2) == epoch.getAsLong()
              && found.get(3) <= expected
              && expected < found.get(1)
              && found.get(1) <= found.get(0);
      return isOwn ? OptionalLong.of(found.get(0)) : OptionalLong.empty();
    } catch (NumberFormatException olderServer) {
      return OptionalLong.empty();
    }
  }

  /**
   * Resumes from the newest checkpoint.
   *
   * @param format the format that the caller works with
   * @param migrations bring older versions to it
   * @param options how
   * @return the checkpoint
   */
  public CompletableFuture<LoadedCheckpoint> resume(
      Format format, Migrations migrations, LoadOptions options) {
    CompletableFuture<LoadedCheckpoint> resuming =
        client.resume(namespace, workflowId, format, migrations, options);
    return Cancellation.of(resuming)
        .published(
            resuming.whenComplete(
                (loaded, failure) -> {
                  if (loaded != null) {
                    keepResumed(loaded);
                  }
                }));
  }

  /**
   * Loads a checkpoint. Only {@link #resume} changes the handle.
   *
   * @param options which checkpoint, and how
   * @return the checkpoint
   */
  public CompletableFuture<LoadedCheckpoint> load(LoadOptions options) {
    return client.load(namespace, workflowId, options);
  }

  /**
   * Loads a part of a checkpoint into a file.
   *
   * @param file the file, whose folder must exist
   * @param options which checkpoint and part, and how
   * @return the checkpoint
   */
  public CompletableFuture<LoadedFile> loadTo(Path file, LoadOptions options) {
    return client.loadTo(namespace, workflowId, file, options);
  }

  /**
   * Loads a part of a checkpoint into a stream.
   *
   * @param stream the stream, which stays open
   * @param options which checkpoint and part, and how
   * @return the checkpoint
   */
  public CompletableFuture<LoadedFile> loadTo(OutputStream stream, LoadOptions options) {
    return client.loadTo(namespace, workflowId, stream, options);
  }

  /**
   * Deletes all checkpoints, except the newest ones and those that these need.
   *
   * @param keepLast how many of the newest checkpoints stay, at least 1
   * @param options how; the handle sets the epoch
   * @return how many were deleted
   */
  public CompletableFuture<Long> prune(int keepLast, WriteOptions options) {
    return client.prune(namespace, workflowId, keepLast, fenced(options));
  }

  /**
   * Attaches records to a checkpoint id.
   *
   * @param id the checkpoint, which need not exist yet
   * @param attached the records
   * @param options how; the handle sets the epoch
   * @return nothing
   */
  public CompletableFuture<Void> attach(
      String id, List<CheckpointRecord> attached, WriteOptions options) {
    return client.attach(namespace, workflowId, id, attached, fenced(options));
  }

  /**
   * Returns the records of a checkpoint id.
   *
   * @param id the checkpoint, which need not exist
   * @return the records in the order of their keys
   */
  public CompletableFuture<List<CheckpointRecord>> records(String id) {
    return client.records(namespace, workflowId, id);
  }

  private synchronized WriteOptions fenced(WriteOptions options) {
    return epoch.isPresent() && options != null ? options.epoch(epoch.getAsLong()) : options;
  }

  private synchronized void keep(Writer writer) {
    if (writer != null) {
      epoch = OptionalLong.of(writer.epoch());
      if (revision.isEmpty()) {
        revision = OptionalLong.of(writer.revision());
      }
    }
  }

  private synchronized void keep(long newRevision, String newCheckpointId) {
    revision = OptionalLong.of(newRevision);
    checkpointId = newCheckpointId;
  }

  private synchronized void keepResumed(LoadedCheckpoint loaded) {
    checkpointId = loaded.checkpointId();
    long head = loaded.headRevision();
    revision = head == 0 ? OptionalLong.empty() : OptionalLong.of(head);
  }
}
