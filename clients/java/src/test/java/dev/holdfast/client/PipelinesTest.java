package dev.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.holdfast.v1.CheckpointServiceGrpc.CheckpointServiceImplBase;
import dev.holdfast.v1.GetCapabilitiesRequest;
import dev.holdfast.v1.GetCapabilitiesResponse;
import dev.holdfast.v1.PipelineAnswer;
import dev.holdfast.v1.PipelineCall;
import dev.holdfast.v1.PipelineGoingAway;
import dev.holdfast.v1.PipelineLimits;
import dev.holdfast.v1.PipelineRequest;
import dev.holdfast.v1.PipelineResponse;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Concurrent unary calls, against a server whose pipelines a test answers by hand. */
@Timeout(value = 3, unit = TimeUnit.MINUTES)
class PipelinesTest {
  private static final PipelineResponse LIMITS =
      PipelineResponse.newBuilder()
          .setLimits(PipelineLimits.newBuilder().setCalls(4).setBytes(1 << 20))
          .build();

  private final BlockingQueue<Stream> streams = new LinkedBlockingQueue<>();
  private final AtomicInteger unary = new AtomicInteger();
  private volatile Status refusal;
  private volatile boolean isSilent;
  private Server server;
  private HoldfastClient client;

  /** A pipeline, as its server sees it. */
  private static final class Stream implements StreamObserver<PipelineRequest> {
    private final BlockingQueue<PipelineRequest> requests = new LinkedBlockingQueue<>();
    private final CompletableFuture<Void> ended = new CompletableFuture<>();
    private final StreamObserver<PipelineResponse> answers;

    Stream(StreamObserver<PipelineResponse> answers) {
      this.answers = answers;
    }

    PipelineRequest next() throws InterruptedException {
      return requests.take();
    }

    void answer(PipelineCall... calls) {
      PipelineResponse.Builder response = PipelineResponse.newBuilder();
      for (PipelineCall call : calls) {
        response.addAnswers(
            PipelineAnswer.newBuilder()
                .setCallId(call.getCallId())
                .setGetCapabilities(GetCapabilitiesResponse.getDefaultInstance()));
      }
      answers.onNext(response.build());
    }

    @Override
    public void onNext(PipelineRequest request) {
      requests.add(request);
    }

    @Override
    public void onError(Throwable failure) {
      ended.complete(null);
    }

    @Override
    public void onCompleted() {
      ended.complete(null);
    }
  }

  private final class Script extends CheckpointServiceImplBase {
    @Override
    public StreamObserver<PipelineRequest> pipeline(StreamObserver<PipelineResponse> answers) {
      Stream stream = new Stream(answers);
      if (refusal != null) {
        answers.onError(refusal.asException());
      } else {
        if (!isSilent) {
          answers.onNext(LIMITS);
        }
        streams.add(stream);
      }
      return stream;
    }

    @Override
    public void getCapabilities(
        GetCapabilitiesRequest request, StreamObserver<GetCapabilitiesResponse> answer) {
      unary.incrementAndGet();
      answer.onNext(GetCapabilitiesResponse.getDefaultInstance());
      answer.onCompleted();
    }
  }

  @BeforeEach
  void start() throws IOException {
    server =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .addService(new Script())
            .build()
            .start();
    client =
        HoldfastClient.builder("localhost:" + server.getPort())
            .timeout(Duration.ofMinutes(2))
            .build();
  }

  @AfterEach
  void stop() {
    client.close();
    server.shutdownNow();
  }

  private CompletableFuture<Capabilities> call() {
    return client.async().capabilities();
  }

  private List<CompletableFuture<Capabilities>> calls(int count) {
    return IntStream.range(0, count).mapToObj(number -> call()).toList();
  }

  private static List<PipelineCall> received(Stream stream, int count) throws InterruptedException {
    List<PipelineCall> calls = new ArrayList<>();
    while (calls.size() < count) {
      calls.addAll(stream.next().getCallsList());
    }
    return calls;
  }

