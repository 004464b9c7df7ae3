"""What a checkpoint of LangGraph is in Holdfast: its parts and labels, made and read back by the saver's serializer.

The server keeps bytes and never reads them. The type that the serializer gives stands in the part's name.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one
from typing import Any
from uuid import UUID

from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple, get_checkpoint_metadata

from holdfast._core.checkpoint import AcceptedFormat, Format, LoadedCheckpoint
from holdfast._core.errors import of_reason
from holdfast.adapters.langgraph import writes
from holdfast.adapters.langgraph.names import Place, decoded, encoded

FORMAT = Format("langgraph-checkpoint", 1)
ACCEPTED = (AcceptedFormat(FORMAT.name, 1, FORMAT.version),)
# Metadata that every checkpoint of LangGraph has, and by which it is looked for, beside the run's id.
_LABELLED = ("source", "step")
_LONGEST_LABEL = 1000
_DIGEST = "sha256 "
# Of the path in an error.
_DEEPEST_PATH = 20
NEEDS_PARENT = "needs_parent"
# The part that tells the names of thread and namespace, where a digest stands for one of them.
PLACE = "place"
_DELTA_COUNTERS = "counters_since_delta_snapshot"


@dataclass(frozen=True, slots=True)
class Contents:
    """A checkpoint to save: its id, its parent's or "", its parts, its labels, and whether it needs its parent."""

    checkpoint_id: str
    parent_id: str
    parts: Mapping[str, bytes]
    labels: Mapping[str, str]
    needs_parent: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which checkpoints a list holds.

    Attributes:
        thread_id: the thread; None for every one.
        checkpoint_ns: its namespace; None for every one.
        checkpoint_id: the only one; "" for all.
        metadata: what their metadata must have.
        before: their ids must be smaller than this; "" for all.
        limit: how many at most; None for all.

    """

    thread_id: str | None
    checkpoint_ns: str | None
    checkpoint_id: str
    metadata: Mapping[str, Any]
    before: str
    limit: int | None


def pack(serde: Any, place: Place, config: Any, checkpoint: Any, metadata: Any) -> Contents:
    """What is saved of a checkpoint."""
    merged = get_checkpoint_metadata(config, metadata)
    parent_id = config["configurable"].get("checkpoint_id") or ""
    parts = {}
    for name, value in (("checkpoint", checkpoint), ("metadata", merged)):
        kind, data = _dumped(serde, value, name)
        parts[f"{name}.{encoded(kind)}"] = data
    if place.part is not None:
        parts[PLACE] = place.part
    needs_parent = bool(parent_id) and _replays(checkpoint, merged)
    labels = labels_of(merged) | ({NEEDS_PARENT: "1"} if needs_parent else {})
    return Contents(encoded(checkpoint["id"]), parent_id and encoded(parent_id), parts, labels, needs_parent)


def unpack(serde: Any, place: Place, loaded: LoadedCheckpoint) -> CheckpointTuple:
    """The checkpoint that was saved, with its pending writes.

    Raises:
        CheckpointCorruptedError: a part or a record is missing.
        FormatIncompatibleError: the serializer cannot read it.

    """
    parent_id = decoded(loaded.info.parent_id)
    return CheckpointTuple(
        config=config_of(place, decoded(loaded.checkpoint_id)),
        checkpoint=_part(serde, loaded, "checkpoint"),
        metadata=unpack_metadata(serde, loaded),
        parent_config=config_of(place, parent_id) if parent_id else None,
        pending_writes=[
            (each.task_id, each.channel, _read(serde, loaded, each.kind, each.data, f"channel {each.channel!r}"))
            for each in writes.unpack(loaded.records)
        ],
    )


def unpack_metadata(serde: Any, loaded: LoadedCheckpoint) -> Any:
    """The metadata of a checkpoint."""
    return _part(serde, loaded, "metadata")


def pack_writes(serde: Any, given: Sequence[tuple[str, Any]], task_id: str, task_path: str) -> writes.Packed:
    """What is saved of a task's writes."""
    return writes.pack(
        [
            writes.Write(
                task_id,
                task_path,
                WRITES_IDX_MAP.get(channel, index),
                channel,
                *_dumped(serde, value, f"the write to channel {repr(channel)}"),
            )
            for index, (channel, value) in enumerate(given)
        ]
    )


