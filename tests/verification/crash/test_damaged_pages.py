"""Each page of a database in turn is damaged: that costs what lies in it and no more, and no wrong byte is served."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.manifest import open_layout
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.stores.base import StoreError
from holdfast_server.stores.file import DATABASE, FileStore

from tests.support.budget import amount
from tests.verification.crash.alone import alone
from tests.verification.crash.player import GRACE_SECONDS, Note, Player, name_in, read, workflow

PAGE_BYTES = 4096
WORKFLOWS = [f"w{number:02}" for number in range(40)]
CHECKPOINTS = 3
_ABSENT = (Reason.WORKFLOW_NOT_FOUND, Reason.CHECKPOINT_NOT_FOUND, Reason.CHECKPOINT_DELETED)
# Every page, or one of a few.
STRIDE = amount(small=3, full=1)
# Larger than a page, and smaller than a file of its own.
MEDIUM_BYTES = 3500


@dataclass(frozen=True)
class Page:
    """A page of a database.

    Attributes:
        number: its number, from 1.
        is_outermost: whether no other page is found through it, but for the rest of one row.
        cells: how many rows it has, or a part of one.
        has_manifest: whether the manifest, or its key, lies in it, without which nothing can be served.

    """

    number: int
    is_outermost: bool
    cells: int
    has_manifest: bool


@dataclass
class Seen:
    """What a store with a damaged page returned.

    Attributes:
        wrong: bytes that were never saved there.
        failed: the errors of each workflow that is not as before.
        silent: checkpoints that are gone without an error that says why.
        fell_back: how many loads returned an older checkpoint than the newest, and said so.
        findings: those of fsck.
        stopped_by: the error that prevented everything.

    """

    wrong: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    failed: dict[str, list[str]] = field(default_factory=dict)
    fell_back: int = 0
    findings: list[str] = field(default_factory=list)
    stopped_by: str = ""

    def fail(self, name: str, error: HoldfastError | StoreError) -> None:
        """Note that a load of a workflow failed."""
        self.failed.setdefault(name, []).append(str(error))
        if isinstance(error, HoldfastError) and error.reason in _ABSENT:
            self.silent.append(f"{name}: {error}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Note]]:
    """A folder of a store that is closed, and the notes of its saves."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    notes: list[Note] = []

    async def made() -> None:
        async with FileStore.open(folder) as store:
            await open_layout(store, grace_seconds=GRACE_SECONDS)
            player = Player(store, notes.append)
            for number in range(CHECKPOINTS):
                for name in WORKFLOWS:
                    await player.save(name, f"{name}-{number}", MEDIUM_BYTES if number == 1 else 100)

    with alone():
        asyncio.run(made())
    return folder, [note for note in notes if "held" in note]


