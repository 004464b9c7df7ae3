package dev.holdfast.client;

/** The caller does not accept the payload's format. */
public final class FormatIncompatibleException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  FormatIncompatibleException(Failure failure) {
    super(failure);
  }
}
