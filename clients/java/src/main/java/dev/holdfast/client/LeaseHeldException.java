package dev.holdfast.client;

/**
 * Another writer holds a lease of the workflow; {@link #metadata()} names it, {@link #retryAfter()}
 * is the time left.
 */
public final class LeaseHeldException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  LeaseHeldException(Failure failure) {
    super(failure);
  }
}
