package dev.holdfast.client;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import javax.net.ssl.SSLException;

/**
 * Converts failed gRPC calls to exceptions: by the details of the server, or by the status alone.
 */
final class Statuses {
  private static final String DOMAIN = "holdfast.dev";
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);
  // A caller who cancels gets no status: a CANCELLED without details comes from a server that ends,
  // or from a proxy.
  private static final Set<Status.Code> BROKEN_OFF =
      Set.of(Status.Code.UNAVAILABLE, Status.Code.CANCELLED);
  // Codes that are their own reason, from a Holdfast server as well as from a proxy.
  private static final Set<Status.Code> OWN_REASON =
      Set.of(Status.Code.UNAUTHENTICATED, Status.Code.PERMISSION_DENIED, Status.Code.UNIMPLEMENTED);
  private static final int SHOWN_CHARACTERS = 600;

  private Statuses() {}

  /** Returns the exception of a failed call. The ids are for statuses that no server has made. */
  static HoldfastException exception(
      Status status, Metadata trailers, String traceId, String requestId) {
    Optional<com.google.rpc.Status> sent = details(trailers);
    Optional<ErrorInfo> info = sent.flatMap(given -> detail(given, ErrorInfo.class));
    if (info.isEmpty() || !info.get().getDomain().equals(DOMAIN)) {
      Failure failure = withoutDetails(status).withCall(traceId, requestId);
      return Reasons.exception(failure, status.getCause());
    }
    Duration retryAfter = retryAfter(sent.get(), trailers.get(PUSHBACK));
    RequestInfo call =
        detail(sent.get(), RequestInfo.class).orElse(RequestInfo.getDefaultInstance());
    List<FieldViolation> violations =
        detail(sent.get(), BadRequest.class).stream()
            .flatMap(request -> request.getFieldViolationsList().stream())
            .map(found -> new FieldViolation(found.getField(), found.getDescription()))
            .toList();
    String message = sent.get().getMessage();
    return Reasons.exception(
        Reasons.sent(info.get().getReason(), status.getCode(), message, retryAfter != null)
            .withCall(
                call.getServingData().isEmpty() ? traceId : call.getServingData(),
                call.getRequestId().isEmpty() ? requestId : call.getRequestId())
            .withMetadata(info.get().getMetadataMap())
            .withViolations(violations)
            .withRetryAfter(retryAfter),
        null);
  }

  private static Failure withoutDetails(Status status) {
    Status.Code code = status.getCode();
    String said = "gRPC: " + code + ": " + shown(status);
    if (OWN_REASON.contains(code)) {
      return Reasons.failure(
          code.name(), "the target, or something before it, refused the call (" + said + ")");
    }
    if (code == Status.Code.DEADLINE_EXCEEDED) {
      return Reasons.failure(
          Reasons.DEADLINE_EXCEEDED,
          "the deadline passed before the server answered (" + said + ")");
    }
    if (code == Status.Code.UNAVAILABLE && isFailedHandshake(status.getCause())) {
      return Reasons.handshakeFailed(
          "no connection to the server: " + cause(status) + " (" + said + ")");
    }
    if (isBroken(status)) {
      return Reasons.unavailable(
          code, "the server cannot be reached, or the connection broke (" + said + ")");
    }
    return new Failure(
        Reasons.INTERNAL,
        code,
        "the call failed with an error that no Holdfast server made (" + said + ")",
        false,
        "Report it with the trace id.",
        "",
        "",
        Map.of(),
        List.of(),
        null);
  }

  /** Returns whether a connection cannot be made or broke. */
  static boolean isBroken(Status status) {
    // gRPC reports a connection that breaks while a message is written as UNKNOWN.
    return BROKEN_OFF.contains(status.getCode())
        || (status.getCode() == Status.Code.UNKNOWN && isOfConnection(status.getCause()));
  }

  static boolean hasDetails(Metadata trailers) {
    return details(trailers).map(sent -> sent.getDetailsCount() > 0).orElse(false);
  }

  /** Returns the status of a call in a pipeline, and adds its details to the call's trailers. */
  static Status carried(ByteString sent, Metadata trailers) {
    com.google.rpc.Status failed;
    try {
      failed = com.google.rpc.Status.parseFrom(sent);
    } catch (InvalidProtocolBufferException damaged) {
      return Status.INTERNAL.withDescription("the server sent a status that cannot be read");
    }
    Status status = Status.fromCodeValue(failed.getCode());
    if (status.isOk()) {
      return Status.INTERNAL.withDescription("the server sent a failure with the status OK");
    }
    trailers.put(DETAILS, sent.toByteArray());
    return status.withDescription(failed.getMessage());
  }

  private static boolean isOfConnection(Throwable cause) {
    return cause != null && (cause instanceof IOException || isOfConnection(cause.getCause()));
  }

  /** Returns whether a handshake fails in the same way each time: not one that breaks off. */
  private static boolean isFailedHandshake(Throwable cause) {
    boolean isTls = false;
    for (Throwable each = cause; each != null; each = each.getCause()) {
      String text = String.valueOf(each.getMessage()).toLowerCase(Locale.ROOT);
      if (text.contains("closed")
          || text.contains("reset")
          || text.contains("handshake timed out")) {
        return false;
      }
      isTls |= each instanceof SSLException || each instanceof GeneralSecurityException;
    }
    return isTls;
  }

  private static String cause(Status status) {
    Throwable innermost = status.getCause();
    while (innermost.getCause() != null) {
      innermost = innermost.getCause();
    }
    return "the TLS handshake fails: " + innermost.getMessage();
  }

  /** Returns details that are not ours, on one line and cut. */
  private static String shown(Status status) {
    String said = status.getDescription() == null ? "no details" : status.getDescription();
    if (status.getCause() != null) {
      said += ": " + status.getCause().getMessage();
    }
    String line = said.replaceAll("\\p{Cntrl}", " ");
    return line.length() <= SHOWN_CHARACTERS ? line : line.substring(0, SHOWN_CHARACTERS) + "…";
  }

  private static Optional<com.google.rpc.Status> details(Metadata trailers) {
    byte[] raw = trailers.get(DETAILS);
    if (raw == null) {
      return Optional.empty();
    }
    try {
      return Optional.of(com.google.rpc.Status.parseFrom(raw));
    } catch (InvalidProtocolBufferException notAStatus) {
      return Optional.empty();
    }
  }

  private static <T extends Message> Optional<T> detail(
      com.google.rpc.Status status, Class<T> kind) {
    for (Any each : status.getDetailsList()) {
      if (each.is(kind)) {
        try {
          return Optional.of(each.unpack(kind));
        } catch (InvalidProtocolBufferException damaged) {
          return Optional.empty();
        }
      }
    }
    return Optional.empty();
  }

  /** Returns how long the server asks to wait; null if it does not say, or if it cannot be read. */
  private static Duration retryAfter(com.google.rpc.Status status, String pushback) {
    if (pushback != null && pushback.matches("[0-9]{1,9}")) {
      return Duration.ofMillis(Long.parseLong(pushback));
    }
    return detail(status, RetryInfo.class)
        .filter(RetryInfo::hasRetryDelay)
        .map(RetryInfo::getRetryDelay)
        .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()))
        .map(delay -> delay.isNegative() ? Duration.ZERO : delay)
        .orElse(null);
  }
}
