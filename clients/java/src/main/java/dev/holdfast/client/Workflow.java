package dev.holdfast.client;

import java.io.OutputStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * A workflow, as one writer sees it. The handle carries revision and epoch from call to call.
 *
 * <p>Once it knows a revision, each of its saves requires that nobody else has saved since, deleted
 * the whole workflow, or acquired it. Deletions of checkpoints, prunes, collections, and saves
 * under the epoch of the handle do not conflict.
 *
 * <p>Threads may share a handle, but not save with it at the same time: of two saves that expect
 * the same revision, one is refused with {@link RevisionConflictException}.
 */
public final class Workflow {
  private final AsyncWorkflow async;

  Workflow(AsyncWorkflow async) {
    this.async = async;
  }

  /**
   * Returns the same handle with futures.
   *
   * @return the handle
   */
  public AsyncWorkflow async() {
    return async;
  }

  /**
   * Returns the revision that the next save expects.
   *
   * @return the revision; empty before the first call
   */
  public OptionalLong revision() {
    return async.revision();
  }

  /**
   * Returns the epoch of this writer.
   *
   * @return the epoch; empty before {@link #acquireWriter()}
   */
  public OptionalLong epoch() {
    return async.epoch();
  }

  /**
   * Returns the checkpoint that was saved last or resumed from.
   *
   * @return its id; "" before that
   */
  public String checkpointId() {
    return async.checkpointId();
  }

  /**
   * Returns the newest head of the log that the client has seen.
   *
   * @return the head; empty if none is remembered
   */
  public Optional<Head> head() {
    return async.head();
  }

  /**
   * Becomes the only writer. The handle keeps the revision that it knows: if somebody else has
   * saved since, the next save is refused until the handle has resumed.
   *
   * @return the writer
   * @throws LeaseHeldException the lease of another writer has not ended
   * @throws HoldfastException a subclass for each other reason
   */
  public Writer acquireWriter() {
    return acquireWriter(AcquireOptions.defaults());
  }

  /**
   * Becomes the only writer.
   *
   * @param options how; each save of this handle renews the lease
   * @return the writer
   * @throws LeaseHeldException the lease of another writer has not ended
   * @throws RevisionConflictException somebody has saved or acquired; nothing was changed
   * @throws HoldfastException a subclass for each other reason
   */
  public Writer acquireWriter(AcquireOptions options) {
    return Blocking.join(async.acquireWriter(options));
  }

  /**
   * Saves the next checkpoint. Its parent is the last one of this handle.
   *
   * @param data the payload
   * @param format the format of the payload
   * @return the checkpoint
   * @throws RevisionConflictException another writer has changed the workflow since
   * @throws WriterFencedException another writer owns the workflow
   * @throws HoldfastException a subclass for each other reason
   */
  public Checkpoint save(Payload data, Format format) {
    return save(data, format, SaveOptions.defaults());
  }

  /**
   * Saves the next checkpoint. If all saves that conflict were made under the epoch of the handle,
   * it continues from the newest of them.
   *
   * @param data the payload
   * @param format the format of the payload
   * @param options how; the handle sets expected revision and epoch, and the parent by default
   * @return the checkpoint
   * @throws RevisionConflictException another writer has changed the workflow since
   * @throws WriterFencedException another writer owns the workflow
   * @throws HoldfastException a subclass for each other reason
   */
  public Checkpoint save(Payload data, Format format, SaveOptions options) {
    return Blocking.join(async.save(data, format, options));
  }

  /**
   * Resumes from the newest checkpoint: the next save has it as its parent and expects the current
   * head.
   *
   * @param format the format that the caller works with
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   */
  public LoadedCheckpoint resume(Format format) {
    return resume(format, Migrations.none(), LoadOptions.defaults());
  }

  /**
   * Resumes from the newest checkpoint: the next save has it as its parent and expects the current
   * head.
   *
   * @param format the format that the caller works with
   * @param migrations bring older versions to it
   * @param options how
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   */
  public LoadedCheckpoint resume(Format format, Migrations migrations, LoadOptions options) {
    return Blocking.join(async.resume(format, migrations, options));
  }

  /**
   * Loads a checkpoint. Only {@code resume} changes the handle.
   *
   * @param options which checkpoint, and how
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   */
  public LoadedCheckpoint load(LoadOptions options) {
    return Blocking.join(async.load(options));
  }

  /**
   * Loads a part of a checkpoint into a file, whole or not at all.
   *
   * @param file the file, whose folder must exist
   * @param options which checkpoint and part, and how
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   */
  public LoadedFile loadTo(Path file, LoadOptions options) {
    return Blocking.join(async.loadTo(file, options));
  }

  /**
   * Loads a part of a checkpoint into a stream, whole or not at all.
   *
   * @param stream the stream, which stays open
   * @param options which checkpoint and part, and how
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   */
  public LoadedFile loadTo(OutputStream stream, LoadOptions options) {
    return Blocking.join(async.loadTo(stream, options));
  }

  /**
   * Deletes all checkpoints, except the newest ones and those that these need.
   *
   * @param keepLast how many of the newest checkpoints stay, at least 1
   * @return how many were deleted
   * @throws WriterFencedException another writer owns the workflow
   * @throws HoldfastException a subclass for each other reason
   */
  public long prune(int keepLast) {
    return Blocking.join(async.prune(keepLast, WriteOptions.defaults()));
  }

  /**
   * Attaches records to the checkpoint that was saved last or resumed from.
   *
   * @param records the records
   * @throws InvalidRequestException the handle has neither saved nor resumed
   * @throws WriterFencedException another writer owns the workflow
   * @throws HoldfastException a subclass for each other reason
   */
  public void attach(List<CheckpointRecord> records) {
    attach(checkpointId(), records, WriteOptions.defaults());
  }

  /**
   * Attaches records to a checkpoint id.
   *
   * @param checkpointId the checkpoint, which need not exist yet
   * @param records the records
   * @param options how; the handle sets the epoch
   * @throws WriterFencedException another writer owns the workflow
   * @throws HoldfastException a subclass for each other reason
   */
  public void attach(String checkpointId, List<CheckpointRecord> records, WriteOptions options) {
    Blocking.join(async.attach(checkpointId, records, options));
  }

  /**
   * Returns the records of the checkpoint that was saved last or resumed from.
   *
   * @return the records in the order of their keys
   * @throws InvalidRequestException the handle has neither saved nor resumed
   * @throws HoldfastException a subclass for each other reason
   */
  public List<CheckpointRecord> records() {
    return records(checkpointId());
  }

  /**
   * Returns the records of a checkpoint id.
   *
   * @param checkpointId the checkpoint, which need not exist
   * @return the records in the order of their keys
   * @throws HoldfastException a subclass for each reason
   */
  public List<CheckpointRecord> records(String checkpointId) {
    return Blocking.join(async.records(checkpointId));
  }
}
