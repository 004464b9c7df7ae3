package dev.holdfast.client;

/** The server has too many calls or bytes in flight. */
public final class OverloadedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  OverloadedException(Failure failure) {
    super(failure);
  }
}
