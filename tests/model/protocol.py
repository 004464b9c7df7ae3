"""The commit protocol as a state machine, small enough to visit every state that it can reach.

A state holds what lies in the store, what is on its way to it, what each actor knows, and the true history. An actor
moves by one store request, or by the loss of one. A crash needs no step of its own: who never moves again has crashed.
Time is counted in graces: a view of the head is recent within the tick in which it was read, and what is older than
a tick is older than the grace. Rules can be broken by name (see `MUTANTS`), to see that the check would notice.
"""

from collections.abc import Iterator
from typing import NamedTuple

DATA, FENCE, GC, DELETED = "data", "fence", "gc", "deleted"


class ViolationError(Exception):
    """A promise is broken."""


class Blob(NamedTuple):
    request: str
    number: int
    base: int
    stamp: int


class Marker(NamedTuple):
    kind: str
    request: str
    stamp: int
    epoch: int = 0
    floor: int = 0
    low_water: int = 0
    deleted: frozenset = frozenset()
    blob: Blob | None = None
    expected: int | None = None
    writer_epoch: int = 0


class State(NamedTuple):
    time: int
    slots: tuple  # by revision: whose marker lies there, or None
    blobs: frozenset
    flight: frozenset  # puts that may still land: (revision, marker)
    log: tuple  # the true history, one marker per revision
    acked: frozenset  # (request, revision)
    failed: frozenset  # requests reported as failed, for good
    actors: tuple


EMPTY = Marker("", "", -1)


def head_of(state: State, view: int) -> Marker:
    return state.log[view - 1] if view else EMPTY


def newest(state: State) -> int:
    return max((index + 1 for index, who in enumerate(state.slots) if who is not None), default=0)


def visible(state: State, view: int) -> list[int]:
    """The checkpoints that exist as a head has it, oldest first."""
    head = head_of(state, view)
    return [r for r in range(head.floor + 1, view + 1) if state.log[r - 1].kind == DATA and r not in head.deleted]


def land(state: State, revision: int, marker: Marker, rules: frozenset) -> State | None:
    """The state after a put-if-absent is applied; None where the slot is taken."""
    slots = state.slots + (None,) * (revision - len(state.slots))
    if slots[revision - 1] is not None and "put overwrites" not in rules:
        return None
    if slots[revision - 1] is not None and slots[revision - 1] != marker.request:
        raise ViolationError(f"revision {revision} has two winners")
    slots = (*slots[: revision - 1], marker.request, *slots[revision:])
    if revision <= len(state.log):
        if revision > state.log[-1].floor:
            raise ViolationError(f"revision {revision} was won twice")
        return state._replace(slots=slots)
    if revision > len(state.log) + 1:
        raise ViolationError(f"revision {revision} leaves a gap")
    marker = marker._replace(stamp=state.time)
    check_append(state, marker)
    return state._replace(slots=slots, log=(*state.log, marker))


def check_append(state: State, marker: Marker) -> None:
    if any(each.request == marker.request for each in state.log):
        raise ViolationError(f"{marker.request} was committed twice")
    if marker.kind == DATA and any(each.kind == FENCE and each.epoch > marker.writer_epoch for each in state.log):
        raise ViolationError(f"{marker.request} was committed by a fenced writer")
    if marker.expected is not None and marker.expected != len(state.log):
        raise ViolationError(f"{marker.request} was committed on revision {len(state.log)}, expected {marker.expected}")
    if marker.kind == GC:
        live = visible(state, len(state.log))
        if live and (marker.floor >= live[-1] or live[-1] in marker.deleted):
            raise ViolationError("the newest checkpoint was retired")


