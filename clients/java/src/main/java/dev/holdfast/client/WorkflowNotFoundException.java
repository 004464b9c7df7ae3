package dev.holdfast.client;

/** Nothing was ever saved for the workflow. */
public final class WorkflowNotFoundException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  WorkflowNotFoundException(Failure failure) {
    super(failure);
  }
}
