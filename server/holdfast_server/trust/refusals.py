"""Refusals of callers that the server does not know."""

from holdfast_server.protocol.errors import HoldfastError, Reason


def unauthenticated(problem: str, **metadata: object) -> HoldfastError:
    """Return the refusal of a caller without valid credentials.

    Args:
        problem: what is missing, malformed or expired. It never contains the credentials.
        metadata: values for programs.

    """
    return HoldfastError(Reason.UNAUTHENTICATED, problem, **metadata)
