package dev.holdfast.client;

import dev.holdfast.v1.CheckpointServiceGrpc;
import dev.holdfast.v1.CheckpointView;
import dev.holdfast.v1.LoadRequest;
import dev.holdfast.v1.LoadResponse;
import dev.holdfast.v1.LoadStreamHeader;
import dev.holdfast.v1.LoadStreamRequest;
import dev.holdfast.v1.PartRange;
import dev.holdfast.v1.ValidateDepth;
import dev.holdfast.v1.ValidateRequest;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * Loads a checkpoint: in one message if its payload is small, otherwise as streams that resume
 * where they broke.
 */
final class Loads {
  private final Caller caller;
  private final Records records;

  Loads(Caller caller, Records records) {
    this.caller = caller;
    this.records = records;
  }

  /** Loads a checkpoint with its payload into memory. */
  CompletableFuture<LoadedCheckpoint> load(
      Operation operation, LoadRequest request, LoadOptions options) {
    long maxBytes = options.limit(Runtime.getRuntime().maxMemory());
    return first(operation, request, maxBytes)
        .thenCompose(
            first -> {
              LoadResponse answer = first.answer();
              if (answer.getPayloadIncluded()) {
                return recordsOf(operation, request, answer.getCheckpoint(), answer)
                    .thenApply(attached -> loaded(header(answer), first.parts(), attached));
              }
              Sinks.Memory memory = new Sinks.Memory();
              return stream(operation, request, answer, memory, maxBytes, options.progress())
                  .thenCompose(
                      header ->
                          recordsOf(operation, request, header.getCheckpoint(), answer)
                              .thenApply(attached -> loaded(header, memory.take(), attached)));
            });
  }

  /** Opens the draft of a file or a stream. */
  @FunctionalInterface
  interface Target {
    Draft open() throws IOException;
  }

  /** Loads one part into a file or a stream, which gets it once it is whole. */
  CompletableFuture<LoadedFile> loadTo(
      Operation operation, LoadRequest request, Target target, LoadOptions options) {
    return CompletableFuture.supplyAsync(() -> opened(target), caller.connection.executor)
        .thenCompose(
            draft ->
                into(operation, request, draft, options)
                    .whenCompleteAsync(
                        (found, failure) -> closed(draft), caller.connection.executor));
  }

  private CompletableFuture<LoadedFile> into(
      Operation operation, LoadRequest request, Draft draft, LoadOptions options) {
    long maxBytes = options.limit(Long.MAX_VALUE);
    PartInto into = new PartInto(draft, options.part());
    return first(operation, request, maxBytes)
        .thenCompose(
            first -> {
              LoadResponse answer = first.answer();
              if (!answer.getPayloadIncluded()) {
                return stream(operation, request, answer, into, maxBytes, options.progress());
              }
              into.of(answer.getCheckpoint());
              into.write(first.parts());
              return CompletableFuture.completedFuture(header(answer));
            })
        .thenApplyAsync(
            header -> {
              LoadedFile found = into.loaded(header);
              committed(draft);
              return found;
            },
            caller.connection.executor);
  }

  /**
   * Loads a checkpoint and migrates it to a format. If that fails for good, the exception names the
   * newest checkpoint that could be resumed from.
   */
  CompletableFuture<LoadedCheckpoint> resume(
      Operation operation,
      LoadRequest request,
      Format format,
      Migrations migrations,
      LoadOptions options) {
    return load(operation, request, options)
        .thenApplyAsync(
            loaded ->
                loaded.format().equals(format)
                    ? loaded
                    : loaded.migrated(
                        migrations.migrate(loaded.parts(), loaded.format(), format), format),
            caller.connection.executor)
        .handle(
            (loaded, failure) -> {
              Throwable bare = Operation.bare(failure);
              if (bare instanceof WorkflowCheckpointResumeException error
                  && !error.retryable()
                  && !(error instanceof KeyringRequiredException)
                  && !(error instanceof RolledBackException)
                  && !(error instanceof ClientClosedException)) {
                return lastGood(operation, request)
                    .thenCompose(
                        found -> {
                          error.lastGood(found);
                          return CompletableFuture.<LoadedCheckpoint>failedFuture(error);
                        });
              }
              return bare == null
                  ? CompletableFuture.completedFuture(loaded)
                  : CompletableFuture.<LoadedCheckpoint>failedFuture(bare);
            })
        .thenCompose(outcome -> outcome);
  }

  private CompletableFuture<Optional<Checkpoint>> lastGood(Operation operation, LoadRequest load) {
    ValidateRequest request =
        ValidateRequest.newBuilder()
            .setNamespace(load.getNamespace())
            .setWorkflowId(load.getWorkflowId())
            .setDepth(ValidateDepth.VALIDATE_DEPTH_CHECKSUM)
            .addAllAcceptedFormats(load.getAcceptedFormatsList())
            .build();
    return validate(operation, request)
        .thenApply(Validation::lastGood)
        .exceptionally(failure -> Optional.empty());
  }

