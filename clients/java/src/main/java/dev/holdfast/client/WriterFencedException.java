package dev.holdfast.client;

/** A newer writer owns the workflow. */
public final class WriterFencedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  WriterFencedException(Failure failure) {
    super(failure);
  }
}
