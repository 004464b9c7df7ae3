"""CrewAI flows and checkpoints that are kept in Holdfast."""

from holdfast.adapters.crewai.checkpoints import HoldfastCheckpointProvider
from holdfast.adapters.crewai.persistence import HoldfastFlowPersistence
from holdfast.adapters.crewai.states import FORMAT
from holdfast.adapters.plain_json import UnsavableValueError

__all__ = ["FORMAT", "HoldfastCheckpointProvider", "HoldfastFlowPersistence", "UnsavableValueError"]
