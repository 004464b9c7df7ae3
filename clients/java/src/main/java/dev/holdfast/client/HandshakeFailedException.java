package dev.holdfast.client;

/**
 * Client and server cannot agree on a connection: only one uses TLS, or one refuses the other's
 * certificate.
 */
public final class HandshakeFailedException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  HandshakeFailedException(Failure failure) {
    super(failure);
  }
}
