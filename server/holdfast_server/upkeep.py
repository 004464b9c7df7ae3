"""The commands that keep a store in order, `gc` and `fsck`: progress on stderr, a summary on stdout."""

import json
import sys
import time
from dataclasses import asdict
from typing import Any

from holdfast_server.protocol.fsck import Checked, Finding, fsck
from holdfast_server.protocol.gc import Collected
from holdfast_server.protocol.load import Depth
from holdfast_server.protocol.log import Log
from holdfast_server.protocol.sweep import Policies, sweep

_PROGRESS_SECONDS = 2.0


async def run_gc(log: Log, policies: Policies, *, after: str, dry_run: bool) -> int:
    """Collect garbage once.

    Returns:
        The exit code: 1 where a workflow is damaged and was left alone.

    """
    progress = _Progress()
    collected = await sweep(log, policies, after=after, dry_run=dry_run, on_progress=progress.tell)
    _summarise({**asdict(collected), "dry_run": dry_run})
    return 1 if collected.damaged else 0


async def run_fsck(log: Log, *, after: str, repair: bool, quick: bool) -> int:
    """Check the store once.

    Returns:
        The exit code: 1 where something is wrong.

    """

    def on_finding(finding: Finding) -> None:
        sys.stdout.write(f"{_printable(finding.key)}: {finding.what}\n")

    depth = Depth.PRESENCE if quick else Depth.CHECKSUM
    tell = _Progress().tell
    checked = await fsck(log, depth=depth, repair=repair, after=after, on_finding=on_finding, on_progress=tell)
    _summarise(asdict(checked))
    return 1 if checked.findings else 0


class _Progress:
    """Tells now and then how far it is, so that a run that is cut off can go on there."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def tell(self, position: str, so_far: Collected | Checked) -> None:
        if time.monotonic() - self._told_at >= _PROGRESS_SECONDS:
            self._told_at = time.monotonic()
            sys.stderr.write(f"{so_far.workflows} workflows; go on from here with --after {position}\n")


def _printable(key: str) -> str:
    """A key in a line of text: those of foreign objects may hold what is no text, or ends the line."""
    return key.encode("unicode_escape").decode() if not key.isprintable() else key


def _summarise(figures: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
