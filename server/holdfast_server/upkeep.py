"""The commands that keep a store in order, `gc` and `fsck`: progress on stderr, a summary on stdout."""

import asyncio
import json
import math
import shlex
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any, TypeVar

from holdfast_server import streams
from holdfast_server.config import ConfigError
from holdfast_server.lifecycle import stop_signals
from holdfast_server.protocol.checkpoints.load import Depth
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.each_workflow import Failure
from holdfast_server.protocol.maintenance.fsck import Checked, Finding, fsck
from holdfast_server.protocol.maintenance.gc import Collected
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.stores.base import freeing_space

_PROGRESS_SECONDS = 2.0
_Figures = TypeVar("_Figures", Collected, Checked)


async def run_gc(log: Log, policies: Policies, *, after: str, dry_run: bool) -> int:
    """Collect garbage once.

    Returns:
        The exit code: 1 where a workflow could not be collected and was left alone, that of a signal where one has
        ended the run.

    Raises:
        HoldfastError: COMMIT_UNKNOWN of several workflows in a row.
        StoreError: the store cannot be used.

    """
    progress = _Progress()
    sweeping = sweep(log, policies, after=after, dry_run=dry_run, on_progress=progress, on_failed=_on_failed)
    with freeing_space():
        collected = await _until_told(sweeping, progress)
    if isinstance(collected, signal.Signals):
        return _code(collected)
    _summarise({**asdict(collected), "dry_run": dry_run})
    return 1 if collected.damaged or collected.failed else 0


def _on_failed(prefix: str, error: Failure) -> None:
    reason = f"{error.reason}: " if isinstance(error, HoldfastError) else ""
    sys.stderr.write(f"{prefix}: left alone: {reason}{_printable(str(error))}\n")


def shorter_grace(text: str, grace_seconds: float) -> float:
    """Return the grace of a collection that an operator wants shorter for once, and warn of what that risks.

    Args:
        text: the wanted grace in seconds, as it was given.
        grace_seconds: the store's grace.

    Raises:
        ConfigError: it is no number of seconds below the store's grace.

    """
    try:
        wanted = float(text)
    except ValueError:
        wanted = math.nan
    if not 0 <= wanted < grace_seconds:
        raise ConfigError(
            f"shorter_grace_seconds: {text!r} is not a number from 0 to below the store's grace of {grace_seconds:g} s"
        )
    sys.stderr.write(
        f"warning: this collection goes by a grace of {wanted:g} s instead of {grace_seconds:g} s. A load, an upload "
        f"or a retry that began more than {wanted:g} s ago may lose what it relies on: a load may report damage, an "
        "upload must be sent again, and a retry may commit a second time. Run it only while no such call is under "
        "way.\n"
    )
    return wanted


async def run_fsck(log: Log, *, after: str, repair: bool, quick: bool) -> int:
    """Check the store once.

    Returns:
        The exit code: 1 where something is wrong, that of a signal where one has ended the run.

    Raises:
        HoldfastError: COMMIT_UNKNOWN of several workflows in a row.
        StoreError: the store cannot be used.

    """

    def on_finding(finding: Finding) -> None:
        sys.stdout.write(f"{_printable(finding.key)}: {_printable(finding.what)}\n")

    depth = Depth.PRESENCE if quick else Depth.CHECKSUM
    progress = _Progress()
    checking = fsck(log, depth=depth, repair=repair, after=after, on_finding=on_finding, on_progress=progress)
    checked = await _until_told(checking, progress)
    if isinstance(checked, signal.Signals):
        return _code(checked)
    _summarise(asdict(checked))
    return 1 if checked.findings else 0


class _Progress:
    """Tells how far a run is, now and then and where it is cut off, so that another one can go on there."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()
        self._reached = ""

    def __call__(self, position: str, so_far: Collected | Checked) -> None:
        self._reached = f"{so_far.workflows} workflows; go on from here with --after {shlex.quote(position)}"
        if time.monotonic() - self._told_at >= _PROGRESS_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Tell the position; what was found before it is told by then."""
        self._told_at = time.monotonic()
        sys.stdout.flush()
        if self._reached:
            streams.note(self._reached)


async def _until_told(run: Coroutine[Any, Any, _Figures], progress: _Progress) -> _Figures | signal.Signals:
    """The figures of a run, or the signal that has ended it. Where it ends too early, how far it came is told."""
    caught: list[signal.Signals] = []
    task = asyncio.ensure_future(run)

    def end(number: signal.Signals) -> None:
        caught.append(number)
        task.cancel()

    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        progress.tell()
        if not caught:
            raise
        return caught[0]
    except Exception:
        progress.tell()
        raise


def _code(number: signal.Signals) -> int:
    """The exit code by which shells know that a signal has ended a command."""
    return 128 + number


def _printable(key: str) -> str:
    """Text of others in a line: a key of a foreign object, or what a marker says, may hold what ends the line."""
    return key.encode("unicode_escape").decode() if not key.isprintable() else key


def _summarise(figures: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
