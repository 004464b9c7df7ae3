package dev.holdfast.client;

/**
 * The log of the workflow has no revision left, or its next marker would be too large to be read
 * again.
 */
public final class LogFullException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  LogFullException(Failure failure) {
    super(failure);
  }
}
