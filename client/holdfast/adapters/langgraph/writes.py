"""Pending writes as records of their checkpoint.

A write is one record, whose key is made of its task and index: what is there first stays, but for special channels.
All writes of a call go to the server together, so that nobody ever sees a part of what a task wrote. A call that is too
large for that becomes chunks, named by their digest, and small records that complete it, which go last.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from holdfast._core.checkpoint import Record
from holdfast._core.errors import of_reason
from holdfast.adapters.langgraph.names import record_key

# What a server takes in one call.
_CALL_BYTES = 3 << 20
_CALL_RECORDS = 1000
# Three of them go in a call, and two in an answer.
_CHUNK_BYTES = (1 << 20) - 1024
_BUNDLE = "bundle"
# No key of a task begins so.
_CHUNK = "#"
_WRITES, _REFERENCE = b"w", b"r"


@dataclass(frozen=True, slots=True)
class Write:
    """A write of a task.

    Attributes:
        task_id: the task.
        task_path: its path.
        index: its place among the task's writes; below 0 for a special channel.
        channel: the channel.
        kind: what the serializer calls the value's type.
        data: the value.

    """

    task_id: str
    task_path: str
    index: int
    channel: str
    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """The records of a call: chunks, which may go one by one, then those that go together."""

    chunks: Sequence[Record]
    heads: Sequence[Record]


def pack(writes: Sequence[Write]) -> Packed:
    """The records of one task's writes."""
    single = {record_key(each.task_id, _suffix(each)): each for each in writes}
    heads = [Record(key, _WRITES + _frame([each]), replace=each.index < 0) for key, each in single.items()]
    if len(heads) <= _CALL_RECORDS and sum(len(each.key) + len(each.data) for each in heads) <= _CALL_BYTES:
        return Packed((), heads)
    bundles = {key: [each] for key, each in single.items() if each.index < 0}
    ordinary = [each for each in single.values() if each.index >= 0]
    if ordinary:
        bundles[record_key(ordinary[0].task_id, _BUNDLE)] = ordinary
    chunks, heads = [], []
    for key, bundle in bundles.items():
        frame = _frame(bundle)
        digest = sha256(frame).hexdigest()
        cut = [frame[start : start + _CHUNK_BYTES] for start in range(0, len(frame), _CHUNK_BYTES)]
        chunks += [Record(_chunk_key(digest, index), data) for index, data in enumerate(cut)]
        reference = json.dumps({"sha256": digest, "chunks": len(cut)}).encode()
        heads.append(Record(key, _REFERENCE + reference, replace=bundle[0].index < 0))
    return Packed(chunks, heads)


def unpack(records: Iterable[Record]) -> list[Write]:
    """The writes that records hold, ordered by path, task and index.

    Raises:
        CheckpointCorruptedError: a record is none that `pack` makes, or a part of it is missing.

    """
    data = {each.key: each.data for each in records}
    found: dict[tuple[str, int], Write] = {}
    # Bundles first: a write that has a record of its own counts more.
    for key in sorted(data, key=lambda key: data[key][:1] == _WRITES):
        if key.startswith(_CHUNK):
            continue
        try:
            found |= {(each.task_id, each.index): each for each in _writes(data[key], data)}
        except (ValueError, KeyError, TypeError) as error:
            message = f"record {key!r} holds no writes: {type(error).__name__}"
            raise of_reason("CHECKPOINT_CORRUPTED", message) from error
    return sorted(found.values(), key=lambda each: (each.task_path, each.task_id, each.index))


def _suffix(write: Write) -> str:
    return f"{write.index:06d}" if write.index >= 0 else f"special{-write.index}"


def _chunk_key(digest: str, index: int) -> str:
    return f"{_CHUNK}{digest}.{index:06d}"


def _frame(writes: Sequence[Write]) -> bytes:
    """Writes of one task: the size of a description, the description, and the values one behind the other."""
    described = {
        "task_id": writes[0].task_id,
        "task_path": writes[0].task_path,
        "writes": [[each.index, each.channel, each.kind, len(each.data)] for each in writes],
    }
    description = json.dumps(described).encode()
    return b"".join([len(description).to_bytes(4), description, *(each.data for each in writes)])


def _writes(data: bytes, records: Mapping[str, bytes]) -> Iterator[Write]:
    kind, frame = data[:1], data[1:]
    if kind == _REFERENCE:
        reference = json.loads(frame)
        digest = reference["sha256"]
        frame = b"".join(records[_chunk_key(digest, index)] for index in range(reference["chunks"]))
        if sha256(frame).hexdigest() != digest:
            raise ValueError("digest")
    elif kind != _WRITES:
        raise ValueError("kind")
    values = 4 + int.from_bytes(frame[:4])
    described = json.loads(frame[4:values])
    for index, channel, type_name, size in described["writes"]:
        value = frame[values : values + size]
        if len(value) != size:
            raise ValueError("size")
        values += size
        yield Write(described["task_id"], described["task_path"], index, channel, type_name, value)
