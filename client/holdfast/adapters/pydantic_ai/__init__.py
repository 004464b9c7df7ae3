"""Pydantic AI: a store for `StepPersistence`. Installed as `holdfast-client[pydantic-ai]`."""

from holdfast.adapters.pydantic_ai.contents import EVENT_FORMAT, RUN_FORMAT, SNAPSHOT_FORMAT, TOOL_EFFECT_FORMAT
from holdfast.adapters.pydantic_ai.store import HoldfastStepStore

__all__ = ["EVENT_FORMAT", "RUN_FORMAT", "SNAPSHOT_FORMAT", "TOOL_EFFECT_FORMAT", "HoldfastStepStore"]
