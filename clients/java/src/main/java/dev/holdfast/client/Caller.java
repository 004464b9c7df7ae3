package dev.holdfast.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/**
 * Makes logical calls: one deadline, one trace, and as many attempts as the deadline and the retry
 * bucket allow.
 */
final class Caller {
  // Longer than a server that answers at once takes, so that the next attempt uses another
  // connection.
  private static final Duration USUAL_ATTEMPT = Duration.ofSeconds(12);
  private static final Duration SHORTEST_ATTEMPT = Duration.ofMillis(100);
  // A token that was accepted for so long has expired. One that is refused sooner is not replaced
  // without a pause.
  private static final long ACCEPTED_NANOS = Duration.ofSeconds(5).toNanos();
  // Calls that stream, or whose work grows with the amount of stored data.
  private static final Set<String> LONG =
      Set.of("DeleteWorkflow", "LoadStream", "Prune", "SaveStream", "Validate");
  // Set by a server in the errors of streams whose token has expired since it accepted them.
  private static final String ACCEPTED = "accepted";

  final Connection connection;
  final SeenHeads heads = new SeenHeads();
  private final RetryPolicy policy;
  private final RetryBucket bucket;
  private final Tokens tokens;
  private final Telemetry telemetry;

  Caller(Connection connection, RetryPolicy policy, Tokens tokens, Telemetry telemetry) {
    this.connection = connection;
    this.policy = policy;
    this.bucket = new RetryBucket(policy, System::nanoTime);
    this.tokens = tokens;
    this.telemetry = telemetry;
  }

  /**
   * Sends one message, with retries, and returns what {@code accept} makes of its answer, or throws
   * if the answer is wrong or names an older head than the client has seen.
   */
  <Q extends Message, R extends Message, T> CompletableFuture<T> unary(
      Operation operation, MethodDescriptor<Q, R> method, Q request, Function<R, T> accept) {
    FieldDescriptor requestId = request.getDescriptorForType().findFieldByName("request_id");
    SeenHeads.Watch watch = heads.watch(request);
    return call(
        operation,
        method.getBareMethodName(),
        requestId == null ? "" : (String) request.getField(requestId),
        watch,
        attempt ->
            connection
                .send(method, numbered(request, attempt), attempt)
                .thenApply(
                    answer -> {
                      T accepted = accept.apply(answer);
                      watch.require(answer);
                      return accepted;
                    }));
  }

  /** Returns a request with the number of its attempt, if it has a field for that. */
  @SuppressWarnings("unchecked")
  private static <Q extends Message> Q numbered(Q request, Attempt attempt) {
    FieldDescriptor field = request.getDescriptorForType().findFieldByName("attempt");
    return field == null
        ? request
        : (Q) request.toBuilder().setField(field, attempt.message()).build();
  }

  /**
   * Sends a request until it succeeds, fails for good, or its time is up.
   *
   * @param operation the call that it belongs to
   * @param method the name of the method
   * @param requestId the idempotency key, or ""
   * @param watch compares the head that an error names
   * @param send makes one attempt
   * @return the result, or the error of the last attempt
   */
  <T> CompletableFuture<T> call(
      Operation operation,
      String method,
      String requestId,
      SeenHeads.Watch watch,
      Function<Attempt, CompletableFuture<T>> send) {
    Duration time;
    try {
      time = operation.left();
    } catch (DeadlineExceededException spent) {
      return CompletableFuture.failedFuture(spent);
    }
    Call<T> call = new Call<>(operation, method, requestId, watch, time, send);
    call.next();
    return call.result;
  }

  private final class Call<T> {
    private final CompletableFuture<T> result = new CompletableFuture<>();
    private final Operation operation;
    private final String requestId;
    private final SeenHeads.Watch watch;
    private final Duration time;
    private final Duration longest;
    private final Function<Attempt, CompletableFuture<T>> send;
    private final Telemetry.LogicalSpan span;
    private final long started = System.nanoTime();
    private int number = 1;
    private long attemptStarted;
    private boolean hasRefreshed;
    private Optional<HoldfastException> previous = Optional.empty();

    Call(
        Operation operation,
        String method,
        String requestId,
        SeenHeads.Watch watch,
        Duration time,
        Function<Attempt, CompletableFuture<T>> send) {
      this.operation = operation;
      this.requestId = requestId;
      this.watch = watch;
      this.time = time;
      this.send = send;
      this.longest = policy.attemptTimeout().orElse(LONG.contains(method) ? time : USUAL_ATTEMPT);
      this.span = telemetry.begin(method, requestId);
    }

    void next() {
      try {
        operation.requireRunning();
        if (connection.isClosed()) {
          throw Reasons.exception(Reasons.closed(), null);
        }
        CompletableFuture<String> token =
            connection.bounded(
                tokens.current(connection.executor),
                left(),
                "token: its source took longer than the call may");
        operation.onCancel(() -> token.cancel(false));
        token.whenComplete(
            (known, failure) -> {
              if (failure == null) {
                attempt(known);
              } else {
                span.beginAttempt(number, new Metadata());
                ended("", null, Operation.bare(failure));
              }
            });
      } catch (RuntimeException | Error failure) {
        // Nobody else ends the call, so that its caller would wait for ever.
        finish(null, closedOr(failure));
      }
    }

