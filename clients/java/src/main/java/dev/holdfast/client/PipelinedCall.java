package dev.holdfast.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import dev.holdfast.v1.PipelineAnswer;
import dev.holdfast.v1.PipelineCall;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * A unary call that a pipeline carries, from its request to its outcome. It is sent as a call of
 * its own if no pipeline can carry it. The lock of {@link Pipelines} guards id and outcome, its own
 * lock guards its cancellation.
 */
final class PipelinedCall<Q, R> extends ClientCall<Q, R> {
  private static final Metadata.Key<String> TRACEPARENT = key("traceparent");
  private static final Metadata.Key<String> TRACESTATE = key("tracestate");
  static final Metadata.Key<String> AUTHORIZATION = key("authorization");
  private static final Set<String> CARRIED =
      Set.of(TRACEPARENT.name(), TRACESTATE.name(), AUTHORIZATION.name());
  // A larger request is sent as a unary call, so that small calls do not wait for it.
  private static final int LARGEST_BYTES = 256 << 10;

  private final Pipelines pipelines;
  private final Channel channel;
  private final MethodDescriptor<Q, R> method;
  private final CallOptions options;
  private final Fields fields;
  private final Context context = Context.current();
  private final Context.CancellationListener contextEnd = this::contextEnded;
  private Listener<R> listener;
  private Metadata headers;
  private Q request;
  private ClientCall<Q, R> unary;
  private Status cancelled;
  private boolean isSubmitted;
  private long id;
  private int sizeBytes;
  private long deadlineNanos;
  private boolean isDone;

  /** The fields of a method's request in a PipelineCall, and of its response in an answer. */
  record Fields(FieldDescriptor request, FieldDescriptor response) {}

  PipelinedCall(
      Pipelines pipelines,
      Channel channel,
      MethodDescriptor<Q, R> method,
      CallOptions options,
      Fields fields) {
    this.pipelines = pipelines;
    this.channel = channel;
    this.method = method;
    this.options = options;
    this.fields = fields;
  }

  private static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  @Override
  public void start(Listener<R> given, Metadata sent) {
    listener = given;
    headers = sent;
  }

  /** Does nothing: a unary call has one answer, which its caller takes. */
  @Override
  public void request(int messages) {}

  @Override
  public void sendMessage(Q message) {
    request = message;
  }

  @Override
  public void halfClose() {
    Status early;
    synchronized (this) {
      isSubmitted = true;
      early = cancelled;
    }
    if (early != null) {
      pipelines.forget(this, early);
      return;
    }
    boolean isCarried = isCarried();
    if (isCarried) {
      context.addListener(contextEnd, Runnable::run);
    }
    pipelines.add(this, isCarried);
  }

  private boolean isCarried() {
    boolean isPlain = headers.keys().stream().allMatch(CARRIED::contains);
    if (!isPlain
        || !(request instanceof Message message)
        || message.getDescriptorForType() != fields.request().getMessageType()
        || message.getSerializedSize() > LARGEST_BYTES) {
      return false;
    }
    sizeBytes = message.getSerializedSize();
    Deadline deadline = options.getDeadline();
    if (context.getDeadline() != null) {
      deadline = deadline.minimum(context.getDeadline());
    }
    deadlineNanos = System.nanoTime() + deadline.timeRemaining(TimeUnit.NANOSECONDS);
    return true;
  }

  @Override
  public void cancel(String message, Throwable cause) {
    Status ended;
    ClientCall<Q, R> alone;
    synchronized (this) {
      if (cancelled == null) {
        cancelled = Status.CANCELLED.withDescription(message).withCause(cause);
      }
      if (!isSubmitted) {
        return;
      }
      ended = cancelled;
      alone = unary;
    }
    if (alone == null) {
      pipelines.forget(this, ended);
    } else {
      alone.cancel(message, cause);
    }
  }

  private void contextEnded(Context ended) {
    cancel("the context of the caller ended", ended.cancellationCause());
  }

  /** Makes the call by itself. */
  void sendAlone() {
    context.removeListener(contextEnd);
    context.run(
        () -> {
          ClientCall<Q, R> alone = channel.newCall(method, options);
          alone.start(listener, headers);
          alone.request(2);
          alone.sendMessage(request);
          alone.halfClose();
          Status ended;
          synchronized (this) {
            unary = alone;
            ended = cancelled;
          }
          if (ended != null) {
            alone.cancel(ended.getDescription(), ended.getCause());
          }
        });
  }

  String credentials() {
    String sent = headers.get(AUTHORIZATION);
    return sent == null ? "" : sent;
  }

  int sizeBytes() {
    return sizeBytes;
  }

  long deadlineNanos() {
    return deadlineNanos;
  }

  long id() {
    return id;
  }

  boolean isDone() {
    return isDone;
  }

  /** Takes the only outcome that counts. Returns whether it is this one. */
  boolean end() {
    boolean isFirst = !isDone;
    isDone = true;
    return isFirst;
  }

  /** Returns the call as a pipeline sends it with an id. */
  PipelineCall sent(long as, long nowNanos) {
    id = as;
    PipelineCall.Builder call =
        PipelineCall.newBuilder()
            .setCallId(as)
            .setTimeout(Arguments.message(left(nowNanos)))
            .setField(fields.request(), request);
    String traceparent = headers.get(TRACEPARENT);
    if (traceparent != null) {
      call.setTraceparent(traceparent);
    }
    String tracestate = headers.get(TRACESTATE);
    if (tracestate != null) {
      call.setTracestate(tracestate);
    }
    return call.build();
  }

  private Duration left(long nowNanos) {
    return Duration.ofNanos(Math.max(deadlineNanos - nowNanos, 1_000_000));
  }

  /** Hands an answer to the listener. Runs without a lock. */
  void answered(PipelineAnswer answer) {
    if (answer.getOutcomeCase().getNumber() == fields.response().getNumber()) {
      @SuppressWarnings("unchecked")
      R response = (R) answer.getField(fields.response());
      deliver(Status.OK, new Metadata(), response);
    } else if (answer.hasStatus()) {
      Metadata trailers = new Metadata();
      deliver(Statuses.carried(answer.getStatus(), trailers), trailers, null);
    } else {
      failed(Status.INTERNAL.withDescription("the server sent the answer of another call"));
    }
  }

  /** Hands a failure to the listener. Runs without a lock. */
  void failed(Status status) {
    deliver(status, new Metadata(), null);
  }

  void failed(Status status, Metadata trailers) {
    Metadata own = new Metadata();
    own.merge(trailers);
    deliver(status, own, null);
  }

  private void deliver(Status status, Metadata trailers, R response) {
    context.removeListener(contextEnd);
    context.run(
        () -> {
          Status outcome = status;
          if (response != null) {
            try {
              listener.onHeaders(new Metadata());
              listener.onMessage(response);
            } catch (RuntimeException failure) {
              outcome = Status.CANCELLED.withDescription("a listener failed").withCause(failure);
            }
          }
          Status ended;
          synchronized (this) {
            ended = cancelled;
          }
          listener.onClose(ended == null ? outcome : ended, trailers);
        });
  }
}
