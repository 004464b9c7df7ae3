package dev.holdfast.client;

import dev.holdfast.v1.AttachRecordsRequest;
import dev.holdfast.v1.CheckpointServiceGrpc;
import dev.holdfast.v1.DeleteRequest;
import dev.holdfast.v1.DeleteWorkflowRequest;
import dev.holdfast.v1.GetCapabilitiesRequest;
import dev.holdfast.v1.ListNamespacesRequest;
import dev.holdfast.v1.ListWorkflowsRequest;
import dev.holdfast.v1.LoadRequest;
import dev.holdfast.v1.Producer;
import dev.holdfast.v1.PruneRequest;
import dev.holdfast.v1.ValidateRequest;
import java.io.OutputStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * The calls of a client with futures. Each method does what the method of {@link HoldfastClient}
 * with the same name does, without waiting for it.
 *
 * <p>A future fails with a {@link HoldfastException}. To cancel it ends the call, which may or may
 * not have taken effect. Code that depends on a future runs in a thread of the client and may block
 * it.
 */
public final class AsyncHoldfastClient {
  private final Connection connection;
  private final Caller caller;
  private final Duration timeout;
  private final Producer producer;
  private final Saves saves;
  private final Loads loads;
  private final Lists lists;
  private final Records records;

  AsyncHoldfastClient(Caller caller, Duration timeout, Producer producer) {
    this.connection = caller.connection;
    this.caller = caller;
    this.timeout = timeout;
    this.producer = producer;
    this.saves = new Saves(caller);
    this.records = new Records(caller);
    this.loads = new Loads(caller, records);
    this.lists = new Lists(caller);
  }

  void close() {
    connection.close();
  }

  /**
   * Returns a handle of one workflow.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @return the handle
   */
  public AsyncWorkflow workflow(String namespace, String workflowId) {
    return new AsyncWorkflow(this, namespace, workflowId);
  }

  /**
   * Returns the newest head of a workflow's log that this client has seen. It remembers those of
   * the 10,000 workflows that it has used last. Keep its text outside of the store, and give it to
   * a later client by {@link LoadOptions#notBefore} or {@link ValidateOptions#notBefore}.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @return the head; empty if none is remembered
   */
  public Optional<Head> head(String namespace, String workflowId) {
    return caller.heads.get(
        Arguments.text("namespace", namespace), Arguments.text("workflow_id", workflowId));
  }

  /**
   * Forgets the head of a workflow's log, to accept an older one after an operator has restored the
   * store on purpose.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   */
  public void forgetHead(String namespace, String workflowId) {
    caller.heads.forget(
        Arguments.text("namespace", namespace), Arguments.text("workflow_id", workflowId));
  }

  private void keep(String namespace, String workflowId, Optional<Head> notBefore) {
    notBefore.ifPresent(head -> caller.heads.keep(namespace, workflowId, head));
  }

