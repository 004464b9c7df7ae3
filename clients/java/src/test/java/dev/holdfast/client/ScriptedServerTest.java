package dev.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import dev.holdfast.v1.AcquireWriterRequest;
import dev.holdfast.v1.AcquireWriterResponse;
import dev.holdfast.v1.CheckpointServiceGrpc.CheckpointServiceImplBase;
import dev.holdfast.v1.LoadRequest;
import dev.holdfast.v1.LoadResponse;
import dev.holdfast.v1.SaveRequest;
import dev.holdfast.v1.SaveResponse;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.sdk.testing.junit5.OpenTelemetryExtension;
import io.opentelemetry.sdk.trace.data.SpanData;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/** The client against a server that answers as no real one does. */
class ScriptedServerTest {
  private static final long EPOCH = (1L << 53) + 1;
  private static final Metadata.Key<String> TRACEPARENT = key("traceparent");
  private static final Metadata.Key<String> AUTHORIZATION = key("authorization");

  @RegisterExtension
  static final OpenTelemetryExtension OPEN_TELEMETRY = OpenTelemetryExtension.create();

  private final List<Metadata> headers = new CopyOnWriteArrayList<>();
  private final List<SaveRequest> saves = new CopyOnWriteArrayList<>();
  private final Script script = new Script();
  private Server server;

  private static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private final class Script extends CheckpointServiceImplBase {
    private volatile LoadResponse load = LoadResponse.getDefaultInstance();

    @Override
    public void acquireWriter(
        AcquireWriterRequest request, StreamObserver<AcquireWriterResponse> answer) {
      answer.onNext(AcquireWriterResponse.newBuilder().setEpoch(EPOCH).setRevision(EPOCH).build());
      answer.onCompleted();
    }

    @Override
    public void save(SaveRequest request, StreamObserver<SaveResponse> answer) {
      saves.add(request);
      answer.onError(Status.INTERNAL.asException());
    }

    @Override
    public void load(LoadRequest request, StreamObserver<LoadResponse> answer) {
      answer.onNext(load);
      answer.onCompleted();
    }
  }

