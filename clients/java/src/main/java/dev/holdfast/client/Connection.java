package dev.holdfast.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.NameResolverRegistry;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** The channel of one client, its threads, and how a message is sent on it. */
final class Connection implements AutoCloseable {
  private static final int MAX_MESSAGE_BYTES = 8 << 20;
  private static final int MAX_METADATA_BYTES = 64 << 10;
  // Without the pings that measure bandwidth, which exceed the limit of a server for pings.
  private static final int WINDOW_BYTES = 4 << 20;
  private static final Duration KEEPALIVE = Duration.ofSeconds(10);
  private static final Duration KEEPALIVE_TIMEOUT = Duration.ofSeconds(5);
  // A connection that was silent for so long is replaced: keepalive takes longer to give it up.
  private static final Duration SILENCE = Duration.ofSeconds(5);
  private static final int CONNECT_MILLIS = 2_000;
  private static final Duration CLOSING = Duration.ofSeconds(5);
  private static final Duration IDLE = Duration.ofSeconds(10);
  private static final AtomicLong NUMBER = new AtomicLong();

  final ExecutorService executor;
  private final ManagedChannel managed;
  private final Pipelines pipelines;
  private final Channel channel;
  private final Set<CompletableFuture<Void>> pauses = ConcurrentHashMap.newKeySet();
  private final Optional<AddressList.Provider> addresses;
  private volatile boolean isClosed;

  Connection(Targets target, Optional<Tls> tls, List<ClientInterceptor> interceptors) {
    long number = NUMBER.incrementAndGet();
    String scheme = "holdfast-addresses-" + number;
    addresses =
        target.addresses().isEmpty()
            ? Optional.empty()
            : Optional.of(new AddressList.Provider(scheme, target.addresses()));
    addresses.ifPresent(NameResolverRegistry.getDefaultRegistry()::register);
    AtomicLong threads = new AtomicLong();
    executor =
        new ThreadPoolExecutor(
            0,
            Integer.MAX_VALUE,
            IDLE.toSeconds(),
            TimeUnit.SECONDS,
            new SynchronousQueue<>(),
            task -> {
              String name = "holdfast-client-" + number + "-" + threads.incrementAndGet();
              Thread thread = new Thread(task, name);
              thread.setDaemon(true);
              return thread;
            },
            // Once the client is closed, the last calls end in the threads of gRPC.
            (task, pool) -> task.run());
    try {
      String name = addresses.isPresent() ? scheme + ":///" : target.name();
      managed = builder(name, tls).executor(executor).build();
    } catch (IllegalArgumentException | IOException failure) {
      forget();
      throw Arguments.invalid(
          tls.isPresent() ? "tls" : "target", "cannot be used: " + failure.getMessage());
    }
    pipelines = new Pipelines(managed, executor);
    channel = ClientInterceptors.interceptForward(pipelines, interceptors);
  }

  private static NettyChannelBuilder builder(String name, Optional<Tls> tls) throws IOException {
    NettyChannelBuilder builder =
        NettyChannelBuilder.forTarget(
                name,
                tls.isPresent() ? credentials(tls.get()) : InsecureChannelCredentials.create())
            .disableRetry()
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .maxInboundMetadataSize(MAX_METADATA_BYTES)
            .flowControlWindow(WINDOW_BYTES)
            .keepAliveTime(KEEPALIVE.toSeconds(), TimeUnit.SECONDS)
            .keepAliveTimeout(KEEPALIVE_TIMEOUT.toSeconds(), TimeUnit.SECONDS)
            .withOption(ChannelOption.CONNECT_TIMEOUT_MILLIS, CONNECT_MILLIS)
            .userAgent("holdfast-java/" + HoldfastClient.VERSION);
    tls.flatMap(Tls::serverName).ifPresent(builder::overrideAuthority);
    return builder;
  }

