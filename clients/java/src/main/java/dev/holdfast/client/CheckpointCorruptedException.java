package dev.holdfast.client;

/** Stored bytes are missing or do not match their digest. */
public final class CheckpointCorruptedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  CheckpointCorruptedException(Failure failure) {
    super(failure);
  }
}
