"""Convert LangGraph's checkpoints to parts and labels of Holdfast's, and back, with the saver's serializer.

The server stores bytes and never reads them. The type that the serializer returns is in the part's name.
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
# Metadata that every checkpoint of LangGraph has. Lists can filter by it, and by the run's id, on the server.
_LABELLED = ("source", "step")
_LONGEST_LABEL = 1000
_DIGEST = "sha256 "
# The maximum number of steps of a path in an error.
_MAX_PATH_STEPS = 20
NEEDS_PARENT = "needs_parent"
# The part with the names of thread and namespace, if the workflow's id has a digest of one of them.
PLACE = "place"
_DELTA_COUNTERS = "counters_since_delta_snapshot"


@dataclass(frozen=True, slots=True)
class Contents:
    """A checkpoint to save.

    Attributes:
        checkpoint_id: its encoded id.
        parent_id: its parent's encoded id; "" if it has no parent.
        parts: its parts by name.
        labels: its labels.
        needs_parent: whether it is of no use without its parent.

    """

    checkpoint_id: str
    parent_id: str
    parts: Mapping[str, bytes]
    labels: Mapping[str, str]
    needs_parent: bool


def pack(serde: Any, place: Place, config: Any, checkpoint: Any, metadata: Any) -> Contents:
    """Return the contents to save for a checkpoint.

    Args:
        serde: the serializer.
        place: where it is saved.
        config: LangGraph's config of the save, which names the parent.
        checkpoint: LangGraph's checkpoint.
        metadata: its metadata.

    Raises:
        TypeError, ValueError: the serializer cannot save a value. The message contains its path.

    """
    parent_id = config["configurable"].get("checkpoint_id") or ""
    return pack_as_it_is(serde, place, parent_id, checkpoint, get_checkpoint_metadata(config, metadata))


def pack_as_it_is(serde: Any, place: Place, parent_id: str, checkpoint: Any, metadata: Any) -> Contents:
    """Return the contents to save for a checkpoint whose metadata is complete, such as one of another saver.

    Args:
        serde: the serializer.
        place: where it is saved.
        parent_id: its parent; "" for none.
        checkpoint: LangGraph's checkpoint.
        metadata: its metadata.

    Raises:
        TypeError, ValueError: the serializer cannot save a value. The message contains its path.

    """
    parts = {}
    for name, value in (("checkpoint", checkpoint), ("metadata", metadata)):
        kind, data = _dumped(serde, value, name)
        parts[f"{name}.{encoded(kind)}"] = data
    if place.part is not None:
        parts[PLACE] = place.part
    needs_parent = bool(parent_id) and _replays(checkpoint, metadata)
    labels = labels_of(metadata) | ({NEEDS_PARENT: "1"} if needs_parent else {})
    return Contents(encoded(checkpoint["id"]), parent_id and encoded(parent_id), parts, labels, needs_parent)


def unpack(serde: Any, place: Place, loaded: LoadedCheckpoint) -> CheckpointTuple:
    """Return the checkpoint that was saved, with its pending writes.

    Raises:
        CheckpointCorruptedError: a part or a record is missing.
        FormatIncompatibleError: the serializer cannot read a part or a write.

    """
    parent_id = decoded(loaded.info.parent_id)
    return CheckpointTuple(
        config=config_of(place, decoded(loaded.checkpoint_id)),
        checkpoint=unpack_checkpoint(serde, loaded),
        metadata=unpack_metadata(serde, loaded),
        parent_config=config_of(place, parent_id) if parent_id else None,
        pending_writes=[(write.task_id, write.channel, value) for write, value in unpack_writes(serde, loaded)],
    )


def unpack_checkpoint(serde: Any, loaded: LoadedCheckpoint) -> Any:
    """Return the checkpoint that was saved, without its metadata and writes.

    Raises:
        CheckpointCorruptedError: the part is missing.
        FormatIncompatibleError: the serializer cannot read it.

    """
    return _part(serde, loaded, "checkpoint")


def unpack_writes(serde: Any, loaded: LoadedCheckpoint) -> list[tuple[writes.Write, Any]]:
    """Return the writes of a checkpoint with their values, ordered by path, task and index.

    Raises:
        CheckpointCorruptedError: a record is damaged.
        FormatIncompatibleError: the serializer cannot read a value.

    """
    return [
        (write, _read(serde, loaded, write.kind, write.data, f"channel {write.channel!r}"))
        for write in writes.unpack(loaded.records)
    ]


def stored(loaded: LoadedCheckpoint) -> Sequence[bytes]:
    """Return the bytes of a checkpoint that `unpack` reads."""
    return [*loaded.parts.values(), *(record.data for record in loaded.records)]


def unpack_metadata(serde: Any, loaded: LoadedCheckpoint) -> Any:
    """Return the metadata of a checkpoint.

    Raises:
        CheckpointCorruptedError: the part is missing.
        FormatIncompatibleError: the serializer cannot read it.

    """
    return _part(serde, loaded, "metadata")


def pack_writes(
    serde: Any, given: Sequence[tuple[str, Any]], task_id: str, task_path: str, *, has_secret_names: bool = False
) -> writes.Packed:
    """Return the records to save for a task's writes. The names of chunks are as of `writes.pack`.

    Raises:
        TypeError, ValueError: the serializer cannot save a value. The message contains its path.

    """
    packed = [
        writes.Write(
            task_id, task_path, WRITES_IDX_MAP.get(channel, index), channel, *pack_value(serde, channel, value)
        )
        for index, (channel, value) in enumerate(given)
    ]
    return writes.pack(packed, has_secret_names=has_secret_names)


def pack_value(serde: Any, channel: str, value: Any) -> tuple[str, bytes]:
    """Return the type and the bytes of the value of a write.

    Raises:
        TypeError, ValueError: the serializer cannot save it. The message contains its path.

    """
    return _dumped(serde, value, "the write to channel", channel)


def config_of(place: Place, checkpoint_id: str) -> Any:
    """Return a config that names a checkpoint."""
    return {"configurable": {**place._asdict(), "checkpoint_id": checkpoint_id}}


def labels_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels by which lists filter metadata on the server. Values that are equal have equal labels."""
    labels = {key: _label(metadata[key]) for key in _LABELLED if key in metadata}
    if "run_id" in metadata:
        run_id = metadata["run_id"]
        labels["run_id"] = run_label(run_id) if isinstance(run_id, str | UUID) else None
    return {key: label for key, label in labels.items() if label is not None}