def check(state: State) -> None:
    """The promises that hold in every state."""
    for revision in visible(state, len(state.log)):
        marker = state.log[revision - 1]
        if len(state.slots) < revision or state.slots[revision - 1] != marker.request:
            raise ViolationError(f"the marker of revision {revision} is gone")
        if marker.blob is not None and marker.blob not in state.blobs:
            raise ViolationError(f"the blob of revision {revision} is gone")
    for request, revision in state.acked:
        if revision > len(state.log) or state.log[revision - 1].request != request:
            raise ViolationError(f"{request} was acknowledged as revision {revision}, where it is not")
    for marker in state.log:
        if marker.request in state.failed:
            raise ViolationError(f"{marker.request} was reported as failed, and is committed")


class Save(NamedTuple):
    request: str
    epoch: int | None = None
    has_blob: bool = False
    expected: int | None = None
    kind: str = DATA


class Writer(NamedTuple):
    """Appends, one request after the other: checkpoints, fences, deletions of the workflow."""

    saves: tuple
    at: str = "begin"
    view: int = 0
    read_at: int = -1
    blob: Blob | None = None
    slot: int = 0
    sent: Marker | None = None
    uploads: int = 0
    losses: int = 1  # how many more answers may be lost
    retries: int = 1  # how many more times an unknown outcome is tried again
    is_retry: bool = False
    began_at: int = -1  # when the first try began

    def steps(self, state: State, rules: frozenset) -> Iterator[tuple[str, "Writer", State]]:
        if self.saves:
            yield from getattr(self, f"_{self.at}")(state, self.saves[0], rules)

    def _begin(self, state, save, rules):
        began = self if self.is_retry else self._replace(began_at=state.time)
        if self.read_at == state.time and self.view:
            yield "uses its cached head", began._replace(at="upload"), state
        yield "reads the head", began._looking(state, "upload"), state

    def _looking(self, state, at):
        return self._replace(at=at, view=newest(state), read_at=state.time)

    def _upload(self, state, save, rules):
        if save.has_blob:
            blob = Blob(save.request, self.uploads, self.view, state.time)
            writer = self._replace(at="build", blob=blob, uploads=self.uploads + 1)
            yield "uploads", writer, state._replace(blobs=state.blobs | {blob})
        else:
            yield "has nothing to upload", self._replace(at="build", blob=None), state

    def _build(self, state, save, rules):
        head = head_of(state, self.view)
        done = next((r for r in range(head.floor + 1, self.view + 1) if state.log[r - 1].request == save.request), None)
        if self.is_retry and self.began_at != state.time and head.floor and "late retry accepted" not in rules:
            # The log no longer tells whether the first try has committed.
            yield "does not know, for good", self._next(), state
        elif done is not None and "no replay" not in rules:
            yield "replays", *self._acknowledged(state, save, done)
        elif save.epoch is not None and save.epoch < head.epoch and "epoch not compared" not in rules:
            yield "is fenced", *self._failed(state, save)
        elif save.expected is not None and save.expected != self.view and "no compare-and-set" not in rules:
            yield "conflicts", *self._failed(state, save)
        elif self.blob is not None and self.blob.base < head.low_water and "low-water mark ignored" not in rules:
            if self.blob in state.blobs:
                blob = Blob(save.request, self.uploads, self.view, state.time)
                writer = self._replace(blob=blob, uploads=self.uploads + 1)
                yield "copies its blob", writer, state._replace(blobs=state.blobs | {blob})
            else:
                yield "must upload again", self._replace(at="upload"), state
        else:
            slot = self.view + (2 if "slot skipped" in rules and self.view else 1)
            yield "builds its marker", self._replace(at="put", slot=slot, sent=self._marker(save, head)), state

    def _marker(self, save, head):
        marker = head._replace(kind=save.kind, request=save.request, blob=self.blob, expected=save.expected)
        if save.kind == FENCE:
            return marker._replace(epoch=head.epoch + 1, writer_epoch=head.epoch + 1)
        if save.kind == DELETED:
            return marker._replace(floor=self.view, deleted=frozenset())
        return marker._replace(writer_epoch=head.epoch if save.epoch is None else save.epoch)

    def _put(self, state, save, rules):
        landed = land(state, self.slot, self.sent, rules)
        if landed is not None:
            yield "puts and wins", self._replace(at="won"), landed
            if self.losses:
                yield "puts, was sent twice beneath, is refused", self._lost_one("refused"), landed
                yield "puts, the answer is lost", self._lost_one("doubt"), landed
        else:
            yield "is refused", self._replace(at="refused"), state
        if self.losses:
            late = state._replace(flight=state.flight | {(self.slot, self.sent)})
            yield "puts, the request is late", self._lost_one("doubt"), late

    def _lost_one(self, at):
        return self._replace(at=at, losses=self.losses - 1)

    def _refused(self, state, save, rules):
        if "own 412 taken for a loss" in rules:
            yield "gives up", *self._failed(state, save)
        else:
            yield from self._doubt(state, save, rules)

    def _doubt(self, state, save, rules):
        lies = state.slots[self.slot - 1] if self.slot <= len(state.slots) else None
        if lies == save.request:
            yield "finds its own marker", self._replace(at="won"), state
        elif lies is not None:
            view = self.slot if self.slot <= len(state.log) and state.log[self.slot - 1].request == lies else None
            if "slot that was lost taken for the head" in rules and view is not None:
                yield "finds another's marker", self._replace(at="build", view=view, read_at=state.time), state
            elif view is None or self.read_at != state.time:
                yield "reads the head", self._looking(state, "build"), state
            else:
                yield "finds another's marker", self._replace(at="build", view=view), state
        elif "doubt taken for a failure" in rules:
            yield "gives up", *self._failed(state, save)
        else:
            yield "sends again", self._replace(at="put"), state
            if self.retries:
                blobs = state.blobs - {self.blob} if "cleans up after an unknown outcome" in rules else state.blobs
                retry = self._replace(at="begin", view=0, retries=self.retries - 1, is_retry=True)
                yield "does not know; is tried again", retry, state._replace(blobs=blobs)

    def _won(self, state, save, rules):
        if self.read_at == state.time or "acknowledges without recency" in rules:
            yield "acknowledges", *self._acknowledged(state, save, self.slot)
            return
        head = newest(state)
        floor = 0 if "floor ignored" in rules else head_of(state, head).floor
        if floor < self.slot <= head:
            yield "verifies and acknowledges", *self._acknowledged(state, save, self.slot)
        else:
            if "appends again where it was collected" in rules:
                yield "sees that its slot is collected", self._looking(state, "build"), state
            else:
                yield "does not know, for good", self._next(), state

    def _acknowledged(self, state, save, revision):
        kept = self._next()._replace(view=max(self.view, revision) if revision == self.slot else self.view)
        return kept, state._replace(acked=state.acked | {(save.request, revision)})

    def _failed(self, state, save):
        return self._next(), state._replace(failed=state.failed | {save.request})

    def _next(self):
        return self._replace(
            saves=self.saves[1:], at="begin", blob=None, slot=0, sent=None, is_retry=False, began_at=-1
        )


