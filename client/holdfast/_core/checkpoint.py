"""What the client speaks in: formats, checkpoints, and what comes back from calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast._core import arguments
from holdfast._core.errors import of_reason
from holdfast.v1 import checkpoint_pb2, checkpoint_service_pb2

MAX_FORMAT_VERSION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Format:
    """The format of a payload: a name and a version from 1."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class AcceptedFormat:
    """A format name, and a closed range of versions."""

    name: str
    min_version: int
    max_version: int


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A part of a payload, without its bytes."""

    name: str
    size_bytes: int
    sha256: bytes
    crc32c: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A committed checkpoint, without its payload. `replayed` tells that an earlier try had committed it.

    Retention and prunes pass over a `pinned` one.
    """

    namespace: str
    workflow_id: str
    checkpoint_id: str
    revision: int
    parent_id: str
    format: Format
    labels: Mapping[str, str]
    parts: tuple[PartInfo, ...]
    size_bytes: int
    created: datetime
    expires: datetime | None
    epoch: int
    request_id: str
    trace_id: str
    replayed: bool = False
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """A workflow, as the head of its log has it.

    Attributes:
        namespace: the namespace.
        workflow_id: the workflow.
        head_revision: the newest slot of its log.
        checkpoint_revision: the newest slot that holds a checkpoint; 0 for none.
        epoch: the epoch of its newest writer.
        updated: when the head was written.

    """

    namespace: str
    workflow_id: str
    head_revision: int
    checkpoint_revision: int
    epoch: int
    updated: datetime


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that was passed over, or something that stands against one."""

    checkpoint_id: str
    revision: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """Something small that is attached to a checkpoint.

    Attributes:
        key: unique for the checkpoint, 1 to 512 bytes.
        data: what is attached.
        replace: only on the way to the server: whether it takes the place of what the key has.

    """

    key: str
    data: bytes
    replace: bool = False


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint with its payload.

    Attributes:
        info: its metadata.
        parts: its bytes by part name.
        format: the format of these bytes.
        fell_back: whether it is an older one than was asked for.
        skipped: what was passed over, newest first.
        migrated_from: the format that it was stored in, where `resume` migrated it.
        head_revision: the newest slot of the log, which a fence or a deletion may hold; 0 where it is damaged.
        records: its records in the order of their keys, where they were asked for.

    """

    info: Checkpoint
    parts: Mapping[str, bytes]
    format: Format
    fell_back: bool = False
    skipped: tuple[Skipped, ...] = ()
    migrated_from: Format | None = None
    head_revision: int = 0
    records: tuple[Record, ...] = ()

    @property
    def data(self) -> bytes:
        """The default part; where there is none, the only part.

        Raises:
            KeyError: there are several parts and none is the default.

        """
        if "" not in self.parts and len(self.parts) == 1:
            return next(iter(self.parts.values()))
        return self.parts[""]

    @property
    def revision(self) -> int:
        """Its revision."""
        return self.info.revision

    @property
    def checkpoint_id(self) -> str:
        """Its id."""
        return self.info.checkpoint_id


@dataclass(frozen=True, slots=True)
class Validation:
    """Whether a checkpoint can be resumed from, what stands against it, and the last good one."""

    resumable: bool
    findings: tuple[Skipped, ...]
    checkpoint: Checkpoint | None
    last_good: Checkpoint | None


@dataclass(frozen=True, slots=True)
class Writer:
    """The ownership of a workflow.

    Attributes:
        epoch: the writer's epoch, for its calls.
        revision: the revision of the fence.
        lease_expires: when the lease runs out if no save renews it; None without a lease.

    """

    epoch: int
    revision: int
    lease_expires: datetime | None = None


def from_message(message: checkpoint_pb2.Checkpoint, *, replayed: bool = False) -> Checkpoint:
    """A checkpoint of the API as the client's own."""
    return Checkpoint(
        namespace=message.namespace,
        workflow_id=message.workflow_id,
        checkpoint_id=message.checkpoint_id,
        revision=message.revision,
        parent_id=message.parent_id,
        format=Format(message.format.name, message.format.version),
        labels=dict(message.labels),
        parts=tuple(PartInfo(part.name, part.size_bytes, part.sha256, part.crc32c) for part in message.parts),
        size_bytes=message.size_bytes,
        created=_moment(message.create_time),
        expires=_moment(message.expire_time) if message.HasField("expire_time") else None,
        epoch=message.epoch,
        request_id=message.request_id,
        trace_id=message.trace_id,
        replayed=replayed,
        pinned=message.pinned,
    )


