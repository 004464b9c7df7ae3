"""Microsoft Agent Framework: a checkpoint storage in Holdfast. Installed as `holdfast-client[agent-framework]`."""

from holdfast.adapters.agent_framework.contents import FORMAT
from holdfast.adapters.agent_framework.storage import HoldfastCheckpointStorage

__all__ = ["FORMAT", "HoldfastCheckpointStorage"]
