"""Google ADK: a session service that keeps sessions and their events in Holdfast. Extra: `holdfast-client[adk]`."""

from holdfast.adapters.adk.service import SESSION_FORMAT, HoldfastSessionService

__all__ = ["SESSION_FORMAT", "HoldfastSessionService"]
