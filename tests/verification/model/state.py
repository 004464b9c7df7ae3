"""A state of the model: the objects in the store, the requests in flight, the actors' knowledge, and the true history.

Time is counted in graces: a view of the head is recent within the tick in which it was read, and an object older than
a tick is older than the grace. This module makes every change of the store and checks it against the promises: no
object that a live marker names is removed, a revision has one winner, no request commits twice.
"""

from collections.abc import Iterator
from typing import NamedTuple

DATA, FENCE, GC, DELETED = "data", "fence", "gc", "deleted"
FORGED = "forged"
MOST_BASES = 2
# How many entries a marker remembers, including itself.
_RECENT = 2


class ViolationError(Exception):
    """A broken promise."""


class Blob(NamedTuple):
    request: str
    number: int
    base: int
    stamp: int


class Claim(NamedTuple):
    generation: int
    chosen: str
    base: int
    stamp: int


class Index(NamedTuple):
    """An object of the index of ids."""

    revision: int
    chosen: str | None  # "" if the entry has no chosen id, None if that was not readable


class Bare(NamedTuple):
    """A marker without its content, on its way to the store."""

    revision: int


class Marker(NamedTuple):
    kind: str = ""
    request: str = ""
    revision: int = 0
    stamp: int = -1
    epoch: int = 0
    writer_epoch: int = 0
    expected: int | None = None
    carried: int | None = None  # the epoch of its request
    is_older: bool = False  # whether an older server wrote it
    blob: Blob | None = None
    chosen: str = ""  # the checkpoint id if the caller chose it
    fresh: bool = False  # whether it was not claimed, since the caller promised that it is new
    pinned: bool = False
    bases: tuple = ()  # revisions whose bytes it needs, oldest first
    floor: int = 0
    base_floor: int = 0  # bases up to here do not count any more
    low_water: int = 0
    generation: int = 0
    last_fresh: int = 0  # the newest id that was not claimed
    indexed_from: int = 0  # the index of ids begins after this revision
    indexed_to: int = 0  # and is complete up to this one
    deleted: frozenset = frozenset()
    last: int = 0  # the newest checkpoint, including this one
    previous: int = 0  # the newest one before it
    recent: tuple = ()  # revisions, newest first
    saved: int | None = 0  # the newest save or deletion of the workflow; None after an older server
    saved_epoch: int = 0
    other_saved: int = 0  # the newest save under another epoch
    fenced: int = 0  # the newest fence
    previously_fenced: int = 0  # the newest one before it


class State(NamedTuple):
    until: int  # when time ends
    rots: int  # how many more objects can rot
    actors: tuple
    time: int = 0
    log: tuple = ()  # the true history, one marker per revision
    markers: tuple = ()  # by revision: the request of the stored marker, or None
    blobs: frozenset = frozenset()
    claims: frozenset = frozenset()
    indexes: frozenset = frozenset()
    purged: frozenset = frozenset()  # revisions whose stored marker is purged
    rewritten: frozenset = frozenset()  # revisions that were stored again without bases
    rotten: frozenset = frozenset()  # blobs, and the revisions of markers
    flight: frozenset = frozenset()  # markers, claims and objects of the index in flight
    failed: frozenset = frozenset()  # requests in flight that were reported as failed
    forgeries: int = 0  # how many more markers somebody without the key can forge
    forged: frozenset = frozenset()  # revisions with a forged marker; rotten as well, because their MACs are wrong


EMPTY = Marker()


def head_of(state: State, view: int) -> Marker:
    # A forged marker may lie beyond the log.
    return state.log[min(view, len(state.log)) - 1] if view and state.log else EMPTY


def newest(state: State) -> int:
    """Return the newest revision of a listing."""
    return max((index + 1 for index, who in enumerate(state.markers) if who is not None), default=0)


def lies_at(state: State, revision: int) -> str | None:
    return state.markers[revision - 1] if 0 < revision <= len(state.markers) else None


def is_live(state: State, view: int, revision: int) -> bool:
    """Return whether a checkpoint exists according to a head."""
    head = head_of(state, view)
    return head.floor < revision <= view and state.log[revision - 1].kind == DATA and revision not in head.deleted


