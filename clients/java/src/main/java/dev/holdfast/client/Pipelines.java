package dev.holdfast.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import dev.holdfast.v1.CheckpointServiceGrpc;
import dev.holdfast.v1.CheckpointServiceProto;
import dev.holdfast.v1.PipelineAnswer;
import dev.holdfast.v1.PipelineCall;
import dev.holdfast.v1.PipelineRequest;
import dev.holdfast.v1.PipelineResponse;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/**
 * A channel whose unary calls go through pipelines where the server takes them: many calls in one
 * message cost both sides less than a stream for each. One pipeline takes calls; older ones wait
 * for their last answers.
 *
 * <p>One lock guards the state. Whatever calls into gRPC or into a listener is an effect, which
 * runs after the lock was released.
 */
final class Pipelines extends Channel {
  // A server answers a new pipeline at once. If it does not, a proxy that buffers streams may be
  // between.
  private static final long FIRST_ANSWER_NANOS = Duration.ofSeconds(3).toNanos();
  // The time without calls after which a pipeline is closed, at most twice that. Until then gRPC
  // pings the server.
  private static final long IDLE_NANOS = Duration.ofSeconds(5).toNanos();
  // How long a connection uses unary calls before it opens a pipeline again.
  private static final long UNARY_NANOS = Duration.ofMinutes(1).toNanos();
  private static final Set<Status.Code> REFUSALS =
      Set.of(
          Status.Code.UNIMPLEMENTED,
          Status.Code.UNAUTHENTICATED,
          Status.Code.PERMISSION_DENIED,
          Status.Code.RESOURCE_EXHAUSTED);
  private static final Map<String, PipelinedCall.Fields> CARRIED = carried();

  private final Channel channel;
  private final Executor executor;
  private final Set<Stream> open = new LinkedHashSet<>();
  private List<Runnable> effects = new ArrayList<>();
  private Stream current;
  private long lastId;
  private boolean isUnary;
  private long unaryUntil;
  private boolean isClosed;
  private CompletableFuture<Void> timer;
  private long timerAt;

  Pipelines(Channel channel, Executor executor) {
    this.channel = channel;
    this.executor = executor;
  }

  private static Map<String, PipelinedCall.Fields> carried() {
    Map<String, PipelinedCall.Fields> fields = new HashMap<>();
    var service = CheckpointServiceProto.getDescriptor().findServiceByName("CheckpointService");
    for (FieldDescriptor request : PipelineCall.getDescriptor().getOneofs().get(0).getFields()) {
      service.getMethods().stream()
          .filter(method -> method.getInputType() == request.getMessageType())
          .forEach(
              method ->
                  fields.put(
                      MethodDescriptor.generateFullMethodName(
                          service.getFullName(), method.getName()),
                      new PipelinedCall.Fields(
                          request,
                          PipelineAnswer.getDescriptor().findFieldByNumber(request.getNumber()))));
    }
    return fields;
  }

  @Override
  public String authority() {
    return channel.authority();
  }

