"""Holdfast, the checkpoint store for workflow engines: the client.

Every public name is here; whatever lies in a package or module with a leading underscore may change at any time. A
name is loaded when it is first used, so that the stubs in `holdfast.v1` can be imported without the client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast import _package

# Marks this file as ours, for the check and for the other modules.
__distribution__ = _package.DISTRIBUTION
__version__ = _package.VERSION
_package.check()

if TYPE_CHECKING:
    from holdfast._async.client import AsyncClient
    from holdfast._async.workflow import AsyncWorkflow
    from holdfast._core.checkpoint import (
        AcceptedFormat,
        Checkpoint,
        Format,
        LoadedCheckpoint,
        LoadedFile,
        LogEntry,
        Page,
        PartInfo,
        Record,
        RewrapFailure,
        Rewrapped,
        Skipped,
        Validation,
        WorkflowInfo,
        Writer,
    )
    from holdfast._core.errors import (
        AuditUnavailableError,
        CheckpointCorruptedError,
        CheckpointDeletedError,
        CheckpointIdReusedError,
        CheckpointNotFoundError,
        ClientClosedError,
        CommitUnknownError,
        DeadlineExceededError,
        EncryptionKeyMissingError,
        FormatIncompatibleError,
        HandshakeFailedError,
        HoldfastError,
        InternalError,
        InvalidRequestError,
        IssuerUnavailableError,
        KeyringRequiredError,
        KeyServiceUnavailableError,
        LayoutUnsupportedError,
        LeaseHeldError,
        LogFullError,
        NotEncryptedError,
        OverloadedError,
        PayloadTooLargeError,
        PermissionDeniedError,
        QuotaExceededError,
        RequestIdReusedError,
        RevisionConflictError,
        RolledBackError,
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
    from holdfast._core.head import Head
    from holdfast._core.migrations import Migrations
    from holdfast._core.retry import RetryPolicy
    from holdfast._core.store_status import MaintenanceFinding, MaintenanceReport, StoreStatus
    from holdfast._core.tls import TLS
    from holdfast._core.usage import NamespaceUsage, UsagePage, WorkflowUsage
    from holdfast._encryption.keyring import Keyring
    from holdfast._sync.client import Client
    from holdfast._sync.workflow import Workflow

__all__ = [
    "TLS",
    "AcceptedFormat",
    "AsyncClient",
    "AsyncWorkflow",
    "AuditUnavailableError",
    "Checkpoint",
    "CheckpointCorruptedError",
    "CheckpointDeletedError",
    "CheckpointIdReusedError",
    "CheckpointNotFoundError",
    "Client",
    "ClientClosedError",
    "CommitUnknownError",
    "DeadlineExceededError",
    "EncryptionKeyMissingError",
    "Format",
    "FormatIncompatibleError",
    "HandshakeFailedError",
    "Head",
    "HoldfastError",
    "InternalError",
    "InvalidRequestError",
    "IssuerUnavailableError",
    "KeyServiceUnavailableError",
    "Keyring",
    "KeyringRequiredError",
    "LayoutUnsupportedError",
    "LeaseHeldError",
    "LoadedCheckpoint",
    "LoadedFile",
    "LogEntry",
    "LogFullError",
    "MaintenanceFinding",
    "MaintenanceReport",
    "Migrations",
    "NamespaceUsage",
    "NotEncryptedError",
    "OverloadedError",
    "Page",
    "PartInfo",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "Record",
    "RequestIdReusedError",
    "RetryPolicy",
    "RevisionConflictError",
    "RewrapFailure",
    "Rewrapped",
    "RolledBackError",
    "ServerUnavailableError",
    "ShuttingDownError",
    "Skipped",
    "StoreAccessDeniedError",
    "StoreReplacedError",
    "StoreStatus",
    "StoreUnavailableError",
    "UnauthenticatedError",
    "UnimplementedError",
    "UploadLostError",
    "UsagePage",
    "Validation",
    "Workflow",
    "WorkflowCheckpointResumeError",
    "WorkflowInfo",
    "WorkflowNotFoundError",
    "WorkflowUsage",
    "Writer",
    "WriterFencedError",
]

# The modules of the names that are neither errors nor values.
_HOMES = {
    "AsyncClient": "holdfast._async.client",
    "AsyncWorkflow": "holdfast._async.workflow",
    "Client": "holdfast._sync.client",
    "Head": "holdfast._core.head",
    "Keyring": "holdfast.encryption",
    "MaintenanceFinding": "holdfast._core.store_status",
    "MaintenanceReport": "holdfast._core.store_status",
    "Migrations": "holdfast._core.migrations",
    "NamespaceUsage": "holdfast._core.usage",
    "StoreStatus": "holdfast._core.store_status",
    "RetryPolicy": "holdfast._core.retry",
    "TLS": "holdfast._core.tls",
    "UsagePage": "holdfast._core.usage",
    "Workflow": "holdfast._sync.workflow",
    "WorkflowUsage": "holdfast._core.usage",
}

# Type checkers must not see this function: to them it would define every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load a public name, once."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        home = "holdfast._core.errors" if name.endswith("Error") else "holdfast._core.checkpoint"
        value = globals()[name] = getattr(import_module(_HOMES.get(name, home)), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