def visible(state: State, view: int) -> list[int]:
    """Return the checkpoints that exist according to a head, oldest first."""
    return [each for each in range(head_of(state, view).floor + 1, view + 1) if is_live(state, view, each)]


def bases_of(state: State, revision: int) -> tuple:
    """Return the bases of a checkpoint as it is stored now."""
    return () if revision in state.rewritten else state.log[revision - 1].bases


def bases_by_log(state: State, revision: int) -> tuple:
    """Return the bases that a checkpoint was committed with."""
    return state.log[revision - 1].bases


def bytes_of(state: State, revision: int) -> Blob | int:
    """Return what holds the payload of a checkpoint: its blob, or its marker."""
    return state.log[revision - 1].blob or revision


def has_bytes(state: State, revision: int) -> bool:
    """Return whether the payload of a checkpoint is stored, damaged or not. Its bases are not considered."""
    blob = state.log[revision - 1].blob
    if blob is not None:
        return blob in state.blobs
    return lies_at(state, revision) == state.log[revision - 1].request and revision not in state.purged


def possible_bases(state: State, view: int, rules: frozenset) -> tuple:
    """Return what a checkpoint after a head may rest on: the newest checkpoint, and what that one rests on."""
    head = head_of(state, view)
    if head.last <= head.floor:
        return ()
    base_floor = 0 if "base floor ignored" in rules else head.base_floor
    # By its marker in a cache, which may be older than the stored one.
    return tuple(each for each in (*state.log[head.last - 1].bases, head.last) if each > base_floor)


def revision_of(state: State, request: str) -> int:
    """Return the revision of a request in the true history; 0 if it is not there."""
    return next((each.revision for each in state.log if each.request == request), 0)


def meets(state: State, view: int, expected: int | None, epoch: int | None) -> bool:
    """Return whether a compare-and-set succeeds by the true history; 0 expects that no checkpoint exists."""
    if expected in (None, view) or (expected == 0 and not visible(state, view)):
        return True
    return 0 < expected < view and not any(_stands_against(each, epoch) for each in state.log[expected:view])


def _stands_against(marker: Marker, epoch: int | None) -> bool:
    is_fence_of_others = marker.kind == FENCE and marker.epoch != epoch
    return marker.is_older or marker.kind == DATA or is_fence_of_others or _ends_all(marker)


def _ends_all(marker: Marker) -> bool:
    """Return whether it is a deletion of the whole workflow."""
    return marker.kind == DELETED and marker.floor == marker.revision - 1


def following(head: Marker, **matter) -> Marker:
    """Return the marker after a head, with everything that carries over."""
    revision = head.revision + 1
    marker = head._replace(
        revision=revision,
        blob=None,
        expected=None,
        carried=None,
        is_older=False,
        chosen="",
        fresh=False,
        pinned=False,
        bases=(),
        writer_epoch=0,
        previous=head.last,
        **matter,
    )
    if head.last_fresh <= head.floor:
        marker = marker._replace(last_fresh=0, indexed_from=0, indexed_to=0)
    if head.saved is None:
        marker = marker._replace(saved=head.revision, saved_epoch=0, other_saved=head.revision)
        marker = marker._replace(fenced=head.revision, previously_fenced=head.revision)
    kept = tuple(each for each in head.recent if each > marker.floor)
    return marker._replace(recent=(revision, *kept[: _RECENT - 1]))


def land(state: State, marker: Marker, rules: frozenset = frozenset()) -> State | None:
    """Return the state after a put-if-absent of a marker; None if its revision is taken."""
    revision = marker.revision
    markers = state.markers + (None,) * (revision - len(state.markers))
    if markers[revision - 1] is not None and "put overwrites" not in rules:
        return None
    if markers[revision - 1] is not None and markers[revision - 1] != marker.request:
        raise ViolationError(f"revision {revision} has two winners")
    markers = (*markers[: revision - 1], marker.request, *markers[revision:])
    if revision <= len(state.log):
        if revision > state.log[-1].floor:
            raise ViolationError(f"revision {revision} was won twice")
        return state._replace(markers=markers)
    if revision > len(state.log) + 1:
        raise ViolationError(f"revision {revision} leaves a gap")
    _check_append(state, marker)
    return state._replace(markers=markers, log=(*state.log, marker._replace(stamp=state.time)))


