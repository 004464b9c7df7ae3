"""A check that a history of operations on one workflow is linearizable.

The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's cache of visited states: an
operation can come next if no other remaining one ended before it began. Operations with an unknown outcome stay open:
they may have happened at any time after they began, or never.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from holdfast_server.protocol.checkpoints.heads import NamedHead
from holdfast_server.protocol.log.entry import Entry

SAVE, FENCE, DELETE, DELETE_ALL, PRUNE, COLLECT, REPAIR, ROT = (
    "save",
    "acquire writer",
    "delete",
    "delete workflow",
    "prune",
    "collect",
    "repair",
    "rot",
)
LOAD, PAGE, AUDIT = "load", "list", "audit"
# These change no checkpoint of the workflow: tests/verification/simulation/attached.py and copied.py judge them.
ATTACH, COPY, COLLECT_COPY = "attach", "copy", "collect the copy"
BESIDE = (ATTACH, COPY, COLLECT_COPY)
MUTATIONS = (SAVE, FENCE, DELETE, DELETE_ALL, PRUNE, COLLECT, REPAIR, ROT)
# These take effect at any time since they began, or never.
MAINTENANCE = (COLLECT, REPAIR)


class Checkpoint(NamedTuple):
    revision: int
    checkpoint_id: str
    value: str
    pinned: bool = False


class State(NamedTuple):
    """The state of a workflow, as far as callers can know it."""

    revision: int = 0
    epoch: int = 0
    live: tuple[Checkpoint, ...] = ()
    used: frozenset[str] = frozenset()
    rotten: frozenset[tuple[str, int]] = frozenset()  # ("marker" or "blob", revision)
    saved: int = 0  # the newest save or deletion of the whole workflow
    fences: tuple[tuple[int, int], ...] = ()  # revision and epoch
    is_leased: bool = False  # whether the newest fence took a lease, expired or not

    def is_damaged(self, revision: int) -> bool:
        """Return whether a checkpoint's marker or blob is damaged."""
        return ("marker", revision) in self.rotten or ("blob", revision) in self.rotten

    @property
    def lost_markers(self) -> set[int]:
        """Return the revisions of damaged markers."""
        return {revision for what, revision in self.rotten if what == "marker"}


@dataclass
class Operation:
    """A request and its answer.

    Attributes:
        name: the name of the operation.
        kind: the kind of request.
        value: the payload of a save, unique among all.
        checkpoint_id: the requested id, or "".
        expected: the revision that a save requires.
        epoch: the epoch of the writer.
        keep_last: how many checkpoints a collection or a prune keeps.
        replaces: whether a save replaces the checkpoint with its id.
        pinned: whether the saved checkpoint is pinned.
        purges: whether a deletion purges.
        began: the time of the request.
        ended: the time of the answer; infinite if the outcome is unknown.
        error: the reason of its failure; None if it succeeded.
        revision: the revision in the answer.
        answer: the loaded payload, or the object that rotted.
        skipped: the revisions that a load skipped as damaged.
        falls_back: whether a load may fall back.
        below: a page lists revisions below this one.
        size: the size of the page.
        listed: the checkpoints on the page.
        is_first_attempt: whether the first attempt returned the outcome.
        client: the client.
        stamp: the largest stamp of records that the client knows.
        leases: whether a fence takes a lease.
        records: the records of a load, by key; None if they were not requested.
        head: the head that the answer names; None if it names none.
        is_replay: whether the answer is that of an earlier attempt.

    """

    name: str
    kind: str
    value: str = ""
    checkpoint_id: str = ""
    expected: int | None = None
    epoch: int | None = None
    keep_last: int = 0
    replaces: bool = False
    pinned: bool = False
    purges: bool = False
    began: float = 0.0
    ended: float = inf
    error: str | None = None
    revision: int = 0
    answer: object = None
    skipped: frozenset[int] = frozenset()
    falls_back: bool = False
    below: int | None = None
    size: int = 0
    listed: list[Checkpoint] = field(default_factory=list)
    is_first_attempt: bool = True
    client: str = ""
    stamp: int = 0
    leases: bool = False
    records: dict[str, str] | None = None
    head: Entry | NamedHead | None = None
    is_replay: bool = False

    def answered(self, **answers: object) -> "Operation":
        """Return the operation with answers."""
        for name, answer in answers.items():
            setattr(self, name, answer)
        return self

    def __str__(self) -> str:
        given = {"id": self.checkpoint_id, "expected": self.expected, "epoch": self.epoch, "keep": self.keep_last}
        arguments = ", ".join(f"{name} {each}" for name, each in given.items() if each not in ("", None, 0))
        result = "?" if self.ended == inf else self.error or self.answer or self.revision
        return f"[{self.began:.3f}, {self.ended:.3f}] {self.name} {self.kind} {arguments} -> {result} @{self.revision}"


