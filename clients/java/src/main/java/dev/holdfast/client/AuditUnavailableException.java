package dev.holdfast.client;

/** The server must log the call for an audit and cannot. The call did not take effect. */
public final class AuditUnavailableException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  AuditUnavailableException(Failure failure) {
    super(failure);
  }
}
