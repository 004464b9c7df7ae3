package dev.holdfast.client;

/** The server failed; its log has the trace id. */
public final class InternalException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  InternalException(Failure failure) {
    super(failure);
  }
}