def pages(folder: Path) -> list[Page]:
    """Return the pages of a database."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        rows = connection.execute("SELECT pageno, pagetype, ncell FROM dbstat ORDER BY pageno").fetchall()
    content = (folder / DATABASE).read_bytes()
    return [
        Page(
            number,
            kind != "internal" and number > 1,
            max(1, cells),
            b"holdfast.json" in page or b"layoutVersion" in page,
        )
        for number, kind, cells in rows
        for page in [content[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]]
    ]


def zeros(page: bytes) -> bytes:
    return bytes(len(page))


def noise(page: bytes) -> bytes:
    return random.Random(page).randbytes(len(page))


def half(page: bytes) -> bytes:
    return page[: len(page) // 2] + bytes(len(page) // 2)


def flipped(page: bytes) -> bytes:
    place = random.Random(page).randrange(len(page))
    return page[:place] + bytes([page[place] ^ 4]) + page[place + 1 :]


async def look(folder: Path, notes: list[Note]) -> Seen:
    """Return what a store with a damaged page returns."""
    seen = Seen()
    async with FileStore.open(folder) as store:
        await open_layout(store, grace_seconds=GRACE_SECONDS)
        log = Log(store, grace_seconds=GRACE_SECONDS)
        try:
            await fsck(log, on_finding=lambda finding: seen.findings.append(f"{finding.key}: {finding.what}"))
        except StoreError as error:
            # It cannot list the keys in the page and reports that instead.
            seen.findings.append(str(error))
        for note in notes:
            await _load(log, note, seen)
        for name in WORKFLOWS:
            await _load_newest(log, name, seen)
    return seen


async def _load(log: Log, note: Note, seen: Seen) -> None:
    keys = workflow(note["workflow"])
    try:
        found = await load.find(log, keys, note["held"], (), fallback=False)
        name = name_in(await read(log, keys, found))
    except (HoldfastError, StoreError) as error:
        seen.fail(note["workflow"], error)
        return
    if name != note["name"]:
        seen.wrong.append(f"{note} gave {name!r}")


async def _load_newest(log: Log, name: str, seen: Seen) -> None:
    keys = workflow(name)
    try:
        found = await load.find(log, keys, "", (), fallback=True)
        loaded = name_in(await read(log, keys, found))
    except (HoldfastError, StoreError) as error:
        seen.fail(name, error)
        return
    if not loaded.startswith(f"{name}-"):
        seen.wrong.append(f"{name} gave {loaded!r}")
    elif loaded != f"{name}-{CHECKPOINTS - 1}":
        seen.fell_back += 1
        if not found.skipped:
            seen.silent.append(f"{name} gave {loaded!r}")


def damaged(whole: Path, at: Path, damage: Callable[[bytes], bytes]) -> Iterator[tuple[Page, Path]]:
    """Yield each page, or one of a few, and a copy of the store in which it is damaged."""
    content = (whole / DATABASE).read_bytes()
    for page in pages(whole)[::STRIDE]:
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(whole, at)
        start = (page.number - 1) * PAGE_BYTES
        end = start + PAGE_BYTES
        (at / DATABASE).write_bytes(content[:start] + damage(content[start:end]) + content[end:])
        yield page, at


@pytest.mark.parametrize("damage", [zeros, noise, half, flipped])
def test_a_damaged_page_costs_what_lies_in_it_and_no_more(damage, whole, folder):
    store, notes = whole
    outermost = fell_back = 0
    problems = []
    with alone():
        for page, at in damaged(store, folder / "store", damage):
            seen = looked(at, notes)
            problems += [f"{page}: {each}" for each in _problems(page, seen, looks_whole=damage in (half, flipped))]
            if page.is_outermost:
                outermost += 1
                fell_back += seen.fell_back
    assert not problems
    assert outermost > 20 // STRIDE
    # One letter of a few pages may lie where nothing is.
    assert fell_back > 0 or (damage is flipped and STRIDE > 1)


def looked(folder: Path, notes: list[Note]) -> Seen:
    """Return what a store with a damaged page returns, also if it cannot be opened."""
    try:
        return asyncio.run(look(folder, notes))
    except (StoreError, HoldfastError) as error:
        return Seen(stopped_by=str(error))


def _problems(page: Page, seen: Seen, *, looks_whole: bool) -> Iterator[str]:
    """Yield the promises that a store with a damaged page breaks."""
    if seen.stopped_by:
        if page.is_outermost and not page.has_manifest:
            yield f"stops everything: {seen.stopped_by}"
        if "damaged" not in seen.stopped_by and "cannot be read" not in seen.stopped_by:
            yield f"is not called damage: {seen.stopped_by}"
        return
    yield from seen.wrong
    if page.is_outermost and len(seen.failed) > page.cells:
        yield f"costs too much: {seen.failed}"
    if (seen.failed or seen.silent) and not seen.findings:
        yield f"is not found by fsck: {seen}"
    # Keys that are gone from a page that still looks like one, or have another letter: only fsck finds that.
    if seen.silent and not looks_whole:
        yield f"is silently skipped: {seen.silent}"
