package dev.holdfast.client;

/** The store refuses the server access. */
public final class StoreAccessDeniedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  StoreAccessDeniedException(Failure failure) {
    super(failure);
  }
}
