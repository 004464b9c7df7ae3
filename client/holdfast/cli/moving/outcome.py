"""The output and the exit code of all imports and exports."""

import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import Progress as ProgressBar
from rich.progress import SpinnerColumn, TextColumn

from holdfast.cli import encryption, streams
from holdfast.cli.exit_codes import BY_REASON, CONFLICT, DAMAGED, INCOMPATIBLE, INTERNAL, NOT_FOUND, UNAVAILABLE
from holdfast.cli.streams import LocalIOError
from holdfast.cli.text import json_text, printable
from holdfast.moving import Moved, Report

_CODES = {
    "NOT_FOUND": NOT_FOUND,
    "OTHER_CONTENT": CONFLICT,
    "UNREADABLE": INCOMPATIBLE,
    "DIFFERENT": DAMAGED,
    "SOURCE_CHANGED": UNAVAILABLE,
}
_SECONDS_BETWEEN_LINES = 1.0
_COUNTS = ("read", "written", "present", "verified")


def exit_code(report: Report) -> int:
    """Return the exit code of a report: that of its first problem."""
    problems = [moved.problem.reason for moved in report.problems if moved.problem is not None]
    return (_CODES.get(problems[0]) or BY_REASON.get(problems[0], INTERNAL)) if problems else 0


class Lines:
    """Prints each finished item and the totals: as text, or as lines of JSON."""

    def __init__(self, given: Namespace, item: str) -> None:
        self._is_json: bool = given.json
        self._item = item
        self._verb = "would be written" if given.dry_run else "written"
        self._bar: Any = None
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show a spinner with the counts of the current item, if stderr is a terminal."""
        console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        if self._is_json or not console.is_terminal:
            yield
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
        with ProgressBar(*columns, console=console, transient=True) as bar:
            self._bar = bar
            self._task = bar.add_task("reading", total=None)
            yield

    def progress(self, moved: Moved) -> None:
        """Print an item if it is finished, and otherwise its counts once in a while.

        Raises:
            LocalIOError: printing failed, and the move ends early.

        """
        try:
            self._show(moved)
        except LocalIOError as error:
            error.is_early = True
            raise

    def _show(self, moved: Moved) -> None:
        if moved.is_done:
            self._print("item", _document(moved), _line(moved.name, self._counts(moved), moved))
        elif self._bar is not None:
            self._bar.update(self._task, description=printable(f"{moved.name}: {self._counts(moved)}"))
        elif self._is_json and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            self._print("progress", _document(moved), "")

    def total(self, report: Report) -> None:
        """Print the totals."""
        counts = {"items": report.items, "failed": report.failed, **{name: getattr(report, name) for name in _COUNTS}}
        text = f"{report.items} {self._item}{'' if report.items == 1 else 's'}: {self._counts(report)}"
        self._print("total", counts, f"{text}, {report.failed} failed" if report.failed else text)

    def _counts(self, moved: Moved | Report) -> str:
        counts = f"{moved.read} read, {moved.written} {self._verb}, {moved.present} present"
        return f"{counts}, {moved.verified} verified"

    def _print(self, kind: str, document: dict[str, Any], text: str) -> None:
        if self._is_json:
            text = json_text({kind: document})
        streams.write(f"{text}\n")


def _line(name: str, counts: str, moved: Moved) -> str:
    text = f"{name}: {counts}"
    if moved.problem is not None:
        advice = encryption.advice_on(moved.problem.reason)
        text = f"{text}: {moved.problem.reason}: {moved.problem.message}{f'. {advice}' if advice else ''}"
    return printable(text)


def _document(moved: Moved) -> dict[str, Any]:
    document = asdict(moved)
    del document["is_done"]
    return document
