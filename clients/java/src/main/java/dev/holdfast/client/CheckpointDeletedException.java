package dev.holdfast.client;

/** The checkpoint was deleted. */
public final class CheckpointDeletedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  CheckpointDeletedException(Failure failure) {
    super(failure);
  }
}
