package dev.holdfast.client;

/** The thread of a blocking call was interrupted. The call may or may not have taken effect. */
public final class CallInterruptedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  CallInterruptedException(Failure failure) {
    super(failure);
  }
}
