"""Ids that are not claimed, since their callers promise that they are new, as in `log/fresh_ids.py`.

Each object of the index covers one revision. Nothing depends on the existence of an object: without it, a search reads
its revision. So an index that a marker calls complete too early breaks no promise.
"""

from collections.abc import Sequence

from tests.verification.model.state import Index, Marker, State, head_of, lies_at

# More revisions that are not indexed, and ids are claimed.
_MOST_UNINDEXED = 3


def has_fresh(head: Marker) -> bool:
    """Return whether a log has an id that was not claimed, according to its head."""
    return head.last_fresh > head.floor


def has_room(head: Marker, indexed: int) -> bool:
    """Return whether the next id need not be claimed."""
    return not has_fresh(head) or head.revision - max(head.indexed_to, indexed) < _MOST_UNINDEXED


def entered(marker: Marker, indexed: int, *, is_fresh: bool) -> Marker:
    """Return the marker of a save with what it says about the index."""
    if is_fresh:
        if not marker.last_fresh:
            marker = marker._replace(indexed_from=marker.revision - 1, indexed_to=marker.revision - 1)
        marker = marker._replace(fresh=True, last_fresh=marker.revision)
    if not marker.last_fresh:
        return marker
    return marker._replace(indexed_to=max(marker.indexed_to, indexed))


def is_due(marker: Marker, indexed: int) -> bool:
    """Return whether an object of the index can be written after a commit."""
    return has_fresh(marker) and marker.revision > max(marker.indexed_to, indexed)


def object_of(state: State, marker: Marker, indexed: int) -> Index:
    """Return the next object of the index, as it is written after the commit of a marker."""
    revision = max(marker.indexed_to, indexed) + 1
    is_known = revision not in state.rotten and lies_at(state, revision) is not None
    return Index(revision, state.log[revision - 1].chosen if is_known else None)


def find_chosen(state: State, view: int, chosen: str, base: int | None, rules: frozenset) -> tuple[int, list[int]]:
    """Return the newest revision with an id according to a head, and the damaged ones that may have it.

    Args:
        state: the state.
        view: the revision of the head.
        chosen: the id.
        base: the base of its claim; None if it is not claimed.
        rules: the rules to break.

    """
    revisions = _candidates(state, view, chosen, base, rules)
    return _read(state, view, chosen, revisions[::-1] if "oldest of two with an id" in rules else revisions)


def walk(state: State, view: int, chosen: str, base: int) -> tuple[int, list[int]]:
    """Return the same as `find_chosen`, of all revisions above a base."""
    return _read(state, view, chosen, range(view, base, -1))


def _read(state: State, view: int, chosen: str, candidates: Sequence[int]) -> tuple[int, list[int]]:
    head = head_of(state, view)
    revisions = [each for each in candidates if each > head.floor and lies_at(state, each)]
    damaged = [each for each in revisions if each in state.rotten and each not in head.deleted]
    sound = (each for each in revisions if each not in state.rotten and state.log[each - 1].chosen == chosen)
    return next(sound, 0), damaged


def _candidates(state: State, view: int, chosen: str, base: int | None, rules: frozenset) -> list[int]:
    """Return the revisions that may have an id, newest first."""
    head = head_of(state, view)
    if "id not searched after the claim's base" in rules:
        base = None
    if not has_fresh(head) or "claims only searched" in rules:
        return [] if base is None else [*range(view, base, -1)]
    claimed = [] if base is None else [*range(view, base, -1)]
    tail = range(head.last_fresh, max(head.indexed_to, head.floor), -1)
    newer = [each for each in claimed if each > head.last_fresh]
    older = [each for each in claimed if each <= head.indexed_from]
    if "only the index searched" in rules:
        tail = range(0)
    covered = range(min(head.indexed_to, head.last_fresh), head.indexed_from, -1)
    found = [each for each in covered if _may_have(state, each, chosen, rules)]
    return [*newer, *tail, *found, *older]


def _may_have(state: State, revision: int, chosen: str, rules: frozenset) -> bool:
    """Return whether a revision may have an id according to the index; without an object it has to be read."""
    index = next((each for each in state.indexes if each.revision == revision), None)
    if index is None:
        return True
    if index.chosen is None:
        return "unknown ids passed over" not in rules
    return index.chosen == chosen
