package dev.holdfast.client;

/** The deadline passed before the call was done. */
public final class DeadlineExceededException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  DeadlineExceededException(Failure failure) {
    super(failure);
  }
}
