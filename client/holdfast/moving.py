"""Records of an import from another store, or of an export to one. The adapters of engines do the work.

An item is what an engine names: a thread, a session, a flow. Each item fails alone. A moved item is verified: it was
loaded again from both stores, and is equal.
"""

from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from holdfast._core.errors import HoldfastError

_MAX_PROBLEMS = 1000
# Errors of a call that say something about one item only. All others end the whole move.
_OF_ITEM = {
    "CHECKPOINT_CORRUPTED": "",
    "FORMAT_INCOMPATIBLE": "",
    "INVALID_REQUEST": "",
    "LAYOUT_UNSUPPORTED": "",
    "LOG_FULL": "",
    "PAYLOAD_TOO_LARGE": "",
    "LEASE_HELD": "OTHER_CONTENT",
    "REVISION_CONFLICT": "OTHER_CONTENT",
    "WRITER_FENCED": "OTHER_CONTENT",
}
# Why an item was not moved. An item can also have the reason of a HoldfastError.
REASONS = ("NOT_FOUND", "OTHER_CONTENT", "UNREADABLE", "DIFFERENT", "SOURCE_CHANGED")


class SourceError(ValueError):
    """The other store cannot be opened or read at all. The message names it, and the package that is missing."""


class ItemError(Exception):
    """An item cannot be moved. The others can.

    Args:
        reason: "NOT_FOUND": the source has no such item. "OTHER_CONTENT": the target has the item with other content,
            and nothing of it was overwritten. "UNREADABLE": the source has a value that cannot be read or kept.
            "DIFFERENT": the verification found a difference. "SOURCE_CHANGED": the item was written while it was read.
        message: what was found, and where.

    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an item was not moved.

    Attributes:
        reason: that of an `ItemError`, or of a `HoldfastError`.
        message: what was found, and where.

    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Moved:
    """What has been moved of one item.

    Attributes:
        name: the item's name.
        read: how many checkpoints were read from the source.
        written: how many were written to the target, or would be without a dry run.
        present: how many the target had already.
        verified: how many were loaded from both stores and are equal.
        problem: why the item was not moved as a whole; None if it was.
        is_done: whether the item is finished.

    """

    name: str
    read: int = 0
    written: int = 0
    present: int = 0
    verified: int = 0
    problem: Problem | None = None
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a move has done.

    Attributes:
        items: how many items were found.
        failed: how many of them have a problem.
        read: how many checkpoints were read from the source.
        written: how many were written to the target, or would be without a dry run.
        present: how many the target had already.
        verified: how many were loaded from both stores and are equal.
        problems: the first 1000 items with a problem.

    """

    items: int = 0
    failed: int = 0
    read: int = 0
    written: int = 0
    present: int = 0
    verified: int = 0
    problems: tuple[Moved, ...] = ()

    def plus(self, moved: Moved) -> "Report":
        """Return the report with one more item."""
        has_problem = moved.problem is not None
        kept = (moved,) if has_problem and len(self.problems) < _MAX_PROBLEMS else ()
        return Report(
            self.items + 1,
            self.failed + has_problem,
            self.read + moved.read,
            self.written + moved.written,
            self.present + moved.present,
            self.verified + moved.verified,
            (*self.problems, *kept),
        )


# Called as an item grows, and once with `is_done`.
Progress: TypeAlias = Callable[[Moved], None]


class Item:
    """An item that is being moved, and its counts.

    Args:
        name: the item's name.
        progress: called after each change; None to call nothing.

    """

    def __init__(self, name: str, progress: Progress | None = None) -> None:
        self.moved = Moved(name)
        self._progress = progress

    @property
    def name(self) -> str:
        """Its name."""
        return self.moved.name

    def add(self, *, read: int = 0, written: int = 0, present: int = 0, verified: int = 0) -> None:
        """Add to the counts."""
        before = self.moved
        self._change(
            replace(
                before,
                read=before.read + read,
                written=before.written + written,
                present=before.present + present,
                verified=before.verified + verified,
            )
        )

    def finish(self, problem: Problem | None = None) -> None:
        """Mark the item as done, with or without a problem."""
        self._change(replace(self.moved, problem=problem, is_done=True))

    def _change(self, moved: Moved) -> None:
        self.moved = moved
        if self._progress is not None:
            self._progress(moved)


async def move_each(
    names: AsyncIterable[str], move: Callable[[Item], Awaitable[None]], progress: Progress | None = None
) -> Report:
    """Move items one after another. An item that fails is reported, and the next one follows.

    Args:
        names: the names of the items.
        move: moves one item and adds to its counts.
        progress: called as items grow.

    Raises:
        SourceError: the other store cannot be read.
        HoldfastError: a call failed for another reason than the item's.

    """
    report = Report()
    async for name in names:
        item = Item(name, progress)
        try:
            await move(item)
        except ItemError as error:
            item.finish(Problem(error.reason, str(error)))
        except HoldfastError as error:
            if error.reason not in _OF_ITEM:
                raise
            item.finish(Problem(_OF_ITEM[error.reason] or error.reason, error.message))
        else:
            item.finish()
        report = report.plus(item.moved)
    return report
