package dev.holdfast.client;

import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The failure of a call. There is one subclass for each reason that this client knows. */
public class HoldfastException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** What the accessors return. */
  private final Failure failure;

  HoldfastException(Failure failure) {
    super(shown(failure));
    this.failure = failure;
  }

  /**
   * Returns the reason.
   *
   * @return the reason, such as "CHECKPOINT_NOT_FOUND"
   */
  public String reason() {
    return failure.reason();
  }

  /**
   * Returns the gRPC status code.
   *
   * @return the code
   */
  public Status.Code code() {
    return failure.code();
  }

  /**
   * Returns the message without reason and trace.
   *
   * @return the message
   */
  public String detail() {
    return failure.message();
  }

  /**
   * Returns the trace of the call.
   *
   * @return 32 hex digits, or "" if nothing was called
   */
  public String traceId() {
    return failure.traceId();
  }

  /**
   * Returns the idempotency key of the call.
   *
   * @return the key, or ""
   */
  public String requestId() {
    return failure.requestId();
  }

  /**
   * Returns the ids and values that belong to the message.
   *
   * @return the values by name
   */
  public Map<String, String> metadata() {
    return failure.metadata();
  }

  /**
   * Returns whether the same request may succeed if it is sent again.
   *
   * @return whether it may
   */
  public boolean retryable() {
    return failure.retryable();
  }

  /**
   * Returns the next step of the caller.
   *
   * @return a sentence, or ""
   */
  public String advice() {
    return failure.advice();
  }

  /**
   * Returns the fields of the request that are wrong.
   *
   * @return the fields and their problems
   */
  public List<FieldViolation> fieldViolations() {
    return failure.violations();
  }

  /**
   * Returns how long the server asks to wait.
   *
   * @return the time; empty if the server does not say
   */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(failure.retryAfter());
  }

  Failure failure() {
    return failure;
  }

  private static String shown(Failure failure) {
    String trace = failure.traceId().isEmpty() ? "" : " (trace " + failure.traceId() + ")";
    return failure.reason() + ": " + failure.message() + trace;
  }
}
