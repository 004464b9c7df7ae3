"""CrewAI flows and checkpoints that are kept in Holdfast."""

from holdfast.adapters.crewai.persistence import HoldfastFlowPersistence
from holdfast.adapters.crewai.states import FORMAT

__all__ = ["FORMAT", "HoldfastFlowPersistence"]