class Collector(NamedTuple):
    """The garbage collection; it keeps the newest checkpoint only."""

    runs: int = 1
    at: str = "begin"
    settled: int = 0
    view: int = 0
    doomed: tuple = ()

    def steps(self, state: State, rules: frozenset) -> Iterator[tuple[str, "Collector", State]]:
        if self.runs:
            yield from getattr(self, f"_{self.at}")(state, rules)

    def _is_old(self, stamp, state, rules):
        return stamp <= state.time - (0 if "no grace" in rules else 1)

    def _begin(self, state, rules):
        settled = max((r for r, m in enumerate(state.log, 1) if self._is_old(m.stamp, state, rules)), default=0)
        yield "looks", self._replace(at="append", settled=settled, view=newest(state)), state

    def _append(self, state, rules):
        head = head_of(state, self.view)
        *retired, kept = visible(state, self.view) or [0]
        floor = max(head.floor, min(self.settled, kept - 1 if kept else self.view))
        orphans = self._orphans(state, rules, self.view)
        low_water = max([head.low_water, *(min(each.base + 1, self.view + 1) for each in orphans)])
        if not retired and floor < head.floor + 2 and low_water == head.low_water:
            yield "needs no marker", self._replace(at="remove", doomed=self._doom(state, rules)), state
            return
        gone = head.deleted | set(retired)
        marker = head._replace(
            kind=GC, request=f"gc{self.view}-{state.time}", blob=None, expected=None, floor=floor, low_water=low_water
        )
        marker = marker._replace(deleted=frozenset(each for each in gone if each > floor))
        if "reads references before its marker" in rules:
            doomed = self._doom(state, rules, low_water)
            landed = land(state, newest(state) + 1, marker._replace(epoch=head_of(state, newest(state)).epoch), rules)
            yield "appends its marker", self._replace(at="remove", doomed=doomed), landed
            return
        landed = land(state, self.view + 1, marker, rules)
        if landed is None:
            yield "lost its slot", self._replace(view=newest(state)), state
        else:
            collector = self._replace(view=self.view + 1)
            yield "appends its marker", collector._replace(at="remove", doomed=collector._doom(landed, rules)), landed

    def _orphans(self, state, rules, up_to):
        settled = head_of(state, self.settled)
        named = {
            marker.blob
            for revision, marker in enumerate(state.log[:up_to], 1)
            if revision > settled.floor and revision not in settled.deleted
        }
        return sorted(each for each in state.blobs if each not in named and self._is_old(each.stamp, state, rules))

    def _doom(self, state, rules, low_water=None):
        settled = head_of(state, self.settled)
        low_water = head_of(state, self.view).low_water if low_water is None else low_water
        floor = settled.floor + (1 if "newest marker removed on delete" in rules and settled.kind == DELETED else 0)
        if "floor of now" in rules:
            floor = head_of(state, self.view).floor
        markers = [r for r in range(1, floor + 1) if r <= len(state.slots) and state.slots[r - 1] is not None]
        blobs = [each for each in self._orphans(state, rules, self.view) if each.base < low_water]
        return (*markers, *blobs)

    def _remove(self, state, rules):
        if not self.doomed:
            yield "is done", Collector(self.runs - 1), state
            return
        first, *rest = self.doomed
        collector = self._replace(doomed=tuple(rest))
        if isinstance(first, Blob):
            yield "removes a blob", collector, state._replace(blobs=state.blobs - {first})
        else:
            slots = (*state.slots[: first - 1], None, *state.slots[first:])
            yield "removes a marker", collector, state._replace(slots=slots)


