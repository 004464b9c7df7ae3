"""Convert pending writes to records of their checkpoint, and back.

Each write is one record, with a key made of its task and index. The first write with a key stays, except for those to
special channels. All writes of a task are attached in one call, so a reader sees all of them or none. If they are too
large for one call, their data is attached first, as chunks that are named by a digest, and then small records that
refer to the chunks, in one call. If the client encrypts, chunks have random names: a digest says something of its data.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from holdfast._core.checkpoint import Record
from holdfast._core.errors import of_reason
from holdfast.adapters.langgraph.names import record_key

# The limits of a server for one call. Encryption adds less than half a KiB to a record.
_CALL_RECORDS = 1000
_CALL_BYTES = (3 << 20) - 512 * _CALL_RECORDS
# Three chunks fit in one call, and two in one answer.
_CHUNK_BYTES = (1 << 20) - 1024
_BUNDLE = "bundle"
# No key of a task begins with it.
_CHUNK = "#"
# Readers pass it over like a chunk.
_IMPORTED = f"{_CHUNK}imported."
_WRITES, _REFERENCE = b"w", b"r"


@dataclass(frozen=True, slots=True)
class Write:
    """A write of a task.

    Attributes:
        task_id: the task.
        task_path: its path.
        index: its position among the task's writes; negative for a special channel.
        channel: the channel.
        kind: the serializer's name of the value's type.
        data: the serialized value.

    """

    task_id: str
    task_path: str
    index: int
    channel: str
    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """The records of a task's writes.

    Attributes:
        chunks: to attach first, in any number of calls; no reader sees them by themselves.
        final: to attach afterwards, in one call.

    """

    chunks: Sequence[Record]
    final: Sequence[Record]


def pack(writes: Sequence[Write], *, has_secret_names: bool = False) -> Packed:
    """Return the records of one task's writes.

    Args:
        writes: the writes.
        has_secret_names: whether the names of chunks say nothing of their data.

    """
    single = {record_key(write.task_id, _suffix(write)): write for write in writes}
    final = [Record(key, _WRITES + _frame([write]), replace=write.index < 0) for key, write in single.items()]
    if len(final) <= _CALL_RECORDS and sum(len(record.key) + len(record.data) for record in final) <= _CALL_BYTES:
        return Packed((), final)
    bundles = {key: [write] for key, write in single.items() if write.index < 0}
    ordinary = [write for write in single.values() if write.index >= 0]
    if ordinary:
        bundles[record_key(ordinary[0].task_id, _BUNDLE)] = ordinary
    chunks, final = [], []
    for key, bundle in bundles.items():
        frame = _frame(bundle)
        digest = sha256(frame).hexdigest()
        name = secrets.token_hex(32) if has_secret_names else digest
        cut = [frame[start : start + _CHUNK_BYTES] for start in range(0, len(frame), _CHUNK_BYTES)]
        chunks += [Record(_chunk_key(name, index), data) for index, data in enumerate(cut)]
        named = {"name": name} if has_secret_names else {}
        reference = json.dumps({"sha256": digest, "chunks": len(cut), **named}).encode()
        final.append(Record(key, _REFERENCE + reference, replace=bundle[0].index < 0))
    return Packed(chunks, final)


def unpack(records: Iterable[Record]) -> list[Write]:
    """Return the writes in records, ordered by path, task and index.

    Raises:
        CheckpointCorruptedError: a record was not made by `pack`, or a chunk is missing or damaged.

    """
    data = {record.key: record.data for record in records}
    found: dict[tuple[str, int], Write] = {}
    # Bundles first: a record of a single write takes precedence.
    for key in sorted(data, key=lambda key: data[key][:1] == _WRITES):
        if key.startswith(_CHUNK):
            continue
        try:
            found |= {(write.task_id, write.index): write for write in _writes(data[key], data)}
        except (ValueError, KeyError, TypeError) as error:
            message = f"record {key!r} does not contain writes: {type(error).__name__}: {error}"
            raise of_reason("CHECKPOINT_CORRUPTED", message) from error
    return sorted(found.values(), key=lambda write: (write.task_path, write.task_id, write.index))


def marked_as_imported(records: Iterable[Record]) -> Iterator[Record]:
    """Yield records that mark the special writes among others as written by an import.

    A special write may be replaced, by the source and by a run here. The next import must distinguish the two.
    """
    for record in records:
        if record.replace:
            yield Record(f"{_IMPORTED}{record.key}", sha256(record.data).digest(), replace=True)


def is_as_imported(write: Write, records: Iterable[Record]) -> bool:
    """Return whether a special write is still the one that an import wrote, according to its checkpoint's records."""
    key = record_key(write.task_id, _suffix(write))
    data = {record.key: record.data for record in records if record.key in (key, f"{_IMPORTED}{key}")}
    return len(data) == 2 and sha256(data[key]).digest() == data[f"{_IMPORTED}{key}"]


def _suffix(write: Write) -> str:
    return f"{write.index:06d}" if write.index >= 0 else f"special{-write.index}"


def _chunk_key(name: str, index: int) -> str:
    return f"{_CHUNK}{name}.{index:06d}"


def _frame(writes: Sequence[Write]) -> bytes:
    """Return writes of one task as bytes: the size of a description, the description, and the values."""
    described = {
        "task_id": writes[0].task_id,
        "task_path": writes[0].task_path,
        "writes": [[write.index, write.channel, write.kind, len(write.data)] for write in writes],
    }
    description = json.dumps(described).encode()
    return b"".join([len(description).to_bytes(4), description, *(write.data for write in writes)])


def _writes(data: bytes, records: Mapping[str, bytes]) -> Iterator[Write]:
    kind, frame = data[:1], data[1:]
    if kind == _REFERENCE:
        reference = json.loads(frame)
        digest = reference["sha256"]
        name = reference.get("name", digest)
        frame = b"".join(records[_chunk_key(name, index)] for index in range(reference["chunks"]))
        if sha256(frame).hexdigest() != digest:
            raise ValueError("the digest does not match")
    elif kind != _WRITES:
        raise ValueError(f"unknown kind {kind!r}")
    start = 4 + int.from_bytes(frame[:4])
    described = json.loads(frame[4:start])
    for index, channel, type_name, size in described["writes"]:
        value = frame[start : start + size]
        if len(value) != size:
            raise ValueError("a value is cut")
        start += size
        yield Write(described["task_id"], described["task_path"], index, channel, type_name, value)
