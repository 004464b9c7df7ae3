package dev.holdfast.client;

/** The outcome of the commit is unknown. The request may be sent again with the same request id. */
public final class CommitUnknownException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  CommitUnknownException(Failure failure) {
    super(failure);
  }
}
