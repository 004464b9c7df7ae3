package dev.holdfast.client;

/** The server cannot reach its store. */
public final class StoreUnavailableException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  StoreUnavailableException(Failure failure) {
    super(failure);
  }
}
