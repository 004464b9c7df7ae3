package dev.holdfast.client;

/** The server cannot fetch the keys of the tokens' issuer, one of which the token names. */
public final class IssuerUnavailableException extends WorkflowCheckpointResumeException {
  private static final long serialVersionUID = 1L;

  IssuerUnavailableException(Failure failure) {
    super(failure);
  }
}