  private static ChannelCredentials credentials(Tls tls) throws IOException {
    TlsChannelCredentials.Builder builder = TlsChannelCredentials.newBuilder();
    if (tls.caFile().isPresent()) {
      builder.trustManager(tls.caFile().get().toFile());
    }
    if (tls.certFile().isPresent()) {
      builder.keyManager(tls.certFile().get().toFile(), tls.keyFile().orElseThrow().toFile());
    }
    return builder.build();
  }

  boolean isClosed() {
    return isClosed;
  }

  /** Returns a new call with the deadline of an attempt. */
  <Q, R> ClientCall<Q, R> call(MethodDescriptor<Q, R> method, Attempt attempt) {
    return channel.newCall(
        method,
        CallOptions.DEFAULT.withDeadlineAfter(attempt.timeout().toNanos(), TimeUnit.NANOSECONDS));
  }

  /** Sends a message and returns its answer. */
  <Q, R> CompletableFuture<R> send(MethodDescriptor<Q, R> method, Q request, Attempt attempt) {
    CompletableFuture<R> answer = new CompletableFuture<>();
    ClientCall<Q, R> call = call(method, attempt);
    attempt.operation().onCancel(() -> call.cancel("the caller cancelled the call", null));
    call.start(
        new ClientCall.Listener<R>() {
          private R message;

          @Override
          public void onMessage(R received) {
            message = received;
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            if (!status.isOk()) {
              answer.completeExceptionally(failed(status, trailers, attempt));
            } else if (message == null) {
              answer.completeExceptionally(Reasons.wrong("no message"));
            } else {
              answer.complete(message);
            }
          }
        },
        attempt.headers());
    call.request(2);
    call.sendMessage(request);
    call.halfClose();
    return answer;
  }

  /** Returns the exception of an attempt that failed. */
  HoldfastException failed(Status status, Metadata trailers, Attempt attempt) {
    HoldfastException failure =
        Statuses.exception(status, trailers, attempt.traceId(), attempt.requestId());
    boolean isSilent =
        failure.reason().equals(Reasons.DEADLINE_EXCEEDED)
            && attempt.timeout().compareTo(SILENCE) >= 0;
    if (isSilent && !isClosed) {
      managed.enterIdle();
      pipelines.renew();
    }
    return failure;
  }

  /** Returns a future that is complete after a time, or once the client is closed. */
  CompletableFuture<Void> pause(Duration time) {
    CompletableFuture<Void> pause = new CompletableFuture<>();
    pauses.add(pause);
    pause.whenComplete((nothing, failure) -> pauses.remove(pause));
    if (isClosed) {
      pause.complete(null);
    }
    return pause.completeOnTimeout(null, time.toNanos(), TimeUnit.NANOSECONDS);
  }

  /**
   * Returns a future that has the outcome of another one, and also fails once a time has passed or
   * the client is closed. For work that may block in the caller's code.
   */
  <T> CompletableFuture<T> bounded(CompletableFuture<T> work, Duration time, String problem) {
    if (work.isDone()) {
      return work;
    }
    CompletableFuture<T> bounded = work.copy();
    CompletableFuture<Void> end = pause(time);
    end.thenRunAsync(
        () ->
            bounded.completeExceptionally(
                isClosed
                    ? Reasons.exception(Reasons.closed(), null)
                    : Reasons.exception(Reasons.DEADLINE_EXCEEDED, problem)),
        executor);
    bounded.whenComplete((value, failure) -> end.cancel(false));
    return bounded;
  }

  /** Connects at once, instead of after the pause that gRPC makes between its own attempts. */
  void reconnect() {
    managed.resetConnectBackoff();
  }

  @Override
  public void close() {
    isClosed = true;
    pauses.forEach(pause -> pause.complete(null));
    pipelines.close();
    managed.shutdownNow();
    try {
      if (!managed.awaitTermination(CLOSING.toSeconds(), TimeUnit.SECONDS)) {
        managed.shutdownNow();
      }
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
    executor.shutdown();
    forget();
  }

  private void forget() {
    addresses.ifPresent(NameResolverRegistry.getDefaultRegistry()::deregister);
  }
}
