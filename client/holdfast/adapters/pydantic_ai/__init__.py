"""Keep what Pydantic AI's `StepPersistence` writes in Holdfast. Installed as `holdfast-client[pydantic-ai]`.

The names in `__all__` are public; the modules are private.
"""

from holdfast.adapters.pydantic_ai.contents import EVENT_FORMAT, RUN_FORMAT, SNAPSHOT_FORMAT, TOOL_EFFECT_FORMAT
from holdfast.adapters.pydantic_ai.store import HoldfastStepStore

__all__ = ["EVENT_FORMAT", "RUN_FORMAT", "SNAPSHOT_FORMAT", "TOOL_EFFECT_FORMAT", "HoldfastStepStore"]
