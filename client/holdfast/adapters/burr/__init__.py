"""Keep the states of Burr applications in Holdfast: each step is a checkpoint. Installed as `holdfast-client[burr]`.

The names in `__all__` are public; the modules are private.
"""

from holdfast.adapters.burr.moving import import_applications
from holdfast.adapters.burr.names import workflow_id
from holdfast.adapters.burr.persisters import AsyncHoldfastPersister, HoldfastPersister
from holdfast.adapters.burr.states import FORMAT
from holdfast.adapters.plain_json import UnsavableValueError

__all__ = [
    "FORMAT",
    "AsyncHoldfastPersister",
    "HoldfastPersister",
    "UnsavableValueError",
    "import_applications",
    "workflow_id",
]
