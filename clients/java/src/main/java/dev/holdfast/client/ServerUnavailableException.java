package dev.holdfast.client;

/** The server cannot be reached, or the connection broke. */
public final class ServerUnavailableException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  ServerUnavailableException(Failure failure) {
    super(failure);
  }
}
