package dev.holdfast.client;

/** The payload is larger than the server accepts, or than the caller of a load allows. */
public final class PayloadTooLargeException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  PayloadTooLargeException(Failure failure) {
    super(failure);
  }
}
