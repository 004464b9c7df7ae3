package dev.holdfast.client;

import dev.holdfast.v1.AttachRecordsRequest;
import dev.holdfast.v1.CheckpointServiceGrpc;
import dev.holdfast.v1.ListRecordsRequest;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Attaches and reads records. It remembers the newest stamp that the client has seen, so that the
 * records that it attaches are ordered after everything that it has read.
 */
final class Records {
  // The most that a server accepts in one call.
  private static final int BATCH_BYTES = 3 << 20;
  private static final int BATCH_RECORDS = 1000;

  private final Caller caller;
  private final AtomicLong stamp = new AtomicLong();

  Records(Caller caller) {
    this.caller = caller;
  }

  void observe(long seen) {
    stamp.accumulateAndGet(seen, Math::max);
  }

  /** Attaches records, in as many calls as they need, in their order, each with its own time. */
  CompletableFuture<Void> attach(
      Operation operation, AttachRecordsRequest request, List<CheckpointRecord> given) {
    CompletableFuture<Void> done = CompletableFuture.completedFuture(null);
    int index = 0;
    for (List<CheckpointRecord> batch : batches(given)) {
      String first = request.getRequestId();
      String requestId = index == 0 ? first : first + "-" + index;
      done = done.thenCompose(nothing -> attachBatch(operation, request, requestId, batch));
      index++;
    }
    return done;
  }

  private CompletableFuture<Void> attachBatch(
      Operation operation,
      AttachRecordsRequest request,
      String requestId,
      List<CheckpointRecord> batch) {
    operation.renew();
    AttachRecordsRequest.Builder named =
        request.toBuilder().setRequestId(requestId).setObservedStamp(stamp.get());
    for (CheckpointRecord each : batch) {
      named
          .addRecordsBuilder()
          .setKey(each.key())
          .setData(com.google.protobuf.ByteString.copyFrom(each.data()))
          .setReplace(each.replaces());
    }
    return caller.unary(
        operation,
        CheckpointServiceGrpc.getAttachRecordsMethod(),
        named.build(),
        answer -> {
          observe(answer.getStamp());
          return null;
        });
  }

  /** Returns the records of a checkpoint id, in the order of their keys. */
  CompletableFuture<List<CheckpointRecord>> read(
      Operation operation, String namespace, String workflowId, String checkpointId) {
    ListRecordsRequest request =
        ListRecordsRequest.newBuilder()
            .setNamespace(namespace)
            .setWorkflowId(workflowId)
            .setCheckpointId(checkpointId)
            .build();
    Answers.Collected found = new Answers.Collected(checkpointId);
    return page(operation, request, found, Answers.PageTokens.NONE);
  }

  /** Returns the records of an answer that includes them. */
  List<CheckpointRecord> included(
      String checkpointId, List<dev.holdfast.v1.Record> received, long seen) {
    observe(seen);
    Answers.Collected found = new Answers.Collected(checkpointId);
    found.add(received);
    return found.records();
  }

  private record Next(String token, Answers.PageTokens tokens) {}

  private CompletableFuture<List<CheckpointRecord>> page(
      Operation operation,
      ListRecordsRequest request,
      Answers.Collected found,
      Answers.PageTokens tokens) {
    return caller
        .unary(
            operation,
            CheckpointServiceGrpc.getListRecordsMethod(),
            request,
            answer -> {
              observe(answer.getStamp());
              found.add(answer.getRecordsList());
              String token = answer.getNextPageToken();
              return new Next(token, token.isEmpty() ? tokens : tokens.with(token));
            })
        .thenCompose(
            next ->
                next.token().isEmpty()
                    ? CompletableFuture.completedFuture(found.records())
                    : page(
                        operation,
                        request.toBuilder().setPageToken(next.token()).build(),
                        found,
                        next.tokens()));
  }

  private static List<List<CheckpointRecord>> batches(List<CheckpointRecord> records) {
    List<List<CheckpointRecord>> batches = new ArrayList<>();
    List<CheckpointRecord> batch = new ArrayList<>();
    long size = 0;
    for (CheckpointRecord each : records) {
      boolean isFull = size + each.sizeBytes() > BATCH_BYTES || batch.size() == BATCH_RECORDS;
      if (isFull && !batch.isEmpty()) {
        batches.add(batch);
        batch = new ArrayList<>();
        size = 0;
      }
      batch.add(each);
      size += each.sizeBytes();
    }
    if (!batch.isEmpty()) {
      batches.add(batch);
    }
    return batches;
  }
}
