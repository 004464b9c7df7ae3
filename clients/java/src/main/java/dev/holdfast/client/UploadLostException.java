package dev.holdfast.client;

/** The server has nothing of an upload that should resume, or another stream has resumed it. */
public final class UploadLostException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  UploadLostException(Failure failure) {
    super(failure);
  }
}
