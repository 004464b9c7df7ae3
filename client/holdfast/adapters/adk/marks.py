"""Marks in sessions: what a session object was made from, so that a stale one is refused before anything is written."""

from dataclasses import asdict, dataclass
from json import dumps, loads
from typing import Self

from google.adk.errors import StaleSessionError
from google.adk.sessions import Session

from holdfast._core.errors import RevisionConflictError
from holdfast.adapters.adk.values import FAILURES


class SessionConflictError(RevisionConflictError, StaleSessionError):
    """The session was written to since this copy of it was read. ADK's error and Holdfast's in one."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a session object was made from.

    Attributes:
        seen: the newest checkpoint.
        good: the newest checkpoint that was whole.
        head: the revision of the log's head; None if it was damaged.
        epoch: the epoch that the run acquired at its first append; None before that, and if ownership is shared.

    """

    seen: str
    good: str
    head: int | None
    epoch: int | None = None

    @classmethod
    def of(cls, session: Session) -> Self | None:
        """Return the mark of a session; None if it has none, because it was not read by a session service.

        Raises:
            SessionConflictError: it has the mark of another session service.

        """
        marker = session._storage_update_marker  # noqa: SLF001 - ADK's place for it
        if marker is None:
            return None
        try:
            return cls(**loads(marker))
        except FAILURES:
            raise conflict(session, "it was read by another session service") from None

    def put(self, session: Session) -> None:
        """Put the mark into a session."""
        session._storage_update_marker = dumps(asdict(self))  # noqa: SLF001


def conflict(session: Session, why: str = "it was written to since it was read") -> SessionConflictError:
    """Return the error of a session that is not as it is stored."""
    return SessionConflictError(
        f"session {session.id!r} cannot be appended to: {why}; read it again",
        reason="REVISION_CONFLICT",
        metadata={"session_id": session.id},
        advice="Read the session again, and append to that.",
    )