  /**
   * Saves a checkpoint, of any size.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param data the payload
   * @param format the format of the payload
   * @param options how
   * @return the checkpoint
   */
  public CompletableFuture<Checkpoint> save(
      String namespace, String workflowId, Payload data, Format format, SaveOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation ->
            saves.save(
                operation,
                options.header(namespace, workflowId, format).toBuilder()
                    .setProducer(producer)
                    .build(),
                Arguments.present("data", data),
                options.progress()));
  }

  /**
   * Loads a checkpoint with its payload, of any size.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param options which checkpoint, and how
   * @return the checkpoint
   */
  public CompletableFuture<LoadedCheckpoint> load(
      String namespace, String workflowId, LoadOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> {
          LoadRequest request = options.request(namespace, workflowId);
          keep(namespace, workflowId, options.notBefore());
          return loads.load(operation, request, options);
        });
  }

  /**
   * Loads a part of a checkpoint into a file.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param file the file, whose folder must exist
   * @param options which checkpoint and part, and how
   * @return the checkpoint
   */
  public CompletableFuture<LoadedFile> loadTo(
      String namespace, String workflowId, Path file, LoadOptions options) {
    return loadTo(namespace, workflowId, () -> Draft.of(Arguments.present("file", file)), options);
  }

  /**
   * Loads a part of a checkpoint into a stream.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param stream the stream, which stays open
   * @param options which checkpoint and part, and how
   * @return the checkpoint
   */
  public CompletableFuture<LoadedFile> loadTo(
      String namespace, String workflowId, OutputStream stream, LoadOptions options) {
    return loadTo(
        namespace, workflowId, () -> Draft.of(Arguments.present("stream", stream)), options);
  }

  private CompletableFuture<LoadedFile> loadTo(
      String namespace, String workflowId, Loads.Target target, LoadOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> {
          LoadRequest request = options.request(namespace, workflowId);
          keep(namespace, workflowId, options.notBefore());
          return loads.loadTo(operation, request, target, options);
        });
  }

  /**
   * Loads the newest checkpoint, whole and in the format of the caller.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param format the format that the caller works with
   * @param migrations bring older versions to it
   * @param options how; which checkpoint and which formats follows from the other arguments
   * @return the checkpoint
   */
  public CompletableFuture<LoadedCheckpoint> resume(
      String namespace,
      String workflowId,
      Format format,
      Migrations migrations,
      LoadOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> {
          Arguments.present("format", format);
          Arguments.present("migrations", migrations);
          LoadRequest request =
              options
                  .checkpointId("")
                  .onlyAccept(List.of(migrations.accepted(format)))
                  .request(namespace, workflowId);
          keep(namespace, workflowId, options.notBefore());
          return loads.resume(operation, request, format, migrations, options);
        });
  }

  /**
   * Lists checkpoints, newest first.
   *
   * @param namespace the namespace
   * @param workflowId the workflow; "" for every workflow of the namespace, one after the other
   * @param options which checkpoints
   * @return the first page
   */
  public CompletableFuture<Page<Checkpoint>> list(
      String namespace, String workflowId, ListOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation ->
            lists.checkpoints(
                operation, options.request(namespace, workflowId), options.isStrict()));
  }

  /**
   * Lists the workflows of a namespace.
   *
   * @param namespace the namespace
   * @param prefix the text that their ids begin with; "" for all
   * @return the first page
   */
  public CompletableFuture<Page<WorkflowInfo>> listWorkflows(String namespace, String prefix) {
    return call(
        Optional::empty,
        operation ->
            lists.workflows(
                operation,
                ListWorkflowsRequest.newBuilder()
                    .setNamespace(Arguments.text("namespace", namespace))
                    .setWorkflowIdPrefix(Arguments.text("prefix", prefix))
                    .build()));
  }

  /**
   * Lists the entries of a workflow's log, newest first.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param options which entries
   * @return the first page
   */
  public CompletableFuture<Page<LogEntry>> log(
      String namespace, String workflowId, LogOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> lists.log(operation, options.request(namespace, workflowId)));
  }

  /**
   * Lists the namespaces that the caller may read, in no particular order.
   *
   * @param prefix the text that they begin with; "" for all
   * @return the first page
   */
  public CompletableFuture<Page<String>> namespaces(String prefix) {
    return call(
        Optional::empty,
        operation ->
            lists.namespaces(
                operation,
                ListNamespacesRequest.newBuilder()
                    .setNamespacePrefix(Arguments.text("prefix", prefix))
                    .build()));
  }

  /**
   * Measures what workflows take in the store.
   *
   * @param namespace the namespace
   * @param options what is measured of which workflows
   * @return the first page
   */
  public CompletableFuture<UsagePage> usage(String namespace, UsageOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> lists.usage(operation, options.request(namespace)));
  }

  /**
   * Checks whether a workflow can be resumed.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param options which checkpoint, and how
   * @return the findings
   */
  public CompletableFuture<Validation> validate(
      String namespace, String workflowId, ValidateOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> {
          ValidateRequest request = options.request(namespace, workflowId);
          keep(namespace, workflowId, options.notBefore());
          return loads.validate(operation, request);
        });
  }

  /**
   * Becomes the only writer of a workflow.
   *
   * @param namespace the namespace
   * @param workflowId the workflow, which need not exist yet
   * @param options how
   * @return the writer
   */
  public CompletableFuture<Writer> acquireWriter(
      String namespace, String workflowId, AcquireOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation ->
            caller.unary(
                operation,
                CheckpointServiceGrpc.getAcquireWriterMethod(),
                options.request(namespace, workflowId),
                answer -> {
                  if (answer.getEpoch() < 1 || answer.getRevision() < 1) {
                    throw Reasons.wrong("a writer without epoch or revision");
                  }
                  return new Writer(
                      answer.getEpoch(),
                      answer.getRevision(),
                      answer.hasLeaseExpireTime()
                          ? Optional.of(Messages.instant(answer.getLeaseExpireTime()))
                          : Optional.empty());
                }));
  }

  /**
   * Deletes a checkpoint.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param checkpointId the checkpoint
   * @param options how
   * @return the revision of the deletion
   */
  public CompletableFuture<Long> delete(
      String namespace, String workflowId, String checkpointId, WriteOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> {
          DeleteRequest.Builder request =
              DeleteRequest.newBuilder()
                  .setNamespace(Arguments.text("namespace", namespace))
                  .setWorkflowId(Arguments.text("workflow_id", workflowId))
                  .setCheckpointId(Arguments.text("checkpoint_id", checkpointId))
                  .setRequestId(options.key())
                  .setPurge(options.isPurge());
          options.epoch().ifPresent(request::setEpoch);
          return caller.unary(
              operation,
              CheckpointServiceGrpc.getDeleteMethod(),
              request.build(),
              answer -> answer.getRevision());
        });
  }

  /**
   * Deletes every checkpoint of a workflow.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param options how
   * @return the revision of the deletion
   */
  public CompletableFuture<Long> deleteWorkflow(
      String namespace, String workflowId, WriteOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> {
          DeleteWorkflowRequest.Builder request =
              DeleteWorkflowRequest.newBuilder()
                  .setNamespace(Arguments.text("namespace", namespace))
                  .setWorkflowId(Arguments.text("workflow_id", workflowId))
                  .setRequestId(options.key())
                  .setPurge(options.isPurge());
          options.epoch().ifPresent(request::setEpoch);
          return caller.unary(
              operation,
              CheckpointServiceGrpc.getDeleteWorkflowMethod(),
              request.build(),
              answer -> answer.getRevision());
        });
  }

  /**
   * Deletes the checkpoints of a workflow, except the newest ones and those that these need.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param keepLast how many of the newest checkpoints stay, at least 1
   * @param options how
   * @return how many were deleted
   */
  public CompletableFuture<Long> prune(
      String namespace, String workflowId, int keepLast, WriteOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> {
          PruneRequest.Builder request =
              PruneRequest.newBuilder()
                  .setNamespace(Arguments.text("namespace", namespace))
                  .setWorkflowId(Arguments.text("workflow_id", workflowId))
                  .setKeepLast(keepLast)
                  .setRequestId(options.key());
          options.epoch().ifPresent(request::setEpoch);
          return caller.unary(
              operation,
              CheckpointServiceGrpc.getPruneMethod(),
              request.build(),
              answer -> answer.getDeleted());
        });
  }

  /**
   * Attaches records to a checkpoint id.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param checkpointId the checkpoint, which need not exist yet
   * @param attached the records
   * @param options how; the time is for each call of up to 3 MiB and 1000 records
   * @return nothing
   */
  public CompletableFuture<Void> attach(
      String namespace,
      String workflowId,
      String checkpointId,
      List<CheckpointRecord> attached,
      WriteOptions options) {
    return call(
        () -> Arguments.present("options", options).timeout(),
        operation -> {
          AttachRecordsRequest.Builder request =
              AttachRecordsRequest.newBuilder()
                  .setNamespace(Arguments.text("namespace", namespace))
                  .setWorkflowId(Arguments.text("workflow_id", workflowId))
                  .setCheckpointId(Arguments.text("checkpoint_id", checkpointId))
                  .setRequestId(options.key());
          options.epoch().ifPresent(request::setEpoch);
          return records.attach(
              operation, request.build(), Arguments.elements("records", attached));
        });
  }

  /**
   * Returns the records of a checkpoint id, in the order of their keys.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param checkpointId the checkpoint, which need not exist
   * @return the records
   */
  public CompletableFuture<List<CheckpointRecord>> records(
      String namespace, String workflowId, String checkpointId) {
    return records(namespace, workflowId, checkpointId, timeout);
  }

  /**
   * Returns the records of a checkpoint id, in the order of their keys.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param checkpointId the checkpoint, which need not exist
   * @param time the time for everything, retries included
   * @return the records
   */
  public CompletableFuture<List<CheckpointRecord>> records(
      String namespace, String workflowId, String checkpointId, Duration time) {
    return call(
        () -> Optional.of(Arguments.duration("timeout", time)),
        operation ->
            records.read(
                operation,
                Arguments.text("namespace", namespace),
                Arguments.text("workflow_id", workflowId),
                Arguments.text("checkpoint_id", checkpointId)));
  }

  /**
   * Returns what the server can do.
   *
   * @return its version, features and limits
   */
  public CompletableFuture<Capabilities> capabilities() {
    return call(
        Optional::empty,
        operation ->
            caller.unary(
                operation,
                CheckpointServiceGrpc.getGetCapabilitiesMethod(),
                GetCapabilitiesRequest.getDefaultInstance(),
                answer ->
                    new Capabilities(
                        answer.getServerVersion(),
                        List.copyOf(answer.getApiVersionsList()),
                        List.copyOf(answer.getFeaturesList()),
                        answer.getLimits().getPayloadBytes(),
                        answer.getLimits().getParts(),
                        answer.getLimits().getLabels())));
  }

  /** Begins a call of the public API. Its future fails with whatever the beginning throws. */
  private <T> CompletableFuture<T> call(
      Supplier<Optional<Duration>> own, Function<Operation, CompletableFuture<T>> begin) {
    try {
      Operation operation = new Operation(own.get().orElse(timeout));
      return operation.published(begin.apply(operation));
    } catch (RuntimeException failure) {
      return CompletableFuture.failedFuture(failure);
    }
  }
}
