package dev.holdfast.client;

/** The target does not know the call: it is an older server, or not a Holdfast server. */
public final class UnimplementedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  UnimplementedException(Failure failure) {
    super(failure);
  }
}
