package dev.holdfast.client;

/** The server, or a proxy in front of it, does not know the caller. */
public final class UnauthenticatedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  UnauthenticatedException(Failure failure) {
    super(failure);
  }
}
