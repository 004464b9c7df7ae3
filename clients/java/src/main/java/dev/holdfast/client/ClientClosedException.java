package dev.holdfast.client;

/** The client was closed before the call or during it. */
public final class ClientClosedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  ClientClosedException(Failure failure) {
    super(failure);
  }
}
