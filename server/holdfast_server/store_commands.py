"""The commands `gc`, `fsck`, `upgrade` and `add-macs`: progress on stderr, findings and a summary on stdout."""

import asyncio
import json
import math
import shlex
import signal
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from holdfast_server import stdio
from holdfast_server.config import ConfigError
from holdfast_server.lifecycle import stop_signals
from holdfast_server.protocol.checkpoints.load import Depth
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format.keyed_store import KeyedStore
from holdfast_server.protocol.format.macs import MacKey
from holdfast_server.protocol.format.manifest import upgrade
from holdfast_server.protocol.format.marker import MARKER_VERSION
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.add_macs import Added, HasMacsError, add_macs
from holdfast_server.protocol.maintenance.each_workflow import Failure
from holdfast_server.protocol.maintenance.fsck import Checked, Finding, fsck
from holdfast_server.protocol.maintenance.gc import Collected
from holdfast_server.protocol.maintenance.reports import Kind, Run
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.stores.base import ObjectStore, StoreError, described, freeing_space

_PROGRESS_SECONDS = 2.0
_Figures = TypeVar("_Figures", Collected, Checked, Added)


async def run_gc(log: Log, policies: Policies, *, after: str, dry_run: bool) -> int:
    """Collect garbage once.

    Returns:
        The exit code: 0; 1 if a workflow could not be collected and was skipped; that of the signal that ended the run.

    Raises:
        HoldfastError: COMMIT_UNKNOWN for several workflows in a row.
        StoreError: the store cannot be used.

    """
    progress = _Progress()
    run = Run(Kind.COLLECTION, after=after)

    def on_failed(prefix: str, error: Failure) -> None:
        run.failed(prefix, error)
        _report_failure(prefix, error)

    sweeping = sweep(log, policies, after=after, dry_run=dry_run, on_progress=progress, on_failed=on_failed)
    with freeing_space():
        collected = await _run_until_signal(sweeping, progress)
    if isinstance(collected, signal.Signals):
        return _exit_code(collected)
    if not dry_run:
        await _keep(run, log, asdict(collected))
    _summarise({**asdict(collected), "dry_run": dry_run})
    return 1 if collected.damaged or collected.failed else 0


async def _keep(run: Run, log: Log, counts: Mapping[str, int]) -> None:
    """Keep the report of a run in the store. A run whose report cannot be kept has succeeded all the same."""
    try:
        await run.keep(log, counts)
    except (HoldfastError, StoreError) as error:
        sys.stderr.write(f"warning: the report of this run could not be kept in the store: {described(error)}\n")


def _report_failure(prefix: str, error: Failure) -> None:
    reason = f"{error.reason}: " if isinstance(error, HoldfastError) else ""
    sys.stderr.write(f"{prefix}: skipped: {reason}{printable(str(error))}\n")


def shorter_grace(text: str, grace_seconds: float) -> float:
    """Parse the shorter grace of one collection, and print a warning about its risks.

    Args:
        text: the grace in seconds, as the operator gave it.
        grace_seconds: the store's grace.

    Raises:
        ConfigError: it is not a number of seconds below the store's grace.

    """
    try:
        shorter = float(text)
    except ValueError:
        shorter = math.nan
    if not 0 <= shorter < grace_seconds:
        raise ConfigError(
            f"shorter_grace_seconds: expected 0 or more, below the store's grace of {grace_seconds:g}, got {text!r}"
        )
    sys.stderr.write(
        f"warning: this collection uses a grace of {shorter:g} s instead of {grace_seconds:g} s. It may delete objects "
        f"that calls still need which began more than {shorter:g} s ago: a load may report damage, an upload must be "
        "sent again, and a retry may commit a second time. Run it only while no such call is in progress.\n"
    )
    return shorter


