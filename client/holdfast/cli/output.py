"""What the command prints: tables for people, JSON for programs."""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from holdfast.checkpoint import Checkpoint, LoadedCheckpoint, Skipped, Validation, WorkflowInfo
from holdfast.errors import HoldfastError
from holdfast.payload import Progress

try:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as ProgressBar
    from rich.table import Table
except ImportError as error:
    raise ImportError("the command needs the extra `cli`: pip install 'holdfast-client[cli]'") from error


class Output(ABC):
    """Where the results of a command go."""

    @abstractmethod
    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """One checkpoint."""

    @abstractmethod
    def checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """A list of them."""

    @abstractmethod
    def workflows(self, workflows: Sequence[WorkflowInfo]) -> None:
        """A list of workflows."""

    @abstractmethod
    def validation(self, verdict: Validation) -> None:
        """What a check found."""

    @abstractmethod
    def values(self, values: Mapping[str, Any]) -> None:
        """Names with values."""

    @abstractmethod
    def fallback(self, loaded: LoadedCheckpoint) -> None:
        """Say so where an older checkpoint was loaded than asked for."""

    @abstractmethod
    def error(self, error: HoldfastError) -> None:
        """What went wrong, and what to do next."""

    @contextmanager
    def progress(self, verb: str) -> Iterator[Progress | None]:
        """How far a transfer is. Nothing where nobody watches."""
        yield None


class JsonOutput(Output):
    """One JSON document on stdout; errors on stderr."""

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        _print_json(_plain(checkpoint))

    def checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        _print_json({"checkpoints": [_plain(each) for each in checkpoints]})

    def workflows(self, workflows: Sequence[WorkflowInfo]) -> None:
        _print_json({"workflows": [_plain(each) for each in workflows]})

    def validation(self, verdict: Validation) -> None:
        _print_json(_plain(verdict))

    def values(self, values: Mapping[str, Any]) -> None:
        _print_json(dict(values))

    def fallback(self, loaded: LoadedCheckpoint) -> None:
        if loaded.fell_back:
            found = {"fell_back": True, "skipped": [_plain(each) for each in loaded.skipped]}
            sys.stderr.write(json.dumps(found) + "\n")

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
        sys.stderr.write(json.dumps({"error": described}) + "\n")


class TableOutput(Output):
    """Tables on stdout; progress, fallbacks and errors on stderr."""

    def __init__(self) -> None:
        self._out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self._notes = Console(stderr=True, highlight=False, soft_wrap=True)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self.checkpoints([checkpoint])

    def checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        self._table(
            ("revision", "checkpoint", "format", "size", "created", "labels"),
            [
                (
                    str(each.revision),
                    each.checkpoint_id,
                    f"{each.format.name}:{each.format.version}",
                    decimal(each.size_bytes),
                    _time(each.created),
                    ", ".join(f"{key}={value}" for key, value in each.labels.items()),
                )
                for each in checkpoints
            ],
        )

    def workflows(self, workflows: Sequence[WorkflowInfo]) -> None:
        self._table(
            ("workflow", "head", "newest checkpoint", "epoch", "updated"),
            [
                (
                    each.workflow_id,
                    str(each.head_revision),
                    str(each.checkpoint_revision or "none"),
                    str(each.epoch),
                    _time(each.updated),
                )
                for each in workflows
            ],
        )

    def validation(self, verdict: Validation) -> None:
        self._out.print("resumable" if verdict.resumable else "not resumable", markup=False)
        if verdict.findings:
            self._table(("revision", "checkpoint", "reason", "what"), [_finding(each) for each in verdict.findings])
        if verdict.last_good is not None and not verdict.resumable:
            good = verdict.last_good
            self._out.print(f"last good: revision {good.revision}, {good.checkpoint_id}", markup=False)

    def values(self, values: Mapping[str, Any]) -> None:
        self._table(("name", "value"), list(_rows(values)))

    def fallback(self, loaded: LoadedCheckpoint) -> None:
        if not loaded.fell_back:
            return
        self._notes.print(f"fell back to revision {loaded.revision}, {loaded.checkpoint_id}", markup=False)
        for each in loaded.skipped:
            self._notes.print(f"  skipped revision {each.revision}: {each.reason}: {each.message}", markup=False)

    def error(self, error: HoldfastError) -> None:
        lines = [f"error: {error.reason}: {error.message}"]
        lines += [f"  {name}: {value}" for name, value in error.metadata.items()]
        lines += [f"  request id: {error.request_id}"] if error.request_id else []
        lines += [f"  trace id: {error.trace_id}"] if error.trace_id else []
        lines += [f"  next: {error.advice}"] if error.advice else []
        self._notes.print("\n".join(lines), markup=False)

    @contextmanager
    def progress(self, verb: str) -> Iterator[Progress | None]:
        if not self._notes.is_terminal:
            yield None
            return
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with ProgressBar(verb, *columns, console=self._notes, transient=True) as bar:
            task = bar.add_task(verb, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(_escaped(cell) for cell in row))
        # A table that is piped on keeps its rows whole, however wide.
        self._out.print(table, width=None if self._out.is_terminal else 400)


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _plain(value: Any) -> Any:
    def plain(each: Any) -> Any:
        if isinstance(each, datetime):
            return each.isoformat()
        if isinstance(each, bytes):
            return each.hex()
        if isinstance(each, Mapping):
            return {key: plain(inner) for key, inner in each.items()}
        return [plain(inner) for inner in each] if isinstance(each, list | tuple) else each

    return plain(asdict(value))


def _finding(finding: Skipped) -> tuple[str, str, str, str]:
    return (str(finding.revision or ""), finding.checkpoint_id, finding.reason, finding.message)


def _rows(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _escaped(cell: str) -> str:
    return cell.replace("[", r"\[")
