package dev.holdfast.client;

import com.google.protobuf.Message;
import dev.holdfast.v1.CheckpointServiceGrpc;
import dev.holdfast.v1.Part;
import dev.holdfast.v1.SaveHeader;
import dev.holdfast.v1.SaveRequest;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

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
    return read(operation, payload)
        .thenCompose(
            read ->
                send(
                    operation,
                    "Save",
                    header,
                    attempt ->
                        caller.connection.send(
                            CheckpointServiceGrpc.getSaveMethod(),
                            SaveRequest.newBuilder()
                                .setHeader(header.toBuilder().setAttempt(attempt.message()))
                                .addAllParts(read)
                                .build(),
                            attempt),
                    answer ->
                        saved(answer.getCheckpoint(), answer.getReplayed(), header, payload)));
  }

  private CompletableFuture<Checkpoint> streamed(
      Operation operation, SaveHeader header, Outgoing payload, Progress progress) {
    return send(
        operation,
        "SaveStream",
        header,
        attempt ->
            Upload.send(
                caller.connection,
                attempt,
                header.toBuilder().setAttempt(attempt.message()).build(),
                payload,
                progress),
        answer -> saved(answer.getCheckpoint(), answer.getReplayed(), header, payload));
  }

  private <R extends Message> CompletableFuture<Checkpoint> send(
      Operation operation,
      String method,
      SaveHeader header,
      Function<Attempt, CompletableFuture<R>> send,
      Function<R, Checkpoint> accept) {
    SeenHeads.Watch watch = caller.heads.watch(header);
    return caller.call(
        operation,
        method,
        header.getRequestId(),
        watch,
        attempt ->
            send.apply(attempt)
                .thenApply(
                    answer -> {
                      Checkpoint saved = accept.apply(answer);
                      watch.require(answer);
                      return saved;
                    }));
  }

  private static Checkpoint saved(
      dev.holdfast.v1.Checkpoint found, boolean replayed, SaveHeader header, Outgoing payload) {
    Answers.requireSaved(found, header, payload.sizes());
    return Messages.checkpoint(found, replayed);
  }

  /** Reads a small payload, as part of the time of the call. */
  private CompletableFuture<List<Part>> read(Operation operation, Outgoing payload) {
    if (payload.isInMemory()) {
      return CompletableFuture.completedFuture(inline(payload));
    }
    long started = System.nanoTime();
    Connection connection = caller.connection;
    return connection
        .bounded(
            CompletableFuture.supplyAsync(() -> inline(payload), connection.executor),
            operation.left(),
            "a source of the payload blocks")
        .whenComplete((parts, failure) -> operation.spend(System.nanoTime() - started));
  }

  private static List<Part> inline(Outgoing payload) {
    try {
      return payload.inline();
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }
}
