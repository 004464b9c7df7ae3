"""Holdfast, the checkpoint store for workflow engines: the client."""

from holdfast.checkpoint import (
    AcceptedFormat,
    Checkpoint,
    Format,
    LoadedCheckpoint,
    PartInfo,
    Skipped,
    Validation,
    Writer,
)
from holdfast.client import AsyncClient
from holdfast.errors import *  # noqa: F403 - every class of errors.__all__ is public
from holdfast.errors import __all__ as _errors
from holdfast.migrations import Migrations
from holdfast.retry import RetryPolicy
from holdfast.sync.client import Client

__all__ = [
    "AcceptedFormat",
    "AsyncClient",
    "Checkpoint",
    "Client",
    "Format",
    "LoadedCheckpoint",
    "Migrations",
    "PartInfo",
    "RetryPolicy",
    "Skipped",
    "Validation",
    "Writer",
]
__all__ += _errors