def format_message(given: Format, name: str = "format") -> checkpoint_pb2.Format:
    """A format as a message of the API."""
    arguments.instance(name, given, Format)
    return checkpoint_pb2.Format(
        name=arguments.text(f"{name}.name", given.name),
        version=arguments.integer(f"{name}.version", given.version, 1, MAX_FORMAT_VERSION),
    )


def writer(message: checkpoint_service_pb2.AcquireWriterResponse) -> Writer:
    """The ownership of a workflow as the client's own."""
    expires = _moment(message.lease_expire_time) if message.HasField("lease_expire_time") else None
    return Writer(message.epoch, message.revision, expires)


def formats(given: Sequence[AcceptedFormat], name: str = "accepted_formats") -> Sequence[checkpoint_pb2.AcceptedFormat]:
    """Accepted formats as messages of the API."""
    return [
        checkpoint_pb2.AcceptedFormat(
            name=arguments.text(f"{name}[{index}].name", each.name),
            min_version=arguments.integer(f"{name}[{index}].min_version", each.min_version, 1, MAX_FORMAT_VERSION),
            max_version=arguments.integer(f"{name}[{index}].max_version", each.max_version, 1, MAX_FORMAT_VERSION),
        )
        for index, each in enumerate(arguments.items(name, given, AcceptedFormat))
    ]


def list_filter(
    labels: Mapping[str, str] | None,
    created_after: datetime | None,
    created_before: datetime | None,
    accepted: Sequence[AcceptedFormat],
) -> checkpoint_service_pb2.ListFilter:
    """Return a filter as a message of the API.

    Raises:
        TypeError: a condition has a value that cannot be compared with a checkpoint's. It is never left out, since the
            filter would then mean more checkpoints.
        InvalidRequestError: a time has no time zone, or is out of range.

    """
    wanted = arguments.request(checkpoint_service_pb2.ListFilter, labels=labels, formats=formats(accepted, "formats"))
    for name, given in (("created_after", created_after), ("created_before", created_before)):
        if given is not None:
            getattr(wanted, name).FromDatetime(arguments.moment(name, given))
    return wanted


def require_accepted(found: Checkpoint, accepted: Sequence[AcceptedFormat]) -> None:
    """Refuse a checkpoint of another format, as a load does.

    Raises:
        FormatIncompatibleError: it has none of the formats, of which none means any.

    """
    name, version = found.format.name, found.format.version
    if accepted and not any(each.name == name and each.min_version <= version <= each.max_version for each in accepted):
        understood = ", ".join(f"{each.name} {each.min_version} to {each.max_version}" for each in accepted)
        raise of_reason(
            "FORMAT_INCOMPATIBLE",
            f"the checkpoint has format {name} version {version}, the caller accepts {understood}",
            metadata={"checkpoint_id": found.checkpoint_id, "revision": str(found.revision)},
        )


def skipped(message: checkpoint_service_pb2.SkippedCheckpoint | checkpoint_service_pb2.Finding) -> Skipped:
    """What was passed over, as the client's own."""
    return Skipped(message.checkpoint_id, message.revision, message.reason, message.message)


def workflow_info(message: checkpoint_service_pb2.Workflow) -> WorkflowInfo:
    """A workflow of the API as the client's own."""
    return WorkflowInfo(
        message.namespace,
        message.workflow_id,
        message.head_revision,
        message.checkpoint_revision,
        message.epoch,
        _moment(message.update_time),
    )


def _moment(time: Timestamp) -> datetime:
    """A time of the API as Python's own.

    Raises:
        InternalError: it is none.

    """
    try:
        return time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise of_reason("INTERNAL", f"the server told a time that is none: {time.seconds} s, {time.nanos} ns") from None
