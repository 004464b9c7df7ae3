"""The stored version that a session object was made from, so that a stale object is refused before anything is written.

ADK's session objects have a field for it.
"""

from dataclasses import asdict, dataclass
from json import dumps, loads
from typing import Self

from google.adk.errors import StaleSessionError
from google.adk.sessions import Session

from holdfast._core.errors import RevisionConflictError
from holdfast.adapters.adk.values import FAILURES


class SessionConflictError(RevisionConflictError, StaleSessionError):
    """The stored session was changed since this copy of it was read.

    It is both Holdfast's `RevisionConflictError` and ADK's `StaleSessionError`. Read the session again.
    """


@dataclass(frozen=True, slots=True)
class Origin:
    """The stored version that a session object was made from.

    Attributes:
        newest: the id of the newest checkpoint.
        last_good: the id of the newest checkpoint that was whole.
        head: the revision of the log's head; None if the head was damaged.
        epoch: the epoch that the run acquired at its first append; None before that, and if ownership is shared.

    """

    newest: str
    last_good: str
    head: int | None
    epoch: int | None = None

    @classmethod
    def of(cls, session: Session) -> Self | None:
        """Return the origin of a session object; None if no session service has read it.

        Raises:
            SessionConflictError: another session service has read it.

        """
        stored = session._storage_update_marker  # noqa: SLF001 - ADK's field for it
        if stored is None:
            return None
        try:
            return cls(**loads(stored))
        except FAILURES:
            raise conflict(session, "it was read by another session service") from None

    def put(self, session: Session) -> None:
        """Set the origin of a session object."""
        session._storage_update_marker = dumps(asdict(self))  # noqa: SLF001


def conflict(session: Session, why: str = "it was changed since it was read") -> SessionConflictError:
    """Return the error for a session object that differs from the stored session."""
    return SessionConflictError(
        f"session {session.id!r} cannot be appended to: {why}; read it again",
        reason="REVISION_CONFLICT",
        metadata={"session_id": session.id},
        advice="Read the session again, and append to that.",
    )
