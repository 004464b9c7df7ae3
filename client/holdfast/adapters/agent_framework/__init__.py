"""Keep the checkpoints of Microsoft Agent Framework in Holdfast. Installed as `holdfast-client[agent-framework]`.

The names in `__all__` are public; the modules are private.
"""

from holdfast.adapters.agent_framework.contents import FORMAT
from holdfast.adapters.agent_framework.moving import import_checkpoints
from holdfast.adapters.agent_framework.storage import HoldfastCheckpointStorage

__all__ = ["FORMAT", "HoldfastCheckpointStorage", "import_checkpoints"]
