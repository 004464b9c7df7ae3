"""A checkpoint as both sides of a move have it, and the comparison of two of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ormsgpack
from langgraph.checkpoint.base import WRITES_IDX_MAP

from holdfast.adapters.langgraph.moving.exact import ExactSerializer
from holdfast.adapters.langgraph.names import Place

# The checkpoints of a thread: those of each namespace, each with the id of its parent, "" for none.
Index: TypeAlias = Mapping[Place, Mapping[str, str]]

_EXACT = ExactSerializer()


@dataclass(frozen=True, slots=True)
class StoredWrite:
    """A pending write.

    Attributes:
        task_id: its task.
        task_path: the path of the task; None if the saver does not return it.
        index: its position among the task's writes; negative for a special channel.
        channel: its channel.
        value: its value.
        is_as_imported: whether it is a write to a special channel that only an import has written.

    """

    task_id: str
    task_path: str | None
    index: int
    channel: str
    value: Any
    is_as_imported: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint.

    Attributes:
        place: its thread and namespace.
        checkpoint_id: its id.
        parent_id: its parent; "" for none.
        checkpoint: LangGraph's checkpoint.
        metadata: its metadata.
        writes: its pending writes, in their order.

    """

    place: Place
    checkpoint_id: str
    parent_id: str
    checkpoint: Any
    metadata: Any
    writes: Sequence[StoredWrite]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing a checkpoint of the source with that of the target.

    Attributes:
        difference: the first difference in words; "" if all that the target has is equal.
        missing: writes that only the source has, or has replaced since they were imported.

    """

    difference: str
    missing: Sequence[StoredWrite]


def writes_of(pending: Iterable[tuple[str, str, Any]], known: Iterable[tuple[str, int, str]] = ()) -> list[StoredWrite]:
    """Return writes as a saver lists them, with the positions and paths that it does not list.

    Args:
        pending: task, channel and value of each write.
        known: task, position and path of each write in the saver's tables; empty if unknown.

    Raises:
        LookupError: the two do not belong together.

    """
    ordinary: Counter[str] = Counter()
    places = {(task_id, index): path for task_id, index, path in known}
    positions: dict[str, list[int]] = {}
    for task_id, index in sorted(places):
        if index >= 0:
            positions.setdefault(task_id, []).append(index)
    found = []
    for task_id, channel, value in pending:
        index = WRITES_IDX_MAP.get(channel)
        if index is None:
            count = ordinary[task_id]
            ordinary[task_id] += 1
            index = positions[task_id][count] if places else count
        found.append(StoredWrite(task_id, places[task_id, index] if places else None, index, channel, value))
    if places and len(places) != len(found):
        raise LookupError("the tables have other writes")
    return found


def compared(source: Stored, target: Stored) -> Comparison:
    """Compare a checkpoint of the source with that of the target."""
    for name, left, right in (
        ("another parent", source.parent_id, target.parent_id),
        ("other metadata", source.metadata, target.metadata),
        ("other values", source.checkpoint, target.checkpoint),
    ):
        if not is_same(left, right):
            return Comparison(name, ())
    theirs_by_key = dict(_keyed(target.writes))
    missing = []
    for key, ours in _keyed(source.writes):
        theirs = theirs_by_key.pop(key, None)
        is_equal = theirs is not None and is_same(ours.value, theirs.value)
        if theirs is None or (not is_equal and theirs.is_as_imported):
            missing.append(ours)
        elif not is_equal:
            return Comparison(f"another write of task {ours.task_id} to channel {ours.channel!r}", ())
        elif None not in (ours.task_path, theirs.task_path) and ours.task_path != theirs.task_path:
            return Comparison(f"another path of task {ours.task_id}", ())
    for extra in theirs_by_key.values():
        return Comparison(f"a write of task {extra.task_id} to channel {extra.channel!r} that the source lacks", ())
    if not missing and [key for key, _ in _keyed(source.writes)] != [key for key, _ in _keyed(target.writes)]:
        return Comparison("another order of writes", ())
    return Comparison("", missing)


def is_same(left: Any, right: Any) -> bool:
    """Return whether two values are equal: as bytes of LangGraph's serializer, or but for the order of keys."""
    try:
        left, right = _EXACT.dumps_typed(left), _EXACT.dumps_typed(right)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Values that only a serializer of their own keeps.
        return type(left) is type(right) and bool(left == right)
    if left == right:
        return True
    return left[0] == right[0] == "msgpack" and _is_same_plain(_plain(left[1]), _plain(right[1]))


def _keyed(writes: Sequence[StoredWrite]) -> Iterable[tuple[tuple[str, str, int], StoredWrite]]:
    """Yield the writes with keys: task, channel, and the number of the task's earlier writes to it."""
    counts: Counter[tuple[str, str]] = Counter()
    for write in writes:
        key = write.task_id, write.channel
        yield (*key, counts[key]), write
        counts[key] += 1


def _plain(content: bytes) -> Any:
    return ormsgpack.unpackb(content, ext_hook=lambda code, data: (code, data), option=ormsgpack.OPT_NON_STR_KEYS)


def _is_same_plain(left: Any, right: Any) -> bool:
    """Compare values of msgpack without recursion, since their depth is not limited here."""
    pairs = [(left, right)]
    while pairs:
        ours, theirs = pairs.pop()
        if type(ours) is not type(theirs):
            return False
        if isinstance(ours, dict):
            if ours.keys() != theirs.keys():
                return False
            pairs += [(value, theirs[key]) for key, value in ours.items()]
        elif isinstance(ours, list):
            if len(ours) != len(theirs):
                return False
            pairs += zip(ours, theirs, strict=True)
        elif repr(ours) != repr(theirs):
            return False
    return True
