"""What the SDK returns and raises, as answers of the protocol."""

from collections.abc import Iterable
from typing import Any

import holdfast

from conformance.content import described


def checkpoint(found: holdfast.Checkpoint) -> dict[str, Any]:
    """Return a checkpoint."""
    return {
        "namespace": found.namespace,
        "workflow_id": found.workflow_id,
        "checkpoint_id": found.checkpoint_id,
        "revision": str(found.revision),
        "parent_id": found.parent_id,
        "format": format_of(found.format),
        "labels": dict(found.labels),
        "parts": [
            {"name": part.name, "size": str(part.size_bytes), "sha256": part.sha256.hex()} for part in found.parts
        ],
        "size": str(found.size_bytes),
        "epoch": str(found.epoch),
        "request_id": found.request_id,
        "trace_id": found.trace_id,
        "pinned": found.pinned,
        "replayed": found.replayed,
    }


def loaded(found: holdfast.LoadedCheckpoint) -> dict[str, Any]:
    """Return a loaded checkpoint."""
    return {
        **checkpoint(found.info),
        "format": format_of(found.format),
        "data": [{"name": name, "data": described(data)} for name, data in found.parts.items()],
        "fell_back": found.fell_back,
        "skipped": skipped(found.skipped),
        "head_revision": str(found.head_revision),
        "records": records(found.records),
        "migrated_from": None if found.migrated_from is None else format_of(found.migrated_from),
    }


def loaded_file(found: holdfast.LoadedFile) -> dict[str, Any]:
    """Return a checkpoint of which a part was loaded into a file."""
    return {
        **checkpoint(found.info),
        "fell_back": found.fell_back,
        "skipped": skipped(found.skipped),
        "head_revision": str(found.head_revision),
    }


def skipped(found: Iterable[holdfast.Skipped]) -> list[dict[str, str]]:
    """Return checkpoints that were skipped, or findings."""
    return [
        {"checkpoint_id": each.checkpoint_id, "revision": str(each.revision), "reason": each.reason} for each in found
    ]


def records(found: Iterable[holdfast.Record]) -> list[dict[str, Any]]:
    """Return records."""
    return [{"key": record.key, "data": described(record.data)} for record in found]


def format_of(found: holdfast.Format) -> dict[str, Any]:
    """Return a format."""
    return {"name": found.name, "version": found.version}


def validation(found: holdfast.Validation) -> dict[str, Any]:
    """Return the result of a validation."""
    return {
        "resumable": found.resumable,
        "findings": skipped(found.findings),
        "checkpoint": None if found.checkpoint is None else checkpoint(found.checkpoint),
        "last_good": None if found.last_good is None else checkpoint(found.last_good),
    }


def error_of(error: Exception) -> dict[str, Any]:
    """Return the error of a call, or the fault of a command that the driver cannot run."""
    if not isinstance(error, holdfast.HoldfastError):
        return {"fault": f"{type(error).__name__}: {error}"}
    last_good = getattr(error, "last_good", None)
    wait = error.retry_after_seconds
    return {
        "error": {
            "reason": error.reason,
            "code": error.code.name,
            "message": error.message,
            "trace_id": error.trace_id,
            "request_id": error.request_id,
            "retryable": error.retryable,
            "metadata": error.metadata,
            "retry_after_ms": None if wait is None else wait * 1000,
            "field_violations": [list(each) for each in error.field_violations],
            "last_good": None if last_good is None else checkpoint(last_good),
        }
    }