  @Test
  void carriesCallsWithTheirTimeAndTrace() throws Exception {
    CompletableFuture<Capabilities> answered = call();
    Stream stream = streams.take();
    PipelineCall call = stream.next().getCalls(0);
    assertTrue(call.hasGetCapabilities());
    assertTrue(call.getTimeout().getSeconds() < 120);
    assertTrue(call.getTraceparent().matches("00-[0-9a-f]{32}-[0-9a-f]{16}-01"));
    stream.answer(call);
    answered.get();
    assertEquals(0, unary.get());
  }

  @Test
  void hasNoMoreInFlightThanTheServerAllows() throws Exception {
    CompletableFuture<Capabilities> first = call();
    Stream stream = streams.take();
    stream.answer(received(stream, 1).get(0));
    first.get();
    List<CompletableFuture<Capabilities>> others = calls(10);
    List<PipelineCall> sent = received(stream, 4);
    assertEquals(4, sent.size());
    for (int answered = 0; answered < 10; answered++) {
      assertTrue(sent.size() - answered <= 4);
      stream.answer(sent.get(answered));
      if (answered < 6) {
        sent.addAll(received(stream, 1));
      }
    }
    for (CompletableFuture<Capabilities> each : others) {
      each.get();
    }
    assertEquals(10, sent.stream().map(PipelineCall::getCallId).distinct().count());
  }

  @Test
  void retriesTheCallsOfAPipelineThatBreaks() throws Exception {
    CompletableFuture<Capabilities> answered = call();
    Stream broken = streams.take();
    broken.next();
    broken.answers.onError(Status.UNAVAILABLE.asException());
    Stream next = streams.take();
    next.answer(next.next().getCalls(0));
    answered.get();
    assertEquals(0, unary.get());
  }

  @Test
  void opensTheNextPipelineBeforeTheLastEnds() throws Exception {
    CompletableFuture<Capabilities> first = call();
    Stream leaving = streams.take();
    PipelineCall open = leaving.next().getCalls(0);
    leaving.answers.onNext(
        PipelineResponse.newBuilder().setGoingAway(PipelineGoingAway.getDefaultInstance()).build());
    leaving.ended.get();
    CompletableFuture<Capabilities> second = call();
    Stream next = streams.take();
    next.answer(next.next().getCalls(0));
    second.get();
    assertFalse(first.isDone());
    leaving.answer(open);
    first.get();
  }

  @Test
  void makesUnaryCallsIfThePipelineIsRefused() throws Exception {
    for (Status.Code code : List.of(Status.Code.UNIMPLEMENTED, Status.Code.PERMISSION_DENIED)) {
      refusal = code.toStatus();
      for (CompletableFuture<Capabilities> each : calls(3)) {
        each.get();
      }
      // It remembers that, and does not ask again with each call.
      refusal = null;
      call().get();
      assertTrue(streams.isEmpty());
      assertEquals(4, unary.getAndSet(0));
      client.close();
      client = HoldfastClient.builder("localhost:" + server.getPort()).build();
    }
  }

  @Test
  void makesUnaryCallsIfNothingAnswersThePipeline() throws Exception {
    // As behind a proxy that waits for the end of a stream.
    isSilent = true;
    CompletableFuture<Capabilities> first = call();
    Stream silent = streams.take();
    silent.ended.get();
    call().get();
    assertEquals(1, unary.get());
    silent.answer(silent.next().getCalls(0));
    first.get();
  }

  @Test
  void closesAPipelineThatIsIdle() throws Exception {
    CompletableFuture<Capabilities> only = call();
    Stream stream = streams.take();
    stream.answer(stream.next().getCalls(0));
    only.get();
    stream.ended.get();
    assertEquals(0, unary.get());
  }

