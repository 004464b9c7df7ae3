"""Burr's state persisters over Holdfast: each step of an application is a checkpoint."""

from holdfast.adapters.burr.names import workflow_id
from holdfast.adapters.burr.persisters import AsyncHoldfastPersister, HoldfastPersister
from holdfast.adapters.burr.states import FORMAT
from holdfast.adapters.plain_json import UnsavableValueError

__all__ = ["FORMAT", "AsyncHoldfastPersister", "HoldfastPersister", "UnsavableValueError", "workflow_id"]