def _check_append(state: State, marker: Marker) -> None:
    request, end = marker.request, len(state.log)
    if request in state.failed:
        raise ViolationError(f"{request} was reported as failed, and is committed")
    if revision_of(state, request):
        raise ViolationError(f"{request} was committed twice")
    if not meets(state, end, marker.expected, marker.carried):
        raise ViolationError(f"{request} was committed on revision {end}, expected {marker.expected}")
    if marker.carried is not None and marker.carried > head_of(state, end).epoch:
        raise ViolationError(f"{request} was committed under epoch {marker.carried}, which was never given")
    live = visible(state, end)
    if marker.kind == GC:
        _check_retired(state, marker, live)
    if marker.kind != DATA:
        return
    if any(each.kind == FENCE and each.epoch > marker.writer_epoch for each in state.log):
        raise ViolationError(f"{request} was committed by a fenced writer")
    if marker.blob is not None and marker.blob not in state.blobs:
        raise ViolationError(f"{request} was committed without its blob")
    noticed = [each for each in live if not marker.fresh or each in head_of(state, end).recent]
    if marker.chosen and any(state.log[each - 1].chosen == marker.chosen for each in noticed):
        raise ViolationError(f"two checkpoints have the id {marker.chosen}")
    if len(marker.bases) > MOST_BASES:
        raise ViolationError(f"{request} rests on {len(marker.bases)} bases")
    held = {base for each in live for base in (each, *state.log[each - 1].bases)}
    for base in marker.bases:
        if base not in held or not _can_be_base(state, base):
            raise ViolationError(f"{request} rests on revision {base}, which nothing holds")


def _check_retired(state: State, marker: Marker, live: list[int]) -> None:
    retired = [each for each in live if each <= marker.floor or each in marker.deleted]
    pinned = [each for each in live if state.log[each - 1].pinned]
    if {*retired} & {*pinned}:
        raise ViolationError("a pinned checkpoint was retired")
    if [each for each in live if each not in pinned][-1:] == retired[-1:] != []:
        raise ViolationError("the newest checkpoint that is not pinned was retired")
    if marker.last != max((each for each in live if each not in retired), default=0):
        raise ViolationError("a collection forgot which checkpoint is the newest")


def claimed(state: State, claim: Claim) -> State:
    """Return the state after a put-if-absent of a claim."""
    if base_of(state, claim.generation, claim.chosen) is not None:
        return state
    return state._replace(claims=state.claims | {claim._replace(stamp=state.time)})


def indexed(state: State, index: Index) -> State:
    """Return the state after a put-if-absent of an object of the index."""
    if any(each.revision == index.revision for each in state.indexes):
        return state
    return state._replace(indexes=state.indexes | {index})


def base_of(state: State, generation: int, chosen: str) -> int | None:
    """Return the base revision in the claim of an id; None if there is no claim."""
    return next((each.base for each in state.claims if (each.generation, each.chosen) == (generation, chosen)), None)


def without_marker(state: State, revision: int) -> State:
    if is_live(state, len(state.log), revision):
        raise ViolationError(f"the marker of revision {revision} is gone")
    _check_not_needed(state, revision)
    markers = (*state.markers[: revision - 1], None, *state.markers[revision:])
    return state._replace(markers=markers, rotten=state.rotten - {revision}, purged=state.purged - {revision})


def bared(state: State, revision: int) -> State:
    """Return the state after a purge of a marker."""
    if is_live(state, len(state.log), revision):
        raise ViolationError(f"the content of revision {revision} is gone")
    _check_not_needed(state, revision)
    markers = (*state.markers[: revision - 1], state.log[revision - 1].request, *state.markers[revision:])
    return state._replace(markers=markers, rotten=state.rotten - {revision}, purged=state.purged | {revision})


def rewritten(state: State, revision: int) -> State:
    """Return the state after a checkpoint was stored again without bases, in place of its difference to them."""
    for each in visible(state, len(state.log)):
        if revision in bases_of(state, each):
            raise ViolationError(f"revision {revision} was rewritten, on which revision {each} rests")
    return state._replace(rewritten=state.rewritten | {revision})