  @Test
  void cancelsACallOnTheServerAndNoOther() throws Exception {
    CompletableFuture<Capabilities> first = call();
    Stream stream = streams.take();
    PipelineCall sent = stream.next().getCalls(0);
    CompletableFuture<Capabilities> second = call();
    first.cancel(true);
    List<Long> cancelled = new ArrayList<>();
    List<PipelineCall> others = new ArrayList<>();
    while (cancelled.isEmpty() || others.isEmpty()) {
      PipelineRequest request = stream.next();
      cancelled.addAll(request.getCancelledCallIdsList());
      others.addAll(request.getCallsList());
    }
    assertEquals(List.of(sent.getCallId()), cancelled);
    stream.answer(sent, others.get(0));
    second.get();
  }

  @Test
  void endsTheCallOfAFutureThatNobodyWaitsFor() throws Exception {
    CompletableFuture<Capabilities> first = call();
    Stream stream = streams.take();
    List<Long> ids = new ArrayList<>(List.of(stream.next().getCalls(0).getCallId()));
    CompletableFuture<Capabilities> second = call();
    stream.answers.onNext(LIMITS);
    ids.add(received(stream, 1).get(0).getCallId());
    first.orTimeout(1, TimeUnit.MILLISECONDS);
    second.complete(null);
    List<Long> cancelled = new ArrayList<>();
    while (cancelled.size() < 2) {
      cancelled.addAll(stream.next().getCancelledCallIdsList());
    }
    assertEquals(ids, cancelled.stream().sorted().toList());
  }

  @Test
  void takesNothingFromTheRetryBudgetForCallsThatWereCancelled() throws Exception {
    try (HoldfastClient strict =
        HoldfastClient.builder("localhost:" + server.getPort())
            .timeout(Duration.ofMinutes(2))
            .retry(RetryPolicy.defaults().withBudget(1, 0))
            .build()) {
      List<CompletableFuture<Capabilities>> calls =
          IntStream.range(0, 2).mapToObj(number -> strict.async().capabilities()).toList();
      Stream stream = streams.take();
      stream.next();
      calls.forEach(each -> each.cancel(true));
      while (stream.next().getCancelledCallIdsCount() == 0) {}
      CompletableFuture<Capabilities> retried = strict.async().capabilities();
      received(stream, 1);
      stream.answers.onError(Status.UNAVAILABLE.asException());
      Stream next = streams.take();
      next.answer(next.next().getCalls(0));
      retried.get();
    }
  }

  @Test
  void endsACallAtItsOwnDeadline() throws Exception {
    try (HoldfastClient impatient =
        HoldfastClient.builder("localhost:" + server.getPort())
            .timeout(Duration.ofMillis(300))
            .build()) {
      assertThrows(DeadlineExceededException.class, impatient::capabilities);
    }
    assertEquals(0, unary.get());
  }

  @Test
  void refusesTheAnswerOfAnotherCall() throws Exception {
    CompletableFuture<Capabilities> answered = call();
    Stream stream = streams.take();
    long id = stream.next().getCalls(0).getCallId();
    stream.answers.onNext(
        PipelineResponse.newBuilder()
            .addAnswers(PipelineAnswer.newBuilder().setCallId(id))
            .build());
    ExecutionException failed = assertThrows(ExecutionException.class, answered::get);
    assertInstanceOf(InternalException.class, failed.getCause());
  }

  @Test
  void outlivesTheContextOfTheCallThatOpenedIt() throws Exception {
    Context.CancellableContext context = Context.current().withCancellation();
    CompletableFuture<Capabilities> first = context.call(this::call);
    Stream stream = streams.take();
    PipelineCall sent = stream.next().getCalls(0);
    CompletableFuture<Capabilities> second = call();
    PipelineCall other = received(stream, 1).get(0);
    context.cancel(null);
    assertEquals(List.of(sent.getCallId()), stream.next().getCancelledCallIdsList());
    stream.answer(sent, other);
    second.get();
    first.cancel(true);
  }
}
