"""Keep the sessions of Google ADK, with their events and states, in Holdfast. Installed as `holdfast-client[adk]`.

The names in `__all__` are public; the modules are private.
"""

from holdfast.adapters.adk.moving.sessions import import_sessions
from holdfast.adapters.adk.origin import SessionConflictError
from holdfast.adapters.adk.reader import SESSION_FORMAT
from holdfast.adapters.adk.service import HoldfastSessionService

__all__ = ["SESSION_FORMAT", "HoldfastSessionService", "SessionConflictError", "import_sessions"]
