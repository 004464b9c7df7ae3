package dev.holdfast.client;

/** The workflow exists, the checkpoint does not. */
public final class CheckpointNotFoundException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  CheckpointNotFoundException(Failure failure) {
    super(failure);
  }
}