async def run_fsck(log: Log, *, after: str, repair: bool, quick: bool) -> int:
    """Check the store once.

    Returns:
        The exit code: 0; 1 if there are findings; that of the signal that ended the run.

    Raises:
        HoldfastError: COMMIT_UNKNOWN for several workflows in a row.
        StoreError: the store cannot be used.

    """
    run = Run(Kind.CHECK, after=after, repair="true" if repair else "", quick="true" if quick else "")

    def on_finding(finding: Finding) -> None:
        run.found(finding.key, finding.what)
        sys.stdout.write(f"{printable(finding.key)}: {printable(finding.what)}\n")

    depth = Depth.PRESENCE if quick else Depth.CHECKSUM
    progress = _Progress()
    checking = fsck(log, depth=depth, repair=repair, after=after, on_finding=on_finding, on_progress=progress)
    checked = await _run_until_signal(checking, progress)
    if isinstance(checked, signal.Signals):
        return _exit_code(checked)
    await _keep(run, log, asdict(checked))
    by_key = {"mac_keys": dict(log.store.read_by_key)} if isinstance(log.store, KeyedStore) else {}
    _summarise({**asdict(checked), **by_key})
    return 1 if checked.findings else 0


async def run_upgrade(store: ObjectStore, mac_keys: Sequence[MacKey] = ()) -> int:
    """Let new markers and records have the newest format, and return the exit code.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED, CHECKPOINT_CORRUPTED.
        StoreError: the store cannot be used.

    """
    _summarise({"marker_version": MARKER_VERSION, "upgraded": await upgrade(store, mac_keys)})
    return 0


async def run_add_macs(store: ObjectStore, mac_keys: Sequence[MacKey], *, first: bool) -> int:
    """Give every object of a store a MAC of the first key, and print how many there are.

    Args:
        store: the store.
        mac_keys: the keys.
        first: whether objects without a MAC are accepted.

    Returns:
        The exit code: 0; 1 if the MAC of an object is not valid, so that the object was left as it is.

    Raises:
        ConfigError: there are no keys, or `first` is given for a store that has its MACs.
        HoldfastError: LAYOUT_UNSUPPORTED; CHECKPOINT_CORRUPTED of the manifest.
        StoreError: the store cannot be used.

    """
    if not mac_keys:
        raise ConfigError("mac_keys_file: expected the file of keys, as --mac-keys-file or in the settings")
    progress = _Progress()

    def on_flawed(key: str, what: str) -> None:
        sys.stdout.write(f"{printable(key)}: {printable(what)}\n")

    try:
        adding = add_macs(store, mac_keys, first=first, on_flawed=on_flawed, on_progress=progress.at)
        added = await _run_until_signal(adding, progress)
    except HasMacsError as error:
        raise ConfigError(f"first: {error}") from None
    if isinstance(added, signal.Signals):
        return _exit_code(added)
    _summarise(asdict(added))
    return 1 if added.flawed else 0


class _Progress:
    """Prints the position of a run at intervals and when it is cut off, so that another run can continue there."""

    def __init__(self) -> None:
        self._printed_at = time.monotonic()
        self._reached = ""

    def __call__(self, position: str, so_far: Collected | Checked) -> None:
        self._reached = f"{so_far.workflows} workflows; continue here with --after {shlex.quote(position)}"
        if time.monotonic() - self._printed_at >= _PROGRESS_SECONDS:
            self.print_position()

    def at(self, key: str, objects: int) -> None:
        """Note the key of the last object that is done, in a run that begins from the start again if it is cut off."""
        self._reached = f"{objects} objects, the last one {key}"
        if time.monotonic() - self._printed_at >= _PROGRESS_SECONDS:
            self.print_position()

    def print_position(self) -> None:
        """Print the position, after the findings before it."""
        self._printed_at = time.monotonic()
        sys.stdout.flush()
        if self._reached:
            stdio.write_stderr(self._reached)


async def _run_until_signal(run: Coroutine[Any, Any, _Figures], progress: _Progress) -> _Figures | signal.Signals:
    """Return the figures of a run, or the signal that ended it. Print the position of a run that ends early."""
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
        progress.print_position()
        if not caught:
            raise
        return caught[0]
    except Exception:
        progress.print_position()
        raise


def _exit_code(number: signal.Signals) -> int:
    """Return the exit code that shells use for a command that a signal ended."""
    return 128 + number


def printable(text: str) -> str:
    """Escape text from a store, such as the key of a foreign object: it may contain a line break."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _summarise(figures: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
