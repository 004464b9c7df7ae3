package dev.holdfast.client;

/**
 * The log of the workflow is older than it was, or another one: somebody has changed it in the
 * store. {@code metadata()} names the head that was seen before ({@code seen_revision}, {@code
 * seen_digest}) and the one that the server has now ({@code head_revision}, {@code head_digest}).
 * The call itself may have taken effect on the log as it is now.
 */
public final class RolledBackException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  RolledBackException(Failure failure) {
    super(failure);
  }
}
