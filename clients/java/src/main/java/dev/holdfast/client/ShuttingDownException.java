package dev.holdfast.client;

/** The server is shutting down. */
public final class ShuttingDownException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  ShuttingDownException(Failure failure) {
    super(failure);
  }
}
