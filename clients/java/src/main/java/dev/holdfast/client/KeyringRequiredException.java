package dev.holdfast.client;

/** The checkpoint is encrypted, and the client has no keyring. */
public final class KeyringRequiredException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  KeyringRequiredException(Failure failure) {
    super(failure);
  }
}