def config_of(place: Place, checkpoint_id: str) -> Any:
    """A config that names a checkpoint."""
    return {"configurable": {**place._asdict(), "checkpoint_id": checkpoint_id}}


def labels_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of metadata, by which it is found. Values that Python holds for equal have equal labels."""
    labels = {key: _label(metadata[key]) for key in _LABELLED if key in metadata}
    if "run_id" in metadata:
        run_id = metadata["run_id"]
        labels["run_id"] = run_label(run_id) if isinstance(run_id, str | UUID) else None
    return {key: label for key, label in labels.items() if label is not None}


def run_label(run_id: str | UUID) -> str:
    """Return the label of a run's checkpoints, which those of no other run have: a deletion goes by it alone."""
    return _text_label(str(run_id) if isinstance(run_id, UUID) else run_id)


def matches(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether metadata has the wanted values."""
    return all(metadata.get(key) == value for key, value in wanted.items())


def _label(value: Any) -> str | None:
    if isinstance(value, str):
        return _text_label(value)
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return _text_label(f"{int(value) if value == int(value) else value!r}")
    return None


def _text_label(text: str) -> str:
    data = text.encode(errors="surrogatepass")
    is_kept = len(data) <= _LONGEST_LABEL and text.isprintable() and not text.startswith(_DIGEST)
    return text if is_kept else f"{_DIGEST}{sha256(data).hexdigest()}"


def _replays(checkpoint: Any, metadata: Any) -> bool:
    """Whether the value of a delta channel has to be made from what ancestors hold."""
    return any(
        channel in checkpoint["channel_versions"] and channel not in checkpoint["channel_values"]
        for channel in metadata.get(_DELTA_COUNTERS) or ()
    )


def _dumped(serde: Any, value: Any, what: str) -> tuple[str, bytes]:
    """A value as the serializer keeps it.

    Raises:
        TypeError, ValueError: it cannot be kept; the message names the place in it.

    """
    try:
        kind, data = serde.dumps_typed(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        kind_of_error = TypeError if isinstance(error, TypeError) else ValueError
        raise kind_of_error(f"{_culprit(serde, value, what)} cannot be saved: {error}") from error
    return kind, bytes(data)


def _culprit(serde: Any, value: Any, path: str) -> str:
    """The path of the innermost value that the serializer does not take."""
    for _ in range(_DEEPEST_PATH):
        if isinstance(value, Mapping):
            inner: Iterable[tuple[str, Any]] = ((f"[{repr(key)}]", each) for key, each in value.items())
        elif isinstance(value, list | tuple):
            inner = ((f"[{index}]", each) for index, each in enumerate(value))
        elif is_dataclass(value) and not isinstance(value, type):
            inner = ((f".{each.name}", getattr(value, each.name, None)) for each in fields(value))
        else:
            break
        for step, each in inner:
            if not _is_kept(serde, each):
                path, value = path + step, each
                break
        else:
            break
    return path


def _is_kept(serde: Any, value: Any) -> bool:
    try:
        serde.dumps_typed(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def _part(serde: Any, loaded: LoadedCheckpoint, name: str) -> Any:
    for part, data in loaded.parts.items():
        prefix, _, kind = part.partition(".")
        if prefix == name:
            return _read(serde, loaded, decoded(kind), data, name)
    raise of_reason("CHECKPOINT_CORRUPTED", f"checkpoint {loaded.checkpoint_id!r} has no part {name!r}")


def _read(serde: Any, loaded: LoadedCheckpoint, kind: str, data: bytes, what: str) -> Any:
    try:
        return serde.loads_typed((kind, data))
    except Exception as error:
        message = f"the serializer cannot read {what} of checkpoint {loaded.checkpoint_id!r}, which has type {kind!r}"
        details = f"{message}: {type(error).__name__}: {error}"
        raise of_reason("FORMAT_INCOMPATIBLE", details, trace_id=loaded.info.trace_id) from error
