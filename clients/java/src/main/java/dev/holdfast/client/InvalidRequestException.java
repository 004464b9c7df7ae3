package dev.holdfast.client;

/** A field of the request is invalid, according to the server or to the client itself. */
public final class InvalidRequestException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  InvalidRequestException(Failure failure) {
    super(failure);
  }
}