    private void attempt(String token) {
      attemptStarted = System.nanoTime();
      Metadata headers = new Metadata();
      Tokens.put(headers, token);
      span.beginAttempt(number, headers);
      Duration elapsed = Duration.ofNanos(System.nanoTime() - started);
      Duration timeout = left().compareTo(longest) < 0 ? left() : longest;
      Attempt attempt =
          new Attempt(number, elapsed, timeout, headers, span.traceId(), requestId, operation);
      CompletableFuture<T> sent;
      try {
        sent = send.apply(attempt);
      } catch (RuntimeException | Error failure) {
        sent = CompletableFuture.failedFuture(failure);
      }
      sent.whenComplete((value, failure) -> ended(token, value, Operation.bare(failure)));
    }

    private void ended(String token, T value, Throwable raised) {
      Throwable failure = raised == null ? null : traced(closedOr(raised));
      span.endAttempt(failure);
      if (failure == null) {
        bucket.succeeded();
        finish(value, null);
      } else if (operation.isCancelled()) {
        // It is not retried, and takes nothing from the budget of other calls.
        finish(null, new CancellationException("the call was cancelled"));
      } else if (!(failure instanceof HoldfastException error)) {
        finish(null, failure);
      } else if (mayRefresh(error, token)) {
        boolean isAtOnce = !hasRefreshed || System.nanoTime() - attemptStarted > ACCEPTED_NANOS;
        hasRefreshed = true;
        if (isAtOnce) {
          number++;
          next();
        } else {
          retry(error);
        }
      } else if (error.retryable()) {
        retry(error);
      } else {
        finish(null, explained(error));
      }
    }

    private void retry(HoldfastException error) {
      Optional<Duration> wait = bucket.take(left());
      if (wait.isEmpty()) {
        Failure unretried =
            error
                .failure()
                .withMessage(error.detail() + "; it was not retried: " + bucket.exhausted())
                .withMetadata("retries", "off");
        finish(null, explained(copy(error, unretried)));
        return;
      }
      Duration pause = bucket.pause(number, error.retryAfter());
      pause = pause.compareTo(wait.get()) > 0 ? pause : wait.get();
      // An attempt that ends before it can be answered would only hide the error of this one.
      if (pause.plus(SHORTEST_ATTEMPT).compareTo(left()) >= 0) {
        finish(null, explained(error));
        return;
      }
      if (!error.reason().equals(Reasons.DEADLINE_EXCEEDED)) {
        previous = Optional.of(error);
      }
      number++;
      CompletableFuture<Void> over = connection.pause(pause);
      operation.onCancel(() -> over.complete(null));
      over.whenComplete(
          (nothing, failure) -> {
            connection.reconnect();
            connection.executor.execute(this::next);
          });
    }

    private boolean mayRefresh(HoldfastException error, String token) {
      if (!error.reason().equals("UNAUTHENTICATED") || token.isEmpty()) {
        return false;
      }
      return tokens.refuse(token) && (!hasRefreshed || error.metadata().containsKey(ACCEPTED));
    }

    private void finish(T value, Throwable raised) {
      Throwable failure = raised instanceof HoldfastException error ? watch.checked(error) : raised;
      operation.spend(System.nanoTime() - started);
      span.end(failure);
      if (failure == null) {
        result.complete(value);
      } else {
        result.completeExceptionally(failure);
      }
    }

    private Duration left() {
      Duration left = time.minusNanos(System.nanoTime() - started);
      return left.toMillis() < 1 ? Duration.ofMillis(1) : left;
    }

    private Throwable closedOr(Throwable failure) {
      return connection.isClosed()
          ? Reasons.exception(Reasons.closed().withCall(span.traceId(), requestId), failure)
          : failure;
    }

    /** Gives errors that the client itself raises about an answer the trace of the call. */
    private Throwable traced(Throwable failure) {
      return failure instanceof HoldfastException error && error.traceId().isEmpty()
          ? copy(error, error.failure().withCall(span.traceId(), requestId))
          : failure;
    }

    /** If an error only says that the time is up, adds why an earlier attempt failed. */
    private HoldfastException explained(HoldfastException error) {
      if (previous.isEmpty() || !error.reason().equals(Reasons.DEADLINE_EXCEEDED)) {
        return error;
      }
      String earlier =
          "; an earlier attempt ended with "
              + previous.get().reason()
              + ": "
              + previous.get().detail();
      return copy(
          error,
          error
              .failure()
              .withMessage(error.detail() + earlier)
              .withMetadata("previous_reason", previous.get().reason()));
    }
  }

  private static HoldfastException copy(HoldfastException error, Failure failure) {
    HoldfastException copy = Reasons.exception(failure, error.getCause());
    copy.setStackTrace(error.getStackTrace());
    return copy;
  }
}
