"""Google ADK: a session service that keeps sessions and their events in Holdfast. Extra: `holdfast-client[adk]`."""

from holdfast.adapters.adk.marks import SessionConflictError
from holdfast.adapters.adk.reads import SESSION_FORMAT
from holdfast.adapters.adk.service import HoldfastSessionService

__all__ = ["SESSION_FORMAT", "HoldfastSessionService", "SessionConflictError"]
