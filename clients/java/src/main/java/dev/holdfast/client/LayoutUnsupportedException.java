package dev.holdfast.client;

/** The store was written by a newer server. */
public final class LayoutUnsupportedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  LayoutUnsupportedException(Failure failure) {
    super(failure);
  }
}
