"""The output of commands as JSON, for programs."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime
from typing import Any

from holdfast._core.checkpoint import (
    Checkpoint,
    LoadedCheckpoint,
    LoadedFile,
    LogEntry,
    Record,
    Validation,
    WorkflowInfo,
)
from holdfast._core.errors import HoldfastError
from holdfast._core.head import Head
from holdfast._core.store_status import StoreStatus
from holdfast.cli import streams
from holdfast.cli.output import Output
from holdfast.cli.text import json_text


class JsonOutput(Output):
    """A printer of one JSON document to stdout. Fallbacks and errors go to stderr."""

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        _print_json(_document(checkpoint))

    def checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        _print_json({"checkpoints": [_document(checkpoint) for checkpoint in checkpoints]})

    def history(self, checkpoints: Sequence[LoadedCheckpoint]) -> None:
        _print_json({"checkpoints": [_with_payload(loaded) for loaded in checkpoints]})

    def records(self, records: Sequence[Record]) -> None:
        _print_json({"records": [_record(record) for record in records]})

    def workflows(self, workflows: Sequence[WorkflowInfo]) -> None:
        _print_json({"workflows": [_document(workflow) for workflow in workflows]})

    def log(self, entries: Sequence[LogEntry]) -> None:
        _print_json({"entries": [_entry(each) for each in entries]})

    def namespaces(self, namespaces: Sequence[str]) -> None:
        _print_json({"namespaces": list(namespaces)})

    def entry(self, entry: LogEntry) -> None:
        streams.write(f"{json_text(_entry(entry))}\n")

    def validation(self, validation: Validation) -> None:
        _print_json(_document(validation))

    def values(self, values: Mapping[str, Any]) -> None:
        _print_json(dict(values))

    def store_status(self, status: StoreStatus) -> None:
        document = {**asdict(status), "grace_seconds": status.grace.total_seconds()}
        _print_json(_plain({name: each for name, each in document.items() if name != "grace"}))

    def fallback(self, loaded: LoadedFile) -> None:
        if loaded.fell_back:
            found = {"fell_back": True, "skipped": [_plain(asdict(each)) for each in loaded.skipped]}
            streams.note(json_text(found))

    def error(self, error: HoldfastError) -> None:
        described = {
            "reason": error.reason,
            "code": error.code.name,
            "message": error.message,
            "request_id": error.request_id,
            "trace_id": error.trace_id,
            "metadata": error.metadata,
            "advice": error.advice,
            "retryable": error.retryable,
        }
        streams.note(json_text({"error": described}))


def _print_json(document: Any) -> None:
    streams.write(json_text(document, indent=2) + "\n")


def _document(value: Checkpoint | WorkflowInfo | Validation) -> dict[str, Any]:
    """Return a value for JSON. A head is its text, and is left out if there is none."""
    document: dict[str, Any] = _plain({field.name: _inner(getattr(value, field.name)) for field in fields(value)})
    return document if value.head is not None else {name: each for name, each in document.items() if name != "head"}


def _entry(entry: LogEntry) -> dict[str, Any]:
    """Return an entry of a log for JSON. Attributes that say nothing are left out."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return {name: _plain(_inner(each)) for name, each in values.items() if each not in ("", None, (), 0)}


def _inner(value: Any) -> Any:
    if isinstance(value, Head):
        return str(value)
    if isinstance(value, Checkpoint):
        return _document(value)
    if isinstance(value, tuple):
        return [_inner(each) for each in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _with_payload(loaded: LoadedCheckpoint) -> dict[str, Any]:
    return {
        **_document(loaded.info),
        "data": {name: _base64(data) for name, data in loaded.parts.items()},
        "records": [_record(each) for each in loaded.records],
    }


def _record(record: Record) -> dict[str, str]:
    return {"key": record.key, "data": _base64(record.data)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