class Reader(NamedTuple):
    """Loads the newest checkpoint, from its cached head where that is still the head."""

    loads: int = 2
    at: str = "begin"
    view: int = 0
    read_at: int = -1
    must: int = 0

    def steps(self, state: State, rules: frozenset) -> Iterator[tuple[str, "Reader", State]]:
        if self.loads:
            yield from getattr(self, f"_{self.at}")(state, rules)

    def _begin(self, state, rules):
        view = self.view
        is_recent = self.read_at == state.time or "stale cache believed" in rules
        following = state.slots[view] if view < len(state.slots) else None
        if not (view and is_recent and following is None):
            view = newest(state)
        exist = visible(state, len(state.log))
        must = max((revision for _, revision in state.acked if revision in exist), default=0)
        yield "reads the head", self._replace(at="fetch", view=view, read_at=state.time, must=must), state

    def _fetch(self, state, rules):
        *_, target = visible(state, self.view) or [0]
        exist = visible(state, len(state.log))
        if target < self.must and self.must in exist:
            raise ViolationError(f"a load got revision {target}, though {self.must} had been acknowledged")
        blob = state.log[target - 1].blob if target else None
        is_whole = target == 0 or (state.slots[target - 1] is not None and (blob is None or blob in state.blobs))
        if is_whole or ("damage believed" not in rules and target not in exist):
            yield "loads", self._replace(at="begin", loads=self.loads - 1), state
            return
        raise ViolationError(f"a load met revision {target} damaged")