def run_label(run_id: str | UUID) -> str:
    """Return the label of a run's checkpoints. No other run has the same one: deletions rely on the label alone."""
    return _text_label(str(run_id) if isinstance(run_id, UUID) else run_id)


def matches(metadata: Mapping[str, Any], required: Mapping[str, Any]) -> bool:
    """Return whether metadata has the required values."""
    return all(metadata.get(key) == value for key, value in required.items())


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
    """Return whether the value of a delta channel has to be rebuilt from the checkpoint's ancestors."""
    return any(
        channel in checkpoint["channel_versions"] and channel not in checkpoint["channel_values"]
        for channel in metadata.get(_DELTA_COUNTERS) or ()
    )


def _dumped(serde: Any, value: Any, name: str, channel: str = "") -> tuple[str, bytes]:
    """Return the type and the bytes of a value according to the serializer.

    Args:
        serde: the serializer.
        value: the value.
        name: names the value in an error.
        channel: names it as well, if it is a write.

    Raises:
        TypeError, ValueError: the serializer cannot save it. The message contains the path of the value inside.

    """
    try:
        kind, data = serde.dumps_typed(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        kind_of_error = TypeError if isinstance(error, TypeError) else ValueError
        named = f"{name} {repr(channel)}" if channel else name
        raise kind_of_error(f"{_path_of_culprit(serde, value, named)} cannot be saved: {error}") from error
    return kind, bytes(data)


def _path_of_culprit(serde: Any, value: Any, path: str) -> str:
    """Return the path of the innermost value that the serializer cannot save."""
    for _ in range(_MAX_PATH_STEPS):
        if isinstance(value, Mapping):
            inside: Iterable[tuple[str, Any]] = ((f"[{repr(key)}]", item) for key, item in value.items())
        elif isinstance(value, list | tuple):
            inside = ((f"[{index}]", item) for index, item in enumerate(value))
        elif is_dataclass(value) and not isinstance(value, type):
            inside = ((f".{field.name}", getattr(value, field.name, None)) for field in fields(value))
        else:
            break
        for step, item in inside:
            if not _can_be_saved(serde, item):
                path, value = path + step, item
                break
        else:
            break
    return path


def _can_be_saved(serde: Any, value: Any) -> bool:
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


def _read(serde: Any, loaded: LoadedCheckpoint, kind: str, data: bytes, name: str) -> Any:
    try:
        return serde.loads_typed((kind, data))
    except Exception as error:
        message = f"the serializer cannot read {name} of checkpoint {loaded.checkpoint_id!r}, which has type {kind!r}"
        details = f"{message}: {type(error).__name__}: {error}"
        raise of_reason("FORMAT_INCOMPATIBLE", details, trace_id=loaded.info.trace_id) from error
