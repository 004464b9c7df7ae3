package dev.holdfast.client;

/** The server's store was emptied or replaced while the server ran. */
public final class StoreReplacedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  StoreReplacedException(Failure failure) {
    super(failure);
  }
}
