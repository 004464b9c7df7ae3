package dev.holdfast.client;

import dev.holdfast.v1.CheckpointServiceGrpc;
import dev.holdfast.v1.Part;
import dev.holdfast.v1.SaveHeader;
import dev.holdfast.v1.SaveRequest;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * Saves a checkpoint: in one message if its payload is small, otherwise as a stream that resumes
 * where it broke.
 */
final class Saves {
  private final Caller caller;

  Saves(Caller caller) {
    this.caller = caller;
  }

  CompletableFuture<Checkpoint> save(
      Operation operation, SaveHeader header, Payload data, Progress progress) {
    Outgoing payload = new Outgoing(data);
    return payload.fitsUnary()
        ? inOneMessage(operation, header, payload)
        : streamed(operation, header, payload, progress);
  }

  private CompletableFuture<Checkpoint> inOneMessage(
      Operation operation, SaveHeader header, Outgoing payload) {
    CompletableFuture<List<Part>> parts =
        payload.isInMemory()
            ? CompletableFuture.completedFuture(inline(payload))
            : CompletableFuture.supplyAsync(() -> inline(payload), caller.connection.executor);
    return parts.thenCompose(
        read ->
            caller.unary(
                operation,
                CheckpointServiceGrpc.getSaveMethod(),
                header.getRequestId(),
                attempt ->
                    SaveRequest.newBuilder()
                        .setHeader(header.toBuilder().setAttempt(attempt.message()))
                        .addAllParts(read)
                        .build(),
                answer -> saved(answer.getCheckpoint(), answer.getReplayed(), header, payload)));
  }

  private CompletableFuture<Checkpoint> streamed(
      Operation operation, SaveHeader header, Outgoing payload, Progress progress) {
    return caller.call(
        operation,
        "SaveStream",
        header.getRequestId(),
        attempt ->
            Upload.send(
                    caller.connection,
                    attempt,
                    header.toBuilder().setAttempt(attempt.message()).build(),
                    payload,
                    progress)
                .thenApply(
                    answer ->
                        saved(answer.getCheckpoint(), answer.getReplayed(), header, payload)));
  }

  private static Checkpoint saved(
      dev.holdfast.v1.Checkpoint found, boolean replayed, SaveHeader header, Outgoing payload) {
    Answers.requireSaved(found, header, payload.sizes());
    return Messages.checkpoint(found, replayed);
  }

  private static List<Part> inline(Outgoing payload) {
    try {
      return payload.inline();
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }
}