def without_blob(state: State, blob: Blob) -> State:
    for revision in visible(state, len(state.log)):
        if state.log[revision - 1].blob == blob:
            raise ViolationError(f"the blob of revision {revision} is gone")
    _check_not_needed(state, blob)
    return state._replace(blobs=state.blobs - {blob}, rotten=state.rotten - {blob})


def _check_not_needed(state: State, lost: Blob | int) -> None:
    """Check that no checkpoint rests on bytes that are removed."""
    for revision in visible(state, len(state.log)):
        for base in bases_of(state, revision):
            if bytes_of(state, base) == lost:
                raise ViolationError(f"revision {base} is gone, on which revision {revision} rests")


def is_whole(state: State, revision: int, bases: tuple) -> bool:
    """Return whether the store has a checkpoint's marker, its blob and some bases, undamaged."""
    blob = state.log[revision - 1].blob
    is_there = lies_at(state, revision) is not None and (blob is None or blob in state.blobs)
    is_sound = is_there and revision not in state.purged and not {revision, blob} & state.rotten
    return is_sound and all(_can_be_base(state, each) and bytes_of(state, each) not in state.rotten for each in bases)


def _can_be_base(state: State, revision: int) -> bool:
    """Return whether the bytes of a checkpoint are stored as they were when others were encoded with them."""
    return has_bytes(state, revision) and revision not in state.rewritten


def is_rotten(state: State, revision: int) -> bool:
    """Return whether a checkpoint is damaged: its marker, its bytes or those of a base."""
    needed = {bytes_of(state, each) for each in (revision, *bases_of(state, revision))}
    return not state.rotten.isdisjoint({revision} | needed)


def rotted(state: State) -> Iterator[tuple[str, State]]:
    """Return the states after an object has rotted that an actor may still need."""
    head = head_of(state, len(state.log))
    for revision in range(head.floor + 1, len(state.log) + 1):
        blob = state.log[revision - 1].blob
        for what in (revision, blob):
            if what is not None and what not in state.rotten and (what is revision or blob in state.blobs):
                label = f"the {'marker' if what is revision else 'blob'} of revision {revision} rots"
                yield label, state._replace(rots=state.rots - 1, rotten=state.rotten | {what})


def forged(state: State) -> Iterator[tuple[str, State]]:
    """Return the states after somebody without the key has forged a marker: an entry of the log, or the next one."""
    head = head_of(state, len(state.log))
    for revision in range(head.floor + 1, len(state.log) + 2):
        is_next = revision > len(state.log)
        if revision in state.rotten or is_next == (lies_at(state, revision) is not None):
            continue
        markers = (*state.markers, None)[: max(len(state.markers), revision)]
        markers = (*markers[: revision - 1], FORGED if is_next else markers[revision - 1], *markers[revision:])
        yield (
            f"the marker of revision {revision} is forged",
            state._replace(
                forgeries=state.forgeries - 1,
                markers=markers,
                rotten=state.rotten | {revision},
                forged=state.forged | {revision},
            ),
        )


def is_damage(state: State, revision: int, rules: frozenset) -> bool:
    """Return whether a marker that is read is damaged, or forged, which its MAC shows."""
    if revision in state.forged and "MAC not compared" in rules:
        raise ViolationError(f"the forged marker of revision {revision} was believed")
    return revision in state.rotten


def landed(state: State, rules: frozenset) -> Iterator[tuple[str, State]]:
    """Return the states after a request in flight has landed."""
    for late in state.flight:
        rest = state._replace(flight=state.flight - {late})
        if isinstance(late, Claim):
            yield f"a late claim of {late.chosen} lands", claimed(rest, late)
        elif isinstance(late, Index):
            yield f"a late object of the index of revision {late.revision} lands", indexed(rest, late)
        elif isinstance(late, Bare):
            yield f"a late purge of revision {late.revision} lands", bared(rest, late.revision)
        else:
            yield f"a late put of {late.request} lands", land(rest, late, rules) or rest


def failing(state: State, request: str) -> State:
    """Return the state after a request was finally reported as failed."""
    if revision_of(state, request):
        raise ViolationError(f"{request} was reported as failed, and is committed")
    is_late = any(isinstance(each, Marker) and each.request == request for each in state.flight)
    return state._replace(failed=state.failed | {request}) if is_late else state
