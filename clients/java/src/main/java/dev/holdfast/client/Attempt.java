package dev.holdfast.client;

import io.grpc.Metadata;
import java.time.Duration;

/**
 * One attempt of a logical call.
 *
 * @param number 1 for the first attempt
 * @param elapsed the time since the first attempt began
 * @param timeout the time that this attempt may take
 * @param headers metadata to send with it
 * @param traceId the trace of the call
 * @param requestId the idempotency key of the call, or ""
 * @param operation the call that it belongs to
 */
record Attempt(
    int number,
    Duration elapsed,
    Duration timeout,
    Metadata headers,
    String traceId,
    String requestId,
    Operation operation) {

  dev.holdfast.v1.Attempt message() {
    return dev.holdfast.v1.Attempt.newBuilder()
        .setNumber(number)
        .setElapsed(Arguments.message(elapsed))
        .build();
  }
}
