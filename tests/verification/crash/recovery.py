"""The recovery of the real store and protocol from a state after a power cut, compared with the promises."""

import asyncio
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.checkpoints.heads import NO_HEAD
from holdfast_server.protocol.checkpoints.load import Found
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.manifest import open_layout
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.stores.base import StoreError
from holdfast_server.stores.file import FileStore

from tests.verification.crash.alone import alone
from tests.verification.crash.cuts import Tree
from tests.verification.crash.player import (
    GRACE_SECONDS,
    RESTING_BYTES,
    SMALL_BYTES,
    Note,
    Player,
    name_in,
    read,
    workflow,
)
from tests.verification.crash.scripts import STORE

# A state after a cut, and the numbers of notes at the moments whose cuts may leave it.
State = tuple[Tree, frozenset[int]]


@dataclass
class Seen:
    """A workflow after a cut.

    Attributes:
        listed: revision, id and name of each checkpoint, newest first.
        newest: the name of the payload that a load returns, or the reason of its failure.
        by_id: the same for each id that was ever returned.
        next_revision: the revision of the first save after the cut.

    """

    listed: list[tuple[int, str, str]] = field(default_factory=list)
    newest: str = ""
    by_id: dict[str, str] = field(default_factory=dict)
    next_revision: int = 0


@dataclass
class Recovered:
    """A store after a cut, and the unexpected errors."""

    workflows: dict[str, Seen] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)


def materialise(tree: Tree, folder: Path) -> None:
    """Write a tree into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, mode, content in tree:
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
        (folder / path).chmod(mode)


async def recover(tree: Tree, folder: Path, workflows: Iterable[str], ids: Iterable[tuple[str, str]]) -> Recovered:
    """Open a store after a cut, read everything, and save again.

    Args:
        tree: the state after the cut.
        folder: the folder for it.
        workflows: the workflows to read.
        ids: workflow and checkpoint id of each checkpoint to load.

    """
    materialise(tree, folder)
    recovered = Recovered()
    try:
        with alone():
            async with FileStore.open(folder / STORE) as store:
                await _look_at_all(store, workflows, list(ids), recovered)
    except (HoldfastError, StoreError) as error:
        recovered.damage.append(f"the store cannot be used: {error}")
    return recovered


async def _look_at_all(
    store: FileStore, workflows: Iterable[str], ids: Sequence[tuple[str, str]], recovered: Recovered
) -> None:
    await open_layout(store, grace_seconds=GRACE_SECONDS)
    log = Log(store, grace_seconds=GRACE_SECONDS)
    await fsck(log, on_finding=lambda finding: recovered.damage.append(f"{finding.key}: {finding.what}"))
    for name in workflows:
        of_workflow = [checkpoint_id for of, checkpoint_id in ids if of == name]
        recovered.workflows[name] = await _look(log, name, of_workflow, recovered.damage)
    for name, seen in recovered.workflows.items():
        seen.next_revision = await _save_next(store, name, recovered.damage)


async def _look(log: Log, name: str, ids: Sequence[str], damage: list[str]) -> Seen:
    keys = workflow(name)
    seen = Seen()
    with suppress(HoldfastError):
        async for entry in load.history(log, keys, None):
            data = await read(log, keys, Found(entry, NO_HEAD))
            seen.listed.append((entry.revision, entry.marker.checkpoint_id, name_in(data)))
    seen.newest = await _load(log, name, "", damage)
    seen.by_id = {checkpoint_id: await _load(log, name, checkpoint_id, damage) for checkpoint_id in ids}
    return seen


async def _load(log: Log, name: str, checkpoint_id: str, damage: list[str]) -> str:
    """Load a checkpoint. Return the name of its payload, or the reason of the failure."""
    keys = workflow(name)
    try:
        found = await load.find(log, keys, checkpoint_id, (), fallback=False)
        return name_in(await read(log, keys, found)) or "not whole"
    except HoldfastError as error:
        if error.reason is Reason.CHECKPOINT_CORRUPTED:
            damage.append(f"{name} {checkpoint_id}: {error.message}")
        return error.reason


async def _save_next(store: FileStore, name: str, damage: list[str]) -> int:
    notes: list[Note] = []
    player = Player(store, notes.append)
    fresh = f"next-{uuid.uuid4().hex}"
    try:
        await player.save(name, fresh, RESTING_BYTES if name == "r" else SMALL_BYTES)
        await player.load(name)
    except (HoldfastError, StoreError) as error:
        damage.append(f"{name}: the next save failed: {error}")
        return 0
    saved, loaded = (note for note in notes if "held" in note)
    if loaded["name"] != fresh:
        damage.append(f"{name}: the next save is not the newest checkpoint")
    return int(saved["revision"])


def broken(recovered: Recovered, notes: Sequence[Note]) -> list[str]:
    """Yield the promises of the notes that the recovered store breaks."""
    found = [f"damage: {each}" for each in recovered.damage]
    doomed = {(note["workflow"], note["checkpoint_id"]) for note in notes if note.get("begins") == "delete"}
    begun = {note["name"] for note in notes if note.get("begins") == "save"}
    for note in notes:
        seen = recovered.workflows.get(note["workflow"], Seen())
        if "held" in note:
            found += _broken_hold(note, seen, is_doomed=(note["workflow"], note["held"]) in doomed)
        if "gone" in note and seen.by_id.get(note["gone"]) not in _GONE:
            found.append(f"{note['gone']} of {note['workflow']} was deleted and is back")
        if "revision" in note and note["revision"] >= seen.next_revision:
            found.append(f"revision {note['revision']} of {note['workflow']} was given twice")
    for name, seen in recovered.workflows.items():
        revisions = [revision for revision, _, _ in seen.listed]
        if revisions != sorted(set(revisions), reverse=True):
            found.append(f"{name} is listed in no order: {revisions}")
        strangers = {each for _, _, each in seen.listed} - begun
        if strangers:
            found.append(f"{name} lists payloads that were never saved: {strangers}")
        if seen.newest != (seen.listed[0][2] if seen.listed else seen.newest):
            found.append(f"the newest of {name} is {seen.newest}, listed is {seen.listed[0][2]}")
    return found


_GONE = (Reason.CHECKPOINT_DELETED, Reason.CHECKPOINT_NOT_FOUND)


def _broken_hold(note: Note, seen: Seen, *, is_doomed: bool) -> list[str]:
    name, checkpoint_id, of = note["name"], note["held"], note["workflow"]
    loaded = seen.by_id.get(checkpoint_id, "")
    if is_doomed:
        return [] if loaded in (name, *_GONE) else [f"{name} in {of} is neither there nor deleted: {loaded}"]
    if loaded != name:
        return [f"{name} in {of} is lost: {loaded}"]
    if (note["revision"], checkpoint_id, name) not in seen.listed:
        return [f"{name} in {of} is not listed at revision {note['revision']}"]
    return []


def broken_in(states: Iterable[State], notes: Sequence[Note], folder: Path) -> Iterator[str]:
    """Recover from states, one after the other in one folder. Yield the broken promises.

    Args:
        states: the states, each with the numbers of notes at its moments.
        notes: all notes.
        folder: the folder.

    """
    workflows = list(dict.fromkeys(note["workflow"] for note in notes))
    ids = dict.fromkeys((note["workflow"], note.get("held") or note.get("gone") or "") for note in notes)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for tree, counts in states:
            recovered = runner.run(recover(tree, folder, workflows, [each for each in ids if each[1]]))
            for count in sorted(counts):
                for what in broken(recovered, notes[:count]):
                    yield f"{what}\nof {notes[:count]}\nin {[path for path, _, _ in tree]}"
