package dev.holdfast.client;

import dev.holdfast.v1.ErrorReason;
import dev.holdfast.v1.ErrorsProto;
import dev.holdfast.v1.ReasonTraits;
import io.grpc.Status;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;

/**
 * The exceptions by reason. Code, advice and whether to retry come from the table in {@code
 * errors.proto}; a reason that is not in it comes from a newer server and follows its status code.
 */
final class Reasons {
  static final String SERVER_UNAVAILABLE = "SERVER_UNAVAILABLE";
  static final String DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED";
  static final String INTERNAL = "INTERNAL";

  static final Map<String, Function<Failure, HoldfastException>> CLASSES =
      Map.ofEntries(
          Map.entry("AUDIT_UNAVAILABLE", AuditUnavailableException::new),
          Map.entry("CHECKPOINT_CORRUPTED", CheckpointCorruptedException::new),
          Map.entry("CHECKPOINT_DELETED", CheckpointDeletedException::new),
          Map.entry("CHECKPOINT_ID_REUSED", CheckpointIdReusedException::new),
          Map.entry("CHECKPOINT_NOT_FOUND", CheckpointNotFoundException::new),
          Map.entry("COMMIT_UNKNOWN", CommitUnknownException::new),
          Map.entry("DEADLINE_EXCEEDED", DeadlineExceededException::new),
          Map.entry("FORMAT_INCOMPATIBLE", FormatIncompatibleException::new),
          Map.entry("INTERNAL", InternalException::new),
          Map.entry("INVALID_REQUEST", InvalidRequestException::new),
          Map.entry("ISSUER_UNAVAILABLE", IssuerUnavailableException::new),
          Map.entry("LAYOUT_UNSUPPORTED", LayoutUnsupportedException::new),
          Map.entry("LEASE_HELD", LeaseHeldException::new),
          Map.entry("LOG_FULL", LogFullException::new),
          Map.entry("OVERLOADED", OverloadedException::new),
          Map.entry("PAYLOAD_TOO_LARGE", PayloadTooLargeException::new),
          Map.entry("PERMISSION_DENIED", PermissionDeniedException::new),
          Map.entry("QUOTA_EXCEEDED", QuotaExceededException::new),
          Map.entry("REQUEST_ID_REUSED", RequestIdReusedException::new),
          Map.entry("REVISION_CONFLICT", RevisionConflictException::new),
          Map.entry("SHUTTING_DOWN", ShuttingDownException::new),
          Map.entry("STORE_ACCESS_DENIED", StoreAccessDeniedException::new),
          Map.entry("STORE_REPLACED", StoreReplacedException::new),
          Map.entry("STORE_UNAVAILABLE", StoreUnavailableException::new),
          Map.entry("UNAUTHENTICATED", UnauthenticatedException::new),
          Map.entry("UNIMPLEMENTED", UnimplementedException::new),
          Map.entry("UPLOAD_LOST", UploadLostException::new),
          Map.entry("WORKFLOW_NOT_FOUND", WorkflowNotFoundException::new),
          Map.entry("WRITER_FENCED", WriterFencedException::new),
          // Reasons of the client itself.
          Map.entry("CLIENT_CLOSED", ClientClosedException::new),
          Map.entry("HANDSHAKE_FAILED", HandshakeFailedException::new),
          Map.entry("INTERRUPTED", CallInterruptedException::new),
          Map.entry("KEYRING_REQUIRED", KeyringRequiredException::new),
          Map.entry("ROLLED_BACK", RolledBackException::new),
          Map.entry(SERVER_UNAVAILABLE, ServerUnavailableException::new));

  /**
   * The classes of reasons that this client does not know. NOT_FOUND has none: a caller would take
   * it for a workflow that has not begun.
   */
  private static final Map<Status.Code, Function<Failure, HoldfastException>> CLASSES_BY_CODE =
      Map.of(
          Status.Code.DATA_LOSS, CheckpointCorruptedException::new,
          Status.Code.DEADLINE_EXCEEDED, DeadlineExceededException::new,
          Status.Code.INTERNAL, InternalException::new,
          Status.Code.INVALID_ARGUMENT, InvalidRequestException::new,
          Status.Code.PERMISSION_DENIED, PermissionDeniedException::new,
          Status.Code.UNAUTHENTICATED, UnauthenticatedException::new,
          Status.Code.UNAVAILABLE, ServerUnavailableException::new,
          Status.Code.UNIMPLEMENTED, UnimplementedException::new);