  @Override
  public <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method, CallOptions options) {
    PipelinedCall.Fields fields = CARRIED.get(method.getFullMethodName());
    boolean isCarried =
        fields != null
            && options.getDeadline() != null
            && options.getCredentials() == null
            && options.getAuthority() == null;
    return isCarried
        ? new PipelinedCall<>(this, channel, method, options, fields)
        : channel.newCall(method, options);
  }

  /** Changes the state, and then runs the effects. */
  private void change(Runnable change) {
    List<Runnable> due;
    synchronized (this) {
      change.run();
      due = effects;
      effects = new ArrayList<>();
    }
    due.forEach(Runnable::run);
  }

  /**
   * Lets a call wait for the next message, and opens a pipeline if there is none. Makes the call by
   * itself if no pipeline may carry it.
   */
  void add(PipelinedCall<?, ?> call, boolean isCarried) {
    change(
        () -> {
          boolean isTaken = isCarried && !isClosed && take(call);
          if (!isTaken && call.end()) {
            effects.add(call::sendAlone);
          }
        });
  }

  private boolean take(PipelinedCall<?, ?> call) {
    long now = System.nanoTime();
    if (isUnary && now - unaryUntil < 0) {
      return false;
    }
    isUnary = false;
    if (current != null && !current.pipeline.credentials.equals(call.credentials())) {
      // What it has not sent has its credentials, not those of the next pipeline.
      List<PipelinedCall<?, ?>> unsent = close(current);
      unsent.forEach(this::refuse);
    }
    if (current == null) {
      current = new Stream(call.credentials(), now);
      open.add(current);
      effects.add(current::start);
      watch(current.idleAt);
    }
    current.pipeline.add(call);
    current.toWrite();
    watch(call.deadlineNanos());
    return true;
  }

  /** Ends a call whose caller no longer waits. */
  void forget(PipelinedCall<?, ?> call, Status status) {
    change(() -> end(call, status));
  }

  private void end(PipelinedCall<?, ?> call, Status status) {
    if (call.end()) {
      for (Stream stream : open) {
        if (stream.pipeline.cancel(call)) {
          stream.toWrite();
        }
      }
      deliver(() -> call.failed(status));
    }
  }

  /** Hands an outcome to a listener, which may block its thread. */
  private void deliver(Runnable outcome) {
    effects.add(() -> executor.execute(outcome));
  }

  /** Lets further calls use another pipeline, and so another connection if there is one. */
  void renew() {
    change(
        () -> {
          if (current != null) {
            retire(current);
          }
        });
  }

  /** Opens no further pipeline. The open ones end with their channel. */
  void close() {
    change(
        () -> {
          isClosed = true;
          if (timer != null) {
            timer.cancel(false);
          }
        });
  }

  /** Lets the next pipeline take what one has not sent. */
  private void retire(Stream stream) {
    for (PipelinedCall<?, ?> call : close(stream)) {
      if (!call.isDone() && !take(call)) {
        refuse(call);
      }
    }
  }

  /** Closes a pipeline for sending. Returns what it has not sent. */
  private List<PipelinedCall<?, ?>> close(Stream stream) {
    if (current == stream) {
      current = null;
    }
    List<PipelinedCall<?, ?>> unsent = stream.pipeline.retire();
    stream.toWrite();
    return unsent;
  }

  private void refuse(PipelinedCall<?, ?> call) {
    if (call.end()) {
      effects.add(() -> executor.execute(call::sendAlone));
    }
  }

  /** Calls {@link #tick} at a time, or before it. */
  private void watch(long atNanos) {
    if (isClosed || (timer != null && timerAt - atNanos <= 0)) {
      return;
    }
    if (timer != null) {
      timer.cancel(false);
    }
    timerAt = atNanos;
    CompletableFuture<Void> next = new CompletableFuture<>();
    timer = next;
    next.thenRunAsync(() -> change(() -> tick(next)), executor);
    next.completeOnTimeout(null, Math.max(atNanos - System.nanoTime(), 0), TimeUnit.NANOSECONDS);
  }

  /** Ends the calls whose time is up, and closes pipelines that are idle or do not answer. */
  private void tick(CompletableFuture<Void> from) {
    if (timer != from) {
      return;
    }
    timer = null;
    long now = System.nanoTime();
    for (Stream stream : List.copyOf(open)) {
      List<PipelinedCall<?, ?>> calls = new ArrayList<>();
      stream.pipeline.forEachOpen(calls::add);
      List<PipelinedCall<?, ?>> late =
          calls.stream().filter(call -> call.deadlineNanos() - now <= 0).toList();
      calls.stream()
          .filter(call -> call.deadlineNanos() - now > 0)
          .mapToLong(call -> call.deadlineNanos() - now)
          .min()
          .ifPresent(left -> watch(now + left));
      Status status = Status.DEADLINE_EXCEEDED.withDescription("the server did not answer in time");
      late.forEach(call -> end(call, status));
      stream.check(now);
    }
  }

  /** One stream of a pipeline, which one thread at a time writes. */
  private final class Stream extends ClientCall.Listener<PipelineResponse> {
    private final Pipeline pipeline;
    private ClientCall<PipelineRequest, PipelineResponse> call;
    // Starting counts as writing.
    private boolean isWriting = true;
    private boolean isAwaited;
    private boolean isHalfClosed;
    private boolean isEnded;
    private long idleAt;
    private long firstAnswerBy;

    Stream(String credentials, long now) {
      pipeline = new Pipeline(credentials);
      idleAt = now + IDLE_NANOS;
    }

    void start() {
      Metadata headers = new Metadata();
      if (!pipeline.credentials.isEmpty()) {
        headers.put(PipelinedCall.AUTHORIZATION, pipeline.credentials);
      }
      // It outlives the call that opens it.
      Context.ROOT.run(
          () -> {
            call = channel.newCall(CheckpointServiceGrpc.getPipelineMethod(), CallOptions.DEFAULT);
            call.start(this, headers);
            call.request(2);
          });
      write();
    }

    /** Lets a thread write what waits, unless one does so already. */
    void toWrite() {
      if (isWriting) {
        isAwaited = true;
        return;
      }
      isWriting = true;
      if (pipeline.hasLoneCall()) {
        effects.add(this::write);
      } else {
        // Callers whose answers came in one message send their next calls in one message: let them
        // run first.
        effects.add(
            () ->
                executor.execute(
                    () -> {
                      Thread.yield();
                      write();
                    }));
      }
    }

    private void write() {
      while (true) {
        boolean isReady = call.isReady();
        PipelineRequest message;
        boolean isLast;
        synchronized (Pipelines.this) {
          long now = System.nanoTime();
          message = isReady && !isEnded && !isHalfClosed ? pipeline.message(lastId, now) : null;
          isLast = message == null && pipeline.isRetired() && !isHalfClosed;
          isHalfClosed |= isLast;
          if (message != null) {
            lastId += message.getCallsCount();
            if (firstAnswerBy == 0) {
              firstAnswerBy = now + FIRST_ANSWER_NANOS;
              watch(firstAnswerBy);
            }
          } else if (!isLast) {
            if (!isAwaited) {
              isWriting = false;
              return;
            }
            isAwaited = false;
          }
        }
        if (message != null) {
          call.sendMessage(message);
        } else if (isLast) {
          call.halfClose();
        }
      }
    }

    @Override
    public void onReady() {
      change(this::toWrite);
    }

    @Override
    public void onMessage(PipelineResponse response) {
      call.request(1);
      change(
          () -> {
            pipeline.received(response, (each, answer) -> deliver(() -> each.answered(answer)));
            if (response.hasGoingAway()) {
              retire(this);
            } else {
              toWrite();
            }
          });
    }

    /** Closes the stream for sending if it is idle, or if no answer has come. */
    void check(long now) {
      if (pipeline.isRetired()) {
        return;
      }
      if (firstAnswerBy != 0 && !pipeline.hasAnswered()) {
        if (firstAnswerBy - now <= 0) {
          // A proxy that waits for the end of a stream passes it on then.
          useUnary(now);
          retire(this);
          return;
        }
        watch(firstAnswerBy);
      }
      if (idleAt - now <= 0) {
        idleAt = now + IDLE_NANOS;
        if (pipeline.isIdle()) {
          retire(this);
          return;
        }
      }
      watch(idleAt);
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      change(() -> ended(status, trailers));
    }

    /** Decides the outcome of every open call. */
    private void ended(Status status, Metadata trailers) {
      isEnded = true;
      open.remove(this);
      if (current == this) {
        current = null;
      }
      List<PipelinedCall<?, ?>> calls = pipeline.end();
      if (calls.isEmpty()) {
        return;
      }
      boolean isBroken = status.isOk() || Statuses.isBroken(status);
      boolean hasDetails = Statuses.hasDetails(trailers);
      Status.Code code = status.getCode();
      // A server or proxy refuses a pipeline before it starts any call. A server that refuses the
      // token takes pipelines with another one; a proxy may not.
      boolean isRefusal =
          !pipeline.hasAnswered() && !(code == Status.Code.UNAUTHENTICATED && hasDetails);
      if (!REFUSALS.contains(code)) {
        isRefusal &= !pipeline.hasSent() && !isBroken;
      }
      if (isRefusal || (!isBroken && !hasDetails)) {
        useUnary(System.nanoTime());
      }
      Status outcome = status;
      if (status.isOk()) {
        outcome = Status.UNAVAILABLE.withDescription("the stream ended");
      } else if (!isBroken && !hasDetails) {
        outcome =
            Status.UNAVAILABLE.withDescription(
                "the pipeline broke: " + code + ": " + status.getDescription());
      }
      for (PipelinedCall<?, ?> each : calls) {
        if (isRefusal) {
          refuse(each);
        } else if (each.end()) {
          Status failed = outcome;
          deliver(() -> each.failed(failed, trailers));
        }
      }
    }
  }

  private void useUnary(long now) {
    isUnary = true;
    unaryUntil = now + UNARY_NANOS;
  }
}