  /** Checks whether a workflow can be resumed. */
  CompletableFuture<Validation> validate(Operation operation, ValidateRequest request) {
    return caller.unary(
        operation,
        CheckpointServiceGrpc.getValidateMethod(),
        request,
        answer -> {
          String namespace = request.getNamespace();
          String workflowId = request.getWorkflowId();
          if (answer.hasCheckpoint()) {
            Answers.requireNamed(
                answer.getCheckpoint(), namespace, workflowId, request.getCheckpointId());
          }
          if (answer.hasLastGood()) {
            Answers.requireNamed(answer.getLastGood(), namespace, workflowId, "");
          }
          return Messages.validation(answer);
        });
  }

  /** An answer and the parts that it includes. */
  private record First(LoadResponse answer, Map<String, byte[]> parts) {}

  /** Returns the checkpoint, with its payload if that is small. */
  private CompletableFuture<First> first(Operation operation, LoadRequest request, long maxBytes) {
    return caller.unary(
        operation,
        CheckpointServiceGrpc.getLoadMethod(),
        request,
        answer -> {
          Answers.requireLoaded(
              answer.getCheckpoint(),
              answer.getFellBack(),
              request.getFallback(),
              request.getNamespace(),
              request.getWorkflowId(),
              request.getCheckpointId());
          Answers.requireSizes(answer.getCheckpoint(), maxBytes);
          Answers.requireReadable(answer.getCheckpoint());
          return new First(
              answer,
              answer.getPayloadIncluded()
                  ? Answers.parts(answer.getCheckpoint(), answer.getPartsList())
                  : Map.of());
        });
  }

  /** Streams the payload of the checkpoint that was found, and checks its digests. */
  private CompletableFuture<LoadStreamHeader> stream(
      Operation operation,
      LoadRequest request,
      LoadResponse answer,
      Sinks sinks,
      long maxBytes,
      Progress progress) {
    // The checkpoint whose records are here. Fallback may still replace it if it is damaged.
    String checkpointId =
        request.getView() == CheckpointView.CHECKPOINT_VIEW_FULL
            ? answer.getCheckpoint().getCheckpointId()
            : request.getCheckpointId();
    LoadStreamRequest.Builder first =
        LoadStreamRequest.newBuilder()
            .setNamespace(request.getNamespace())
            .setWorkflowId(request.getWorkflowId())
            .setCheckpointId(checkpointId)
            .addAllAcceptedFormats(request.getAcceptedFormatsList())
            .setFallback(request.getFallback());
    Map<String, Sink> wanted = sinks.of(answer.getCheckpoint());
    if (wanted.size() < answer.getCheckpoint().getPartsCount()) {
      wanted.keySet().forEach(name -> first.addRanges(PartRange.newBuilder().setPart(name)));
    }
    SeenHeads.Watch watch = caller.heads.watch(request);
    Download download =
        new Download(first.build(), watch, answer.getCheckpoint(), sinks, progress, maxBytes);
    return caller.call(
        operation,
        "LoadStream",
        "",
        watch,
        attempt ->
            download
                .receive(caller.connection, attempt)
                .thenApply(
                    header -> {
                      download.requireDigests();
                      Answers.requireReadable(header.getCheckpoint());
                      return first.getCheckpointId().equals(request.getCheckpointId())
                          ? header
                          : merged(answer, header);
                    }));
  }

  /** Returns the header of a stream that has named the checkpoint to which the load fell back. */
  private static LoadStreamHeader merged(LoadResponse answer, LoadStreamHeader header) {
    return header.toBuilder()
        .setFellBack(answer.getFellBack() || header.getFellBack())
        .clearSkipped()
        .addAllSkipped(answer.getSkippedList())
        .addAllSkipped(header.getSkippedList())
        .build();
  }

  private CompletableFuture<List<CheckpointRecord>> recordsOf(
      Operation operation,
      LoadRequest request,
      dev.holdfast.v1.Checkpoint checkpoint,
      LoadResponse answer) {
    if (request.getView() != CheckpointView.CHECKPOINT_VIEW_FULL) {
      return CompletableFuture.completedFuture(List.of());
    }
    boolean isSame = checkpoint.getRevision() == answer.getCheckpoint().getRevision();
    return answer.getRecordsIncluded() && isSame
        ? CompletableFuture.completedFuture(
            records.included(
                checkpoint.getCheckpointId(), answer.getRecordsList(), answer.getStamp()))
        : records.read(
            operation,
            checkpoint.getNamespace(),
            checkpoint.getWorkflowId(),
            checkpoint.getCheckpointId());
  }

  private static LoadStreamHeader header(LoadResponse answer) {
    return LoadStreamHeader.newBuilder()
        .setCheckpoint(answer.getCheckpoint())
        .setFellBack(answer.getFellBack())
        .addAllSkipped(answer.getSkippedList())
        .setHeadRevision(answer.getHeadRevision())
        .build();
  }

  private static LoadedCheckpoint loaded(
      LoadStreamHeader header, Map<String, byte[]> parts, List<CheckpointRecord> attached) {
    Checkpoint info = Messages.checkpoint(header.getCheckpoint(), false);
    return new LoadedCheckpoint(
        info,
        parts,
        info.format(),
        header.getFellBack(),
        Messages.skipped(header.getSkippedList()),
        Optional.empty(),
        header.getHeadRevision(),
        attached);
  }

  private static Draft opened(Target target) {
    try {
      return target.open();
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  private static void committed(Draft draft) {
    try {
      draft.commit();
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  private static void closed(Draft draft) {
    try {
      draft.close();
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }
}