  private static final Set<Status.Code> RETRYABLE_CODES =
      Set.of(Status.Code.UNAVAILABLE, Status.Code.DEADLINE_EXCEEDED);

  private Reasons() {}

  /** Returns a failure with the traits of its reason. */
  static Failure failure(String reason, String message) {
    var value = ErrorReason.getDescriptor().findValueByName("ERROR_REASON_" + reason);
    if (value == null) {
      return plain(reason, Status.Code.INTERNAL, message, false, "");
    }
    ReasonTraits traits = value.getOptions().getExtension(ErrorsProto.traits);
    Status.Code code = Status.fromCodeValue(traits.getCode()).getCode();
    return plain(reason, code, message, traits.getRetryable(), traits.getAdvice());
  }

  /** Returns the failure of a reason that a server has sent with a status code. */
  static Failure sent(String reason, Status.Code code, String message, boolean asksToWait) {
    if (CLASSES.containsKey(reason)) {
      Failure known = failure(reason, message);
      return plain(reason, code, message, known.retryable(), known.advice());
    }
    boolean retryable =
        RETRYABLE_CODES.contains(code) || (code == Status.Code.RESOURCE_EXHAUSTED && asksToWait);
    return plain(
        reason, code, message, retryable, "Upgrade the client: it does not know this reason.");
  }

  static HoldfastException exception(String reason, String message) {
    return exception(failure(reason, message), null);
  }

  static HoldfastException exception(String reason, String message, Throwable cause) {
    return exception(failure(reason, message), cause);
  }

  static HoldfastException exception(Failure failure, Throwable cause) {
    var made = CLASSES.get(failure.reason());
    if (made == null) {
      made = CLASSES_BY_CODE.getOrDefault(failure.code(), WorkflowCheckpointResumeException::new);
    }
    HoldfastException exception = made.apply(failure);
    if (cause != null) {
      exception.initCause(cause);
    }
    return exception;
  }

  /** Returns the failure of a connection that cannot be made or that broke. */
  static Failure unavailable(Status.Code code, String message) {
    return plain(
        SERVER_UNAVAILABLE,
        code,
        message,
        true,
        "Check that the server runs and that the target is right.");
  }

  /** Returns the failure of a connection on which client and server cannot agree. */
  static Failure handshakeFailed(String message) {
    return plain(
        "HANDSHAKE_FAILED",
        Status.Code.UNAVAILABLE,
        message,
        false,
        "Correct the target, the client's TLS, or the server's certificate; a retry does not help.");
  }

  static Failure closed() {
    return plain(
        "CLIENT_CLOSED",
        Status.Code.CANCELLED,
        "the client is closed; a call that was running may or may not have taken effect",
        false,
        "Open another client; a call that was running may be sent again with the same request id.");
  }

  static Failure interrupted() {
    return plain(
        "INTERRUPTED",
        Status.Code.CANCELLED,
        "the thread was interrupted; the call may or may not have taken effect",
        false,
        "Send the call again with the same request id, or find out if it has taken effect.");
  }

  /** Returns the failure of a log that is older than it was, or another one. */
  static Failure rolledBack(String message) {
    return plain(
        "ROLLED_BACK",
        Status.Code.DATA_LOSS,
        message,
        false,
        "Stop, and ask the operator what happened to the store; after a restore, forgetHead accepts"
            + " its state.");
  }

  static Failure keyringRequired(String what) {
    return plain(
        "KEYRING_REQUIRED",
        Status.Code.FAILED_PRECONDITION,
        what + " is encrypted",
        false,
        "Read it with the Python client and its keyring: this client cannot decrypt.");
  }

  /** Returns the exception of an answer that no correct server sends. */
  static HoldfastException wrong(String answer) {
    return exception(
        failure(INTERNAL, "the server sent " + answer)
            .withAdvice("Check that the target is a Holdfast server, and upgrade it."),
        null);
  }

  private static Failure plain(
      String reason, Status.Code code, String message, boolean retryable, String advice) {
    return new Failure(reason, code, message, retryable, advice, "", "", Map.of(), List.of(), null);
  }
}
