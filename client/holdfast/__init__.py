"""Holdfast, the checkpoint store for workflow engines: the client."""

from holdfast import _package

# Marks this file as ours, for the check and for the other modules.
__distribution__ = _package.DISTRIBUTION
__version__ = _package.VERSION
_package.check()

from holdfast.checkpoint import (
    AcceptedFormat,
    Checkpoint,
    Format,
    LoadedCheckpoint,
    PartInfo,
    Record,
    Skipped,
    Validation,
    WorkflowInfo,
    Writer,
)
from holdfast.client import AsyncClient
from holdfast.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointIdReusedError,
    CheckpointNotFoundError,
    ClientClosedError,
    CommitUnknownError,
    DeadlineExceededError,
    FormatIncompatibleError,
    HoldfastError,
    InternalError,
    InvalidRequestError,
    LayoutUnsupportedError,
    LogFullError,
    OverloadedError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    RequestIdReusedError,
    RevisionConflictError,
    ServerUnavailableError,
    ShuttingDownError,
    StoreAccessDeniedError,
    StoreReplacedError,
    StoreUnavailableError,
    UnauthenticatedError,
    UnimplementedError,
    UploadLostError,
    WorkflowCheckpointResumeError,
    WorkflowNotFoundError,
    WriterFencedError,
)
from holdfast.migrations import Migrations
from holdfast.retry import RetryPolicy
from holdfast.sync.client import Client

__all__ = [
    "AcceptedFormat",
    "AsyncClient",
    "Checkpoint",
    "CheckpointCorruptedError",
    "CheckpointDeletedError",
    "CheckpointIdReusedError",
    "CheckpointNotFoundError",
    "Client",
    "ClientClosedError",
    "CommitUnknownError",
    "DeadlineExceededError",
    "Format",
    "FormatIncompatibleError",
    "HoldfastError",
    "InternalError",
    "InvalidRequestError",
    "LayoutUnsupportedError",
    "LoadedCheckpoint",
    "LogFullError",
    "Migrations",
    "OverloadedError",
    "PartInfo",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "Record",
    "RequestIdReusedError",
    "RetryPolicy",
    "RevisionConflictError",
    "ServerUnavailableError",
    "ShuttingDownError",
    "Skipped",
    "StoreAccessDeniedError",
    "StoreReplacedError",
    "StoreUnavailableError",
    "UnauthenticatedError",
    "UnimplementedError",
    "UploadLostError",
    "Validation",
    "WorkflowCheckpointResumeError",
    "WorkflowInfo",
    "WorkflowNotFoundError",
    "Writer",
    "WriterFencedError",
]
