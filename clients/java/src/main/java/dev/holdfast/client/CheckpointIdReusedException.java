package dev.holdfast.client;

/** The checkpoint id belongs to another checkpoint. */
public final class CheckpointIdReusedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  CheckpointIdReusedException(Failure failure) {
    super(failure);
  }
}