def unexplained(history: list[Operation]) -> list[Operation]:
    """Return the operations that the longest valid order leaves unexplained; none if the history is linearizable."""
    everything = (1 << len(history)) - 1
    closed = sum(1 << index for index, each in enumerate(history) if each.ended < inf)
    seen: set[tuple[int, State]] = set()
    best = everything
    stack = [(everything, State())]
    while stack:
        left, state = stack.pop()
        left = _take_reads(history, left, state)
        if not left & closed:
            return []
        if (left, state) in seen or _is_hopeless(history, left, state):
            continue
        seen.add((left, state))
        if (left & closed).bit_count() < (best & closed).bit_count():
            best = left
        for index in _next(history, left):
            if history[index].kind not in MUTATIONS or (history[index].error and history[index].ended < inf):
                continue
            following = _mutated(state, history[index])
            if following is not None:
                stack.append((left & ~(1 << index), following))
    return [each for index, each in enumerate(history) if best >> index & 1 and each.ended < inf]


def _is_hopeless(history: list[Operation], left: int, state: State) -> bool:
    """Return whether the state has passed the revision in the answer of a remaining operation."""
    live = {each.revision for each in state.live}
    for index, each in enumerate(history):
        if not left >> index & 1 or each.ended == inf or not 0 < each.revision <= state.revision:
            continue
        if each.kind == AUDIT and each.revision < state.revision:
            return True
        if each.kind in MUTATIONS or (each.kind == LOAD and each.revision not in live):
            return True
    return False


def _next(history: list[Operation], left: int) -> Iterator[int]:
    indexes = [index for index in range(len(history)) if left >> index & 1]
    first_end = min((history[index].ended for index in indexes), default=inf)
    # All collections are equal and open, and so are all repairs: the first can explain whatever the second can.
    alike = [index for kind in MAINTENANCE for index in [each for each in indexes if history[each].kind == kind][1:]]
    return (index for index in indexes if history[index].began <= first_end and index not in alike)


def _take_reads(history: list[Operation], left: int, state: State) -> int:
    """Take operations that change nothing as soon as they fit: later is never better."""
    while True:
        taken = next(
            (
                index
                for index in _next(history, left)
                if history[index].ended < inf
                and (history[index].kind not in MUTATIONS or history[index].error)
                and _fits(state, history[index])
            ),
            None,
        )
        if taken is None:
            return left
        left &= ~(1 << taken)
        if not left:
            return left


def _fits(state: State, read: Operation) -> bool:
    """Return whether a state explains the answer of an operation that changes nothing."""
    ids = {each.checkpoint_id: each for each in state.live}
    if read.kind == AUDIT:
        return (tuple(read.listed), read.revision) == (state.live, state.revision)
    if read.error == "CHECKPOINT_CORRUPTED":
        return _fits_damage(state, read)
    if read.kind == PAGE and read.error is None:
        return _fits_page(state, read)
    if read.error is None:
        return _fits_load(state, read)
    match read.error:
        case "WORKFLOW_NOT_FOUND":
            return state.revision == 0
        case "CHECKPOINT_NOT_FOUND" | "CHECKPOINT_DELETED":
            return read.checkpoint_id not in ids if read.checkpoint_id else not state.live
        case "REVISION_CONFLICT":
            return not _meets(state, read.expected, read.epoch)
        case "WRITER_FENCED":
            return read.epoch is not None and read.epoch < state.epoch
        case "INVALID_REQUEST":
            return read.epoch is not None and read.epoch > state.epoch
        case "LEASE_HELD":
            return state.is_leased
        case "CHECKPOINT_ID_REUSED":
            return read.checkpoint_id in state.used and not read.replaces
    return False


def _bounds(state: State, read: Operation) -> list[int]:
    """Return the revisions that a load may answer with: several if a damaged marker may be the right one."""
    if not read.checkpoint_id:
        return [state.revision] if state.live else []
    meant = [each.revision for each in state.live if each.checkpoint_id == read.checkpoint_id]
    return meant or sorted(state.lost_markers)


def _fits_load(state: State, load: Operation) -> bool:
    """Return whether a state explains a load, which by fallback returns the newest undamaged checkpoint."""
    live = {each.revision: each for each in state.live}
    if any(each > state.revision or (each in live and not state.is_damaged(each)) for each in load.skipped):
        return False
    if not load.skipped and load.checkpoint_id:
        found = live.get(load.revision)
        return found is not None and (found.checkpoint_id, found.value) == (load.checkpoint_id, load.answer)
    for bound in _bounds(state, load):
        newest = max((each for each in live if each <= bound and each not in load.skipped), default=0)
        if newest == load.revision and newest and live[newest].value == load.answer:
            return True
    return False


