"""What a command prints: results, errors and progress."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from holdfast._core.payload import Progress
from holdfast._core.store_status import StoreStatus


class Output(ABC):
    """A printer of results and errors."""

    @abstractmethod
    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Print one checkpoint."""

    @abstractmethod
    def checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Print a list of checkpoints."""

    @abstractmethod
    def history(self, checkpoints: Sequence[LoadedCheckpoint]) -> None:
        """Print a list of checkpoints with their payloads."""

    @abstractmethod
    def records(self, records: Sequence[Record]) -> None:
        """Print the records of a checkpoint."""

    @abstractmethod
    def workflows(self, workflows: Sequence[WorkflowInfo]) -> None:
        """Print a list of workflows."""

    @abstractmethod
    def log(self, entries: Sequence[LogEntry]) -> None:
        """Print a list of entries of a log."""

    @abstractmethod
    def namespaces(self, namespaces: Sequence[str]) -> None:
        """Print a list of namespaces."""

    @abstractmethod
    def entry(self, entry: LogEntry) -> None:
        """Print one entry of a log in one line."""

    @abstractmethod
    def validation(self, validation: Validation) -> None:
        """Print the result of a check."""

    @abstractmethod
    def values(self, values: Mapping[str, Any]) -> None:
        """Print names with values."""

    @abstractmethod
    def store_status(self, status: StoreStatus) -> None:
        """Print the state of a server and its store."""

    @abstractmethod
    def fallback(self, loaded: LoadedFile) -> None:
        """Report a load that fell back to an older checkpoint. Print nothing if it did not."""

    @abstractmethod
    def error(self, error: HoldfastError) -> None:
        """Report an error and what to do about it."""

    @contextmanager
    def progress(self, verb: str) -> Iterator[Progress | None]:
        """Yield a callback that shows the progress of a transfer, or None if progress is not shown."""
        yield None
