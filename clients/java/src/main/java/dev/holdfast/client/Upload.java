package dev.holdfast.client;

import dev.holdfast.v1.CheckpointServiceGrpc;
import dev.holdfast.v1.SaveHeader;
import dev.holdfast.v1.SaveStreamRequest;
import dev.holdfast.v1.SaveStreamResponse;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;

/**
 * One attempt to stream a payload to a server. It runs in a thread of its own, because it may read
 * files, and is over once it reads nothing any more: the next attempt may read the same source. A
 * source that blocks does not hold it beyond the deadline of the call or the end of the client.
 */
final class Upload extends ClientCall.Listener<SaveStreamResponse> {
  private static final Metadata.Key<String> RESUME =
      Metadata.Key.of("holdfast-resume", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> RECEIVED =
      Metadata.Key.of("holdfast-received", Metadata.ASCII_STRING_MARSHALLER);

  // gRPC ends a call at its deadline, and says more about it.
  private static final Duration LATE = Duration.ofSeconds(1);

  private final Connection connection;
  private final Attempt attempt;
  private final ClientCall<SaveStreamRequest, SaveStreamResponse> call;
  private String received;
  private SaveStreamResponse answer;
  private Status status;
  private Metadata trailers;

  private Upload(Connection connection, Attempt attempt) {
    this.connection = connection;
    this.attempt = attempt;
    this.call = connection.call(CheckpointServiceGrpc.getSaveStreamMethod(), attempt);
  }

  /** Streams a payload. An attempt after the first one continues where the server says. */
  static CompletableFuture<SaveStreamResponse> send(
      Connection connection,
      Attempt attempt,
      SaveHeader header,
      Outgoing payload,
      Progress progress) {
    CompletableFuture<SaveStreamResponse> result = new CompletableFuture<>();
    Duration left = attempt.operation().left().minus(attempt.elapsed());
    connection.executor.execute(
        () -> {
          try {
            result.complete(new Upload(connection, attempt).run(header, payload, progress));
          } catch (IOException failure) {
            result.completeExceptionally(new UncheckedIOException(failure));
          } catch (Throwable failure) {
            // Also an Error of the caller's code: without it, the caller would wait for ever.
            result.completeExceptionally(failure);
          }
        });
    return connection.bounded(result, left.plus(LATE), "a source of the payload blocks");
  }

  private SaveStreamResponse run(SaveHeader header, Outgoing payload, Progress progress)
      throws IOException, InterruptedException {
    boolean resumes = attempt.number() > 1;
    if (resumes) {
      attempt.headers().put(RESUME, "1");
    }
    attempt.operation().onCancel(() -> call.cancel("the caller cancelled the call", null));
    call.start(this, attempt.headers());
    call.request(2);
    boolean isWhole = false;
    try {
      if (send(SaveStreamRequest.newBuilder().setHeader(header).build())) {
        payload.stream(resumes ? position() : "", progress, this::send);
      }
      isWhole = true;
    } finally {
      if (!isWhole) {
        call.cancel("the payload cannot be read", null);
      }
    }
    return answer();
  }

  private synchronized boolean send(SaveStreamRequest message) throws InterruptedException {
    while (status == null && !call.isReady()) {
      wait();
    }
    if (status != null) {
      return false;
    }
    call.sendMessage(message);
    if (message.hasFinish()) {
      call.halfClose();
    }
    return true;
  }

  private synchronized String position() throws InterruptedException {
    while (status == null && received == null) {
      wait();
    }
    return received == null ? "" : received;
  }

  private synchronized SaveStreamResponse answer() throws InterruptedException {
    while (status == null) {
      wait();
    }
    if (!status.isOk()) {
      throw connection.failed(status, trailers, attempt);
    }
    if (answer == null) {
      throw Reasons.wrong("no message");
    }
    return answer;
  }

  @Override
  public synchronized void onHeaders(Metadata headers) {
    String found = headers.get(RECEIVED);
    received = found == null ? "" : found;
    notifyAll();
  }

  @Override
  public synchronized void onMessage(SaveStreamResponse message) {
    answer = message;
  }

  @Override
  public synchronized void onReady() {
    notifyAll();
  }

  @Override
  public synchronized void onClose(Status closed, Metadata with) {
    status = closed;
    trailers = with;
    notifyAll();
  }
}
