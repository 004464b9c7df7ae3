package dev.holdfast.client;

import io.grpc.Status;
import java.io.Serializable;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What an exception says about a failed call. {@code retryAfter} may be null. */
record Failure(
    String reason,
    Status.Code code,
    String message,
    boolean retryable,
    String advice,
    String traceId,
    String requestId,
    Map<String, String> metadata,
    List<FieldViolation> violations,
    Duration retryAfter)
    implements Serializable {

  Failure withMessage(String other) {
    return new Failure(
        reason,
        code,
        other,
        retryable,
        advice,
        traceId,
        requestId,
        metadata,
        violations,
        retryAfter);
  }

  Failure withCall(String trace, String request) {
    return new Failure(
        reason, code, message, retryable, advice, trace, request, metadata, violations, retryAfter);
  }

  Failure withMetadata(String name, String value) {
    Map<String, String> more = new HashMap<>(metadata);
    more.put(name, value);
    return withMetadata(more);
  }

  Failure withMetadata(Map<String, String> other) {
    return new Failure(
        reason,
        code,
        message,
        retryable,
        advice,
        traceId,
        requestId,
        Map.copyOf(other),
        violations,
        retryAfter);
  }

  Failure withViolations(List<FieldViolation> other) {
    return new Failure(
        reason, code, message, retryable, advice, traceId, requestId, metadata, other, retryAfter);
  }

  Failure withRetryAfter(Duration other) {
    return new Failure(
        reason, code, message, retryable, advice, traceId, requestId, metadata, violations, other);
  }

  Failure withAdvice(String other) {
    return new Failure(
        reason,
        code,
        message,
        retryable,
        other,
        traceId,
        requestId,
        metadata,
        violations,
        retryAfter);
  }
}