def _fits_damage(state: State, read: Operation) -> bool:
    """Return whether a state explains a report of damage: to the requested checkpoint, or to the newest marker."""
    if state.revision in state.lost_markers and not read.falls_back:
        return True
    if read.kind != LOAD:
        return False
    live = [each.revision for each in state.live]
    if not read.falls_back:
        return any(state.is_damaged(each) for each in (_bounds(state, read) if read.checkpoint_id else live[-1:]))
    return any(all(state.is_damaged(each) for each in live if each <= bound) for bound in _bounds(state, read))


def _fits_page(state: State, page: Operation) -> bool:
    """Return whether a state explains a page: newest first, without gaps except damaged markers."""
    shown = list(page.listed)
    for each in reversed(state.live):
        if page.below is not None and each.revision >= page.below:
            continue
        if not shown and len(page.listed) == page.size:
            break
        if shown and (shown[0].revision, shown[0].value) == (each.revision, each.value):
            shown.pop(0)
        elif each.revision not in state.lost_markers:
            return False
    return not shown


def _meets(state: State, expected: int | None, epoch: int | None) -> bool:
    if expected in (None, state.revision) or (expected == 0 and not state.live):
        return True
    fenced = max((revision for revision, given in state.fences if given != epoch), default=0)
    return 0 < expected < state.revision and state.saved <= expected and fenced <= expected


def _mutated(state: State, operation: Operation) -> State | None:
    """Return the state after an operation; None if its answer is impossible in the state."""
    revision = state.revision + 1
    if operation.ended < inf and operation.revision not in (revision, 0):
        return None
    match operation.kind:
        case "save":
            ids = {each.checkpoint_id for each in state.live}
            if (
                operation.epoch not in (None, state.epoch)
                or (operation.checkpoint_id in ids and operation.checkpoint_id and not operation.replaces)
                or not _meets(state, operation.expected, operation.epoch)
            ):
                return None
            checkpoint_id = operation.checkpoint_id or str(operation.answer or "")
            saved = Checkpoint(revision, checkpoint_id, operation.value, operation.pinned)
            used = state.used | {operation.checkpoint_id} if operation.checkpoint_id else state.used
            live = tuple(
                each for each in state.live if each.checkpoint_id != saved.checkpoint_id or not saved.checkpoint_id
            )
            return state._replace(revision=revision, live=(*live, saved), used=used, saved=revision)
        case "acquire writer":
            epoch = state.epoch + 1
            if operation.epoch not in (None, epoch) or not _meets(state, operation.expected, None):
                return None
            return state._replace(
                revision=revision, epoch=epoch, fences=(*state.fences, (revision, epoch)), is_leased=operation.leases
            )
        case "delete":
            kept = tuple(each for each in state.live if each.checkpoint_id != operation.checkpoint_id)
            # A purge has work to do while the content exists, deleted or not.
            is_possible = kept != state.live or (operation.purges and state.revision > 0)
            return state._replace(revision=revision, live=kept) if is_possible else None
        case "delete workflow":
            return None if state.revision == 0 else state._replace(revision=revision, live=(), saved=revision)
        case "prune":
            return _pruned(state, operation)
        case "rot":
            return state._replace(rotten=state.rotten | {operation.answer})
        case "repair":
            return _repaired(state)
        case _:
            return state._replace(revision=revision, live=_kept(state, operation.keep_last))


def _pruned(state: State, operation: Operation) -> State | None:
    """Return the state after a prune. One without work changes nothing. Its count is exact if it was attempted once."""
    kept = _kept(state, operation.keep_last)
    deleted = len(state.live) - len(kept)
    if operation.ended < inf and operation.is_first_attempt and operation.answer != deleted:
        return None
    return state._replace(revision=state.revision + 1, live=kept) if deleted else state


def _kept(state: State, keep_last: int) -> tuple[Checkpoint, ...]:
    """Return the checkpoints that a rule keeps: pinned ones, and the newest of the others."""
    newest = [each for each in state.live if not each.pinned][-keep_last:]
    return tuple(each for each in state.live if each.pinned or each in newest)


def _repaired(state: State) -> State | None:
    """Return the state after a repair: damaged markers are deleted, and a damaged head fences all writers."""
    lost = state.lost_markers
    if not lost:
        return None
    if state.revision in lost:
        # Each revision after the newest readable marker may have been a save, or a fence.
        whole = state.revision
        while whole in lost:
            whole -= 1
        epoch = max((given for revision, given in state.fences if revision <= whole), default=0)
        epoch += state.revision - whole + 1
        fences = (*state.fences, (state.revision + 1, epoch))
        state = state._replace(saved=state.revision, fences=fences, epoch=epoch, is_leased=False)
    return state._replace(
        revision=state.revision + 1,
        live=tuple(each for each in state.live if each.revision not in lost),
        rotten=frozenset(each for each in state.rotten if each[0] != "marker"),
    )