  /** The details of a token that the server had accepted before. */
  private static Metadata expired() {
    ErrorInfo info =
        ErrorInfo.newBuilder()
            .setDomain("holdfast.dev")
            .setReason("UNAUTHENTICATED")
            .putMetadata("accepted", "true")
            .build();
    Metadata trailers = new Metadata();
    trailers.put(
        Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER),
        com.google.rpc.Status.newBuilder().addDetails(Any.pack(info)).build().toByteArray());
    return trailers;
  }

  private final class Headers implements ServerInterceptor {
    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, R> call, Metadata given, ServerCallHandler<Q, R> next) {
      // This server has no pipelines: the call follows by itself.
      if (!call.getMethodDescriptor().getBareMethodName().equals("Pipeline")) {
        headers.add(given);
      }
      if ("Bearer old".equals(given.get(AUTHORIZATION))) {
        call.close(Status.UNAUTHENTICATED, new Metadata());
        return new ServerCall.Listener<>() {};
      }
      if ("Bearer expired".equals(given.get(AUTHORIZATION))) {
        call.close(Status.UNAUTHENTICATED, expired());
        return new ServerCall.Listener<>() {};
      }
      return next.startCall(call, given);
    }
  }

  @BeforeEach
  void start() throws IOException {
    server =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .addService(script)
            .intercept(new Headers())
            .build()
            .start();
  }

  @AfterEach
  void stop() {
    server.shutdownNow();
  }

  private HoldfastClient.Builder builder() {
    return HoldfastClient.builder("localhost:" + server.getPort());
  }

  @Test
  void carriesEpochsAbove53Bits() {
    try (HoldfastClient client = builder().build()) {
      Workflow workflow = client.workflow("java", "wf");
      assertEquals(EPOCH, workflow.acquireWriter().epoch());
      assertThrows(
          InternalException.class,
          () -> workflow.save(Payload.of(new byte[1]), new Format("test", 1)));
    }
    assertEquals(EPOCH, saves.get(0).getHeader().getEpoch());
    assertEquals(EPOCH, saves.get(0).getHeader().getExpectedRevision());
  }

  @Test
  void sendsATraceparentWithoutATracer() {
    try (HoldfastClient client = builder().build()) {
      HoldfastException error =
          assertThrows(InternalException.class, () -> client.load("java", "wf"));
      assertEquals(headers.get(0).get(TRACEPARENT).split("-")[1], error.traceId());
    }
  }

  @Test
  void opensSpansBelowTheCallersOwn() {
    try (HoldfastClient client =
        builder().openTelemetry(OPEN_TELEMETRY.getOpenTelemetry()).build()) {
      client.workflow("java", "wf").acquireWriter();
    }
    List<SpanData> spans = OPEN_TELEMETRY.getSpans();
    assertEquals(2, spans.size());
    SpanData attempt = spans.get(0);
    SpanData call = spans.get(1);
    assertEquals("holdfast.v1.CheckpointService/AcquireWriter", call.getName());
    assertEquals(SpanKind.CLIENT, call.getKind());
    assertEquals(call.getSpanId(), attempt.getParentSpanId());
    assertEquals(attempt.getSpanId(), headers.get(0).get(TRACEPARENT).split("-")[2]);
  }

  @Test
  void getsAnotherTokenOnceOneIsRefused() {
    AtomicInteger calls = new AtomicInteger();
    try (HoldfastClient client =
        builder().token(() -> calls.incrementAndGet() == 1 ? "old" : "new").build()) {
      Workflow workflow = client.workflow("java", "wf");
      workflow.acquireWriter();
      workflow.acquireWriter();
    }
    assertEquals(2, calls.get());
    try (HoldfastClient client = builder().token(() -> "old").build()) {
      assertThrows(UnauthenticatedException.class, () -> client.load("java", "wf"));
    }
  }

  @Test
  void takesARetryForEachFurtherTokenThatIsRefusedAtOnce() {
    AtomicInteger calls = new AtomicInteger();
    HoldfastClient.Builder source =
        builder()
            .retry(RetryPolicy.defaults().withBudget(2, 0))
            .token(
                () -> {
                  calls.incrementAndGet();
                  return "expired";
                });
    try (HoldfastClient client = source.build()) {
      UnauthenticatedException error =
          assertThrows(UnauthenticatedException.class, () -> client.load("java", "wf"));
      assertEquals("off", error.metadata().get("retries"));
    }
    // The first one, one at once, and two by the budget.
    assertEquals(4, calls.get());
  }

  @Test
  void believesNoAnswerAboutAnotherCheckpoint() {
    script.load =
        LoadResponse.newBuilder()
            .setCheckpoint(
                dev.holdfast.v1.Checkpoint.newBuilder()
                    .setNamespace("java")
                    .setWorkflowId("other")
                    .setCheckpointId("id")
                    .setRevision(1))
            .build();
    try (HoldfastClient client = builder().build()) {
      InternalException error =
          assertThrows(InternalException.class, () -> client.load("java", "wf"));
      assertTrue(error.getMessage().contains("other"));
      assertEquals(32, error.traceId().length());
    }
  }

  @Test
  @Timeout(value = 3, unit = TimeUnit.MINUTES)
  void leavesNoThreadBehind() throws InterruptedException {
    HoldfastClient client = builder().build();
    assertThrows(InternalException.class, () -> client.load("java", "wf"));
    client.close();
    // Threads of a pool that was shut down end by themselves.
    while (Thread.getAllStackTraces().keySet().stream().anyMatch(ScriptedServerTest::isOurs)) {
      Thread.sleep(10);
    }
  }

  private static boolean isOurs(Thread thread) {
    return thread.getName().startsWith("holdfast-client-");
  }
}
