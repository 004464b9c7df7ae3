"""Keep CrewAI's flows and checkpoints in Holdfast. Installed as `holdfast-client[crewai]`.

The names in `__all__` are public; the modules are private.
"""

from holdfast.adapters.crewai.checkpoints import HoldfastCheckpointProvider
from holdfast.adapters.crewai.moving import import_flows
from holdfast.adapters.crewai.moving_checkpoints import import_checkpoints
from holdfast.adapters.crewai.persistence import HoldfastFlowPersistence
from holdfast.adapters.crewai.states import FORMAT
from holdfast.adapters.plain_json import UnsavableValueError

__all__ = [
    "FORMAT",
    "HoldfastCheckpointProvider",
    "HoldfastFlowPersistence",
    "UnsavableValueError",
    "import_checkpoints",
    "import_flows",
]
