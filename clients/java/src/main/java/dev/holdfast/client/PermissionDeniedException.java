package dev.holdfast.client;

/** The server, or a proxy in front of it, does not allow the call. */
public final class PermissionDeniedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  PermissionDeniedException(Failure failure) {
    super(failure);
  }
}
