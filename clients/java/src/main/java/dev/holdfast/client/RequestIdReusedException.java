package dev.holdfast.client;

/** The request id belongs to a request with other content. */
public final class RequestIdReusedException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  RequestIdReusedException(Failure failure) {
    super(failure);
  }
}
