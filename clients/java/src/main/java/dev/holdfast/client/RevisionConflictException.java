package dev.holdfast.client;

/**
 * An entry after the expected revision conflicts with the request: a save, a fence, or the
 * workflow's deletion.
 */
public final class RevisionConflictException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  RevisionConflictException(Failure failure) {
    super(failure);
  }
}
