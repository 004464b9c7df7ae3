"""The sessions of callers who signed in: a bounded number, each for a limited time, in memory only.

A session's id is a secret that only the browser's cookie has; it is kept as a digest. The forms of a page carry a mark
that is made from the id with a key of this process, so that another site cannot send them.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

SESSION_SECONDS = 8 * 3600
_IDLE_SECONDS = 3600
_SESSIONS = 1000
# Characters of an id of 256 random bits.
_ID_CHARACTERS = 43


@dataclass(slots=True)
class _Session:
    token: str
    ends_at: float
    used_at: float


class Sessions:
    """The sessions of one console.

    Args:
        now: seconds of a clock that does not go back.
        limit: how many sessions there may be; the oldest one gives way.

    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic, limit: int = _SESSIONS) -> None:
        self._now = now
        self._limit = limit
        self._key = secrets.token_bytes(32)
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def begin(self, token: str) -> str:
        """Begin a session and return its id."""
        session_id = self.new_id()
        now = self._now()
        self._sessions[_digest(session_id)] = _Session(token, now + SESSION_SECONDS, now)
        while len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)
        return session_id

    def token(self, session_id: str) -> str | None:
        """Return the token of a session; None if there is no such session, or not any more."""
        key = _digest(session_id)
        session = self._sessions.get(key)
        if session is None:
            return None
        now = self._now()
        if now >= session.ends_at or now - session.used_at >= _IDLE_SECONDS:
            del self._sessions[key]
            return None
        session.used_at = now
        return session.token

    def end(self, session_id: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(_digest(session_id), None)

    @staticmethod
    def new_id() -> str:
        """Return an id for a browser that has none. Nothing is kept of it."""
        return secrets.token_urlsafe(32)

    @staticmethod
    def is_id(text: str) -> bool:
        """Return whether a text has the form of an id."""
        return len(text) == _ID_CHARACTERS and text.isascii()

    def mark(self, session_id: str) -> str:
        """Return the mark of the forms of a browser."""
        return hmac.new(self._key, session_id.encode(), sha256).hexdigest()

    def is_mark(self, session_id: str, mark: str) -> bool:
        """Return whether a form has the mark of the browser that sent it."""
        return hmac.compare_digest(self.mark(session_id).encode(), mark.encode())


def _digest(session_id: str) -> bytes:
    return sha256(session_id.encode()).digest()
