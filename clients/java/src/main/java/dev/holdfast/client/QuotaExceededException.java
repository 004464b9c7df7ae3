package dev.holdfast.client;

/** A quota is used up. */
public final class QuotaExceededException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  QuotaExceededException(Failure failure) {
    super(failure);
  }
}
