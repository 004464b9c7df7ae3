"""The kinds of workflows of the fake store: how to write each, and what the commands must report.

A round of the collection is specified by the objects that it removes. The grace passes between rounds.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from holdfast_server.protocol.format.keys import WorkflowKeys

from tests.support.folder_objects import database
from tests.verification.scale.fake import BLOB_BYTES, Facts, Fake, writing

KEEP_LAST = 5
RETENTION = '{"last": {"keep_last": 5}}'


def small(run: Fake, number: int) -> None:
    for revision in range(1, 7):
        run.save(in_blob=revision == 2)
    if number % 10 == 0:
        run.orphan(base=3)
        run.goes(1, blobs=1)
        run.appends(1, 7)


def medium(run: Fake, number: int) -> None:
    long(run, number, revisions=500, revisions_per_blob=5)


def long(run: Fake, number: int, *, revisions: int, revisions_per_blob: int = 10) -> None:
    """All but the newest are retired. The next collection removes their objects and raises the low-water mark."""
    for revision in range(1, revisions + 1):
        run.save(in_blob=revision % revisions_per_blob == 0)
    run.goes(1, retired=revisions - KEEP_LAST)
    run.appends(1, revisions + 1)
    run.goes(2, markers=revisions - KEEP_LAST, blobs=(revisions - KEEP_LAST) // revisions_per_blob)
    run.appends(2, revisions + 2)


def deleted(run: Fake, number: int) -> None:
    for revision in range(1, 6):
        run.save(in_blob=revision <= 2, checkpoint_id=f"id-{revision}" if revision > 3 else "")
    run.delete()
    run.orphaned(2)
    # The last marker is the deletion itself, and stays.
    run.goes(1, markers=5, blobs=2, claims=2)


def expired(run: Fake, number: int) -> None:
    """Every other checkpoint has expired. A dead marker between live ones stays until the floor passes it."""
    for revision in range(1, 7):
        run.save(in_blob=revision in (3, 4), ttl_seconds=60 if revision % 2 else 0)
    run.goes(1, retired=3)
    run.appends(1, 7)
    run.goes(2, markers=1, blobs=1)
    run.appends(2, 8)


def claimed(run: Fake, number: int) -> None:
    """Many claims are dead: a new generation takes over the live ones."""
    for revision in range(1, 161):
        run.save(checkpoint_id=f"id-{revision}")
    run.goes(1, retired=155, claims=160)
    run.appends(1, 161, *(f"id-{revision}" for revision in range(156, 161)))
    run.goes(2, markers=155)


def unborn(run: Fake, number: int) -> None:
    """A first save that never committed."""
    run.orphan(base=0)
    run.goes(1, blobs=1)
    run.appends(1, 1)


def nameless(run: Fake, number: int) -> None:
    """The same with so long a name that the keys contain only its digest: the owner is unknown."""
    key = run.keys.blob("blob/000/000/000-0123456789abcdef0123456789abcdef")
    run.write(key, bytes(BLOB_BYTES))
    run.finds(run.keys.prefix)


def rotten_marker(run: Fake, number: int) -> None:
    _damaged(run, run.keys.marker(3), run.rows.flip)


def lost_marker(run: Fake, number: int) -> None:
    _damaged(run, run.keys.marker(3), run.rows.remove)
    run.facts.objects -= 1
    run.facts.checked["markers"] -= 1


def rotten_head(run: Fake, number: int) -> None:
    _damaged(run, run.keys.marker(6), run.rows.flip)
    run.facts.checked["markers"] -= 1


def _damaged(run: Fake, key: str, how: Callable[[str], None]) -> None:
    """Damage a workflow. A collection does not touch it, whatever orphans it has."""
    small(run, 1)
    how(key)
    run.facts.checked["checkpoints"] -= 1
    run.finds(key)
    for each in run.facts.rounds:
        each["damaged"] = 1


def rotten_blob(run: Fake, number: int) -> None:
    _damaged_blob(run, run.rows.flip, when_quick=False)


def lost_blob(run: Fake, number: int) -> None:
    _damaged_blob(run, run.rows.remove, when_quick=True)
    run.facts.objects -= 1


def cut_file(run: Fake, number: int) -> None:
    run.has_files = True
    _damaged_blob(run, lambda blob: os.truncate(run.rows.file(blob), 100), when_quick=True)


def lost_file(run: Fake, number: int) -> None:
    run.has_files = True
    _damaged_blob(run, lambda blob: run.rows.file(blob).unlink(), when_quick=True)


def _damaged_blob(run: Fake, how: Callable[[str], None], *, when_quick: bool) -> None:
    small(run, 1)
    how(run.newest_blob)
    run.finds(run.keys.marker(2), when_quick=when_quick)


def rotten_payload(run: Fake, number: int) -> None:
    """The marker is whole, but its inline part does not match its digest."""
    small(run, 1)
    marker = run.successor()
    marker.parts.add(size_bytes=3, inline=b"abc", sha256=bytes(32))
    marker.last_data_revision = marker.revision
    run.commit(marker)
    run.facts.checked["checkpoints"] += 1
    run.finds(run.keys.marker(7), when_quick=False)


def broken_chain(run: Fake, number: int) -> None:
    small(run, 1)
    marker = run.successor()
    marker.previous_digest = bytes(32)
    run.commit(marker)
    run.facts.checked["checkpoints"] += 1
    run.finds(run.keys.marker(7))


def foreign(run: Fake, number: int) -> None:
    """Foreign files lie among the objects."""
    small(run, 1)
    for key in (f"{run.keys.blobs}notes.txt", f"{run.keys.log}zzz", f"{run.keys.prefix}readme"):
        run.write(key, b"mine")
        run.finds(key)


@dataclass(frozen=True)
class Kind:
    """A kind of workflows.

    Attributes:
        name: its name.
        write: writes one workflow of the kind.
        count: the number of workflows.
        namespace: their namespace.
        has_files: whether their blobs are files.

    """

    name: str
    write: Callable[[Fake, int], None]
    count: int
    namespace: str = "kept"
    has_files: bool = False

    def keys(self, number: int) -> WorkflowKeys:
        name = f"{self.name}-{number:06d}"
        return WorkflowKeys(self.namespace, f"{name:ü<250}" if self.write is nameless else name)


_DAMAGED = (
    *(nameless, rotten_marker, lost_marker, rotten_head),
    *(rotten_blob, lost_blob, cut_file, lost_file, rotten_payload, broken_chain, foreign),
)


def kinds(scale: float) -> list[Kind]:
    """Return the kinds of a store with a million objects times `scale`. The number of damaged workflows is fixed."""

    def scaled(count: int) -> int:
        return round(count * scale)

    return [
        Kind("long", partial(long, revisions=scaled(100_000)), 1, "last"),
        Kind("medium", medium, scaled(480), "last", has_files=True),
        Kind("claimed", claimed, scaled(120), "last"),
        Kind("small", small, scaled(60_000)),
        Kind("deleted", deleted, scaled(10_000)),
        Kind("expired", expired, scaled(8_000)),
        Kind("unborn", unborn, scaled(2_000)),
        *(Kind(each.__name__, each, 5) for each in _DAMAGED),
    ]


def write(folder: Path, scale: float) -> Facts:
    """Write a store of about a million objects times `scale`. Return what the commands must report."""
    facts = Facts()
    with writing(folder) as rows:
        for kind in kinds(scale):
            for number in range(kind.count):
                run = Fake(rows, kind.keys(number), has_files=kind.has_files)
                kind.write(run, number)
                facts.add(run.facts)
    return facts


def pass_the_grace(folder: Path, facts: Facts, round_number: int) -> None:
    """Let the grace pass for the objects that a collection added."""
    long_ago = time.time() - 2 * 86_400
    with database(folder) as connection:
        rows = ((long_ago, key) for key in facts.appended[round_number - 1])
        connection.executemany("UPDATE objects SET modified = ? WHERE key = ?", rows)
