package dev.holdfast.client;

import dev.holdfast.v1.Checkpoint;
import dev.holdfast.v1.CheckpointServiceGrpc;
import dev.holdfast.v1.Chunk;
import dev.holdfast.v1.Fallback;
import dev.holdfast.v1.LoadStreamHeader;
import dev.holdfast.v1.LoadStreamRequest;
import dev.holdfast.v1.LoadStreamResponse;
import dev.holdfast.v1.PartInfo;
import dev.holdfast.v1.PartRange;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * A payload that is received, over as many streams as it takes. It never holds more than its header
 * announces. Only {@code finish} proves that a stream was whole.
 */
final class Download {
  private final LoadStreamRequest request;
  private final SeenHeads.Watch watch;
  private final Checkpoint announced;
  private final Sinks sinks;
  private final Progress progress;
  private final long maxBytes;
  private Map<String, ReceivedPart> parts = new LinkedHashMap<>();
  private LoadStreamHeader header;

  /** Creates a download of a checkpoint that an answer has announced. */
  Download(
      LoadStreamRequest request,
      SeenHeads.Watch watch,
      Checkpoint announced,
      Sinks sinks,
      Progress progress,
      long maxBytes) {
    this.request = request;
    this.watch = watch;
    this.announced = announced;
    this.sinks = sinks;
    this.progress = progress;
    this.maxBytes = maxBytes;
  }

  /** Receives what is missing. Attempts follow each other, each on a stream of its own. */
  CompletableFuture<LoadStreamHeader> receive(Connection connection, Attempt attempt) {
    // The last stream may have broken after its last chunk.
    if (isWhole()) {
      return CompletableFuture.completedFuture(header);
    }
    ClientCall<LoadStreamRequest, LoadStreamResponse> call =
        connection.call(CheckpointServiceGrpc.getLoadStreamMethod(), attempt);
    attempt.operation().onCancel(() -> call.cancel("the caller cancelled the call", null));
    Stream stream = new Stream(connection, attempt, call);
    call.start(stream, attempt.headers());
    call.request(2);
    call.sendMessage(nextRequest());
    call.halfClose();
    return stream.result;
  }

  /** Checks the parts against their digests. */
  void requireDigests() {
    parts.values().forEach(part -> part.requireDigest(header.getCheckpoint().getCheckpointId()));
  }

  private boolean isWhole() {
    return header != null && parts.values().stream().noneMatch(ReceivedPart::isMissing);
  }

  private LoadStreamRequest nextRequest() {
    if (header == null) {
      return request;
    }
    LoadStreamRequest.Builder next =
        request.toBuilder()
            .setCheckpointId(header.getCheckpoint().getCheckpointId())
            .setFallback(Fallback.FALLBACK_NONE)
            .clearRanges();
    parts.forEach(
        (name, part) -> {
          if (part.isMissing()) {
            next.addRanges(PartRange.newBuilder().setPart(name).setOffset(part.received()));
          }
        });
    return next.build();
  }

  private void begin(LoadStreamHeader found) throws IOException {
    Checkpoint checkpoint = found.getCheckpoint();
    Answers.requireLoaded(
        checkpoint,
        found.getFellBack(),
        header == null ? request.getFallback() : Fallback.FALLBACK_NONE,
        request.getNamespace(),
        request.getWorkflowId(),
        header == null ? request.getCheckpointId() : header.getCheckpoint().getCheckpointId());
    Answers.requireSizes(checkpoint, maxBytes);
    watch.require(found);
    boolean isAnnounced = announced.getRevision() == checkpoint.getRevision();
    if (isAnnounced && !announced.equals(checkpoint)) {
      throw ReceivedPart.damaged("its checkpoint is not the one that was announced");
    }
    if (header == null) {
      Map<String, PartInfo> infos = new LinkedHashMap<>();
      checkpoint.getPartsList().forEach(part -> infos.put(part.getName(), part));
      sinks
          .of(checkpoint)
          .forEach((name, sink) -> parts.put(name, new ReceivedPart(infos.get(name), sink)));
      header = found;
      return;
    }
    Checkpoint before = header.getCheckpoint();
    if (checkpoint.getRevision() != before.getRevision()) {
      for (ReceivedPart part : parts.values()) {
        part.restart();
      }
      header = null;
      parts = new LinkedHashMap<>();
      throw unavailable("the checkpoint was replaced while it was loaded");
    }
    if (!checkpoint.getPartsList().equals(before.getPartsList())) {
      throw ReceivedPart.damaged("it resumes with another checkpoint");
    }
  }

  private void take(Chunk chunk) throws IOException {
    ReceivedPart part = parts.get(chunk.getPart());
    if (part == null) {
      throw ReceivedPart.damaged("it has a part that was not requested");
    }
    part.take(chunk);
    progress.update(
        parts.values().stream().mapToLong(ReceivedPart::received).sum(),
        parts.values().stream().mapToLong(ReceivedPart::sizeBytes).sum());
  }

  private static HoldfastException unavailable(String message) {
    return Reasons.exception(Reasons.unavailable(Status.Code.UNAVAILABLE, message), null);
  }

  /** One stream. gRPC calls it for one message after the other, in threads that may wait. */
  private final class Stream extends ClientCall.Listener<LoadStreamResponse> {
    private final CompletableFuture<LoadStreamHeader> result = new CompletableFuture<>();
    private final Connection connection;
    private final Attempt attempt;
    private final ClientCall<LoadStreamRequest, LoadStreamResponse> call;
    private Throwable failure;
    private boolean hasHeader;
    private boolean isFinished;
    private long receivedBytes;

    Stream(
        Connection connection,
        Attempt attempt,
        ClientCall<LoadStreamRequest, LoadStreamResponse> call) {
      this.connection = connection;
      this.attempt = attempt;
      this.call = call;
    }

    @Override
    public void onMessage(LoadStreamResponse message) {
      if (failure != null) {
        return;
      }
      try {
        accept(message);
        call.request(1);
      } catch (IOException problem) {
        fail(new UncheckedIOException(problem));
      } catch (OutOfMemoryError full) {
        fail(
            Answers.tooLarge(
                announced, "the heap of this process has no room for the payload: use loadTo"));
      } catch (RuntimeException | Error problem) {
        fail(problem);
      }
    }

    private void accept(LoadStreamResponse message) throws IOException {
      if (isFinished || hasHeader == message.hasHeader()) {
        throw ReceivedPart.damaged("its messages are out of order");
      }
      if (message.hasHeader()) {
        begin(message.getHeader());
        hasHeader = true;
      } else if (message.hasChunk()) {
        take(message.getChunk());
        receivedBytes += message.getChunk().getData().size();
      } else if (message.hasFinish()) {
        if (message.getFinish().getSizeBytes() != receivedBytes || !isWhole()) {
          throw ReceivedPart.damaged("something is missing");
        }
        isFinished = true;
      }
    }

    private void fail(Throwable problem) {
      failure = problem;
      call.cancel("the stream is not accepted", problem);
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      if (failure != null) {
        result.completeExceptionally(failure);
      } else if (!status.isOk()) {
        result.completeExceptionally(connection.failed(status, trailers, attempt));
      } else if (!isFinished) {
        result.completeExceptionally(unavailable("the stream ended before its payload did"));
      } else {
        result.complete(header);
      }
    }
  }
}
