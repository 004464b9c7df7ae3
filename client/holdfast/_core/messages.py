"""Conversion between the values of the public API and the messages of the gRPC API.

Values of callers are checked on their way into a message; answers are checked by `answers`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast._core import arguments
from holdfast._core.checkpoint import (
    MAX_FORMAT_VERSION,
    AcceptedFormat,
    Checkpoint,
    Format,
    LogEntry,
    PartInfo,
    Skipped,
    WorkflowInfo,
    Writer,
)
from holdfast._core.errors import of_reason
from holdfast._core.head import Head
from holdfast._core.maps import by_key
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

_DEPTHS = {
    "marker": api.VALIDATE_DEPTH_MARKER,
    "presence": api.VALIDATE_DEPTH_PRESENCE,
    "checksum": api.VALIDATE_DEPTH_CHECKSUM,
}

_KINDS = {
    checkpoint_pb2.LOG_ENTRY_KIND_CHECKPOINT: "checkpoint",
    checkpoint_pb2.LOG_ENTRY_KIND_FENCE: "fence",
    checkpoint_pb2.LOG_ENTRY_KIND_DELETION: "deletion",
    checkpoint_pb2.LOG_ENTRY_KIND_WORKFLOW_DELETION: "workflow_deletion",
    checkpoint_pb2.LOG_ENTRY_KIND_COLLECTION: "collection",
    checkpoint_pb2.LOG_ENTRY_KIND_COLLECTED: "collected",
    checkpoint_pb2.LOG_ENTRY_KIND_DAMAGED: "damaged",
}


def format_message(given: Format, name: str = "format") -> checkpoint_pb2.Format:
    """Return the message of a format.

    Raises:
        TypeError: the format, its name or its version has another type.
        InvalidRequestError: the name is not text that UTF-8 can encode, or the version is out of range.

    """
    arguments.instance(name, given, Format)
    return checkpoint_pb2.Format(
        name=arguments.text(f"{name}.name", given.name),
        version=arguments.integer(f"{name}.version", given.version, 1, MAX_FORMAT_VERSION),
    )


def accepted_messages(
    given: Sequence[AcceptedFormat], name: str = "accepted_formats"
) -> Sequence[checkpoint_pb2.AcceptedFormat]:
    """Return the messages of accepted formats. Raise as `format_message` does."""
    return [
        checkpoint_pb2.AcceptedFormat(
            name=arguments.text(f"{name}[{index}].name", accepted.name),
            min_version=arguments.integer(f"{name}[{index}].min_version", accepted.min_version, 1, MAX_FORMAT_VERSION),
            max_version=arguments.integer(f"{name}[{index}].max_version", accepted.max_version, 1, MAX_FORMAT_VERSION),
        )
        for index, accepted in enumerate(arguments.items(name, given, AcceptedFormat))
    ]


def filter_message(
    labels: Mapping[str, str] | None,
    created_after: datetime | None,
    created_before: datetime | None,
    accepted: Sequence[AcceptedFormat],
) -> api.ListFilter:
    """Return the message of a filter.

    Raises:
        TypeError: a condition has a value that cannot be compared with a checkpoint's. It is never left out, because
            the filter would then match more checkpoints.
        InvalidRequestError: a time has no time zone, or is out of range.

    """
    message = arguments.request(api.ListFilter, labels=labels, formats=accepted_messages(accepted, "formats"))
    for name, given in (("created_after", created_after), ("created_before", created_before)):
        if given is not None:
            getattr(message, name).FromDatetime(arguments.moment(name, given))
    return message


def depth_value(depth: str) -> api.ValidateDepth.ValueType:
    """Return the enum value of a validation's depth.

    Raises:
        InvalidRequestError: there is no such depth.

    """
    if depth not in _DEPTHS:
        raise arguments.invalid("depth", f"must be one of {', '.join(_DEPTHS)}, not {depth!r:.100}")
    return _DEPTHS[depth]


def to_head(answer: Any) -> Head | None:
    """Return the head that an answer names; None if it names none, or if there is none or it is damaged."""
    if not answer.HasField("head"):
        return None
    head = answer.head
    digest = head.digest
    return Head(head.revision, digest) if digest else None


def to_checkpoint(
    message: checkpoint_pb2.Checkpoint, *, replayed: bool = False, head: Head | None = None
) -> Checkpoint:
    """Convert a checkpoint.

    Raises:
        InternalError: it has a time that does not exist.

    """
    return Checkpoint(
        namespace=message.namespace,
        workflow_id=message.workflow_id,
        checkpoint_id=message.checkpoint_id,
        revision=message.revision,
        parent_id=message.parent_id,
        format=Format(message.format.name, message.format.version),
        labels=by_key(message.labels),
        parts=tuple(PartInfo(part.name, part.size_bytes, part.sha256, part.crc32c) for part in message.parts),
        size_bytes=message.size_bytes,
        created=moment(message.create_time),
        expires=moment(message.expire_time) if message.HasField("expire_time") else None,
        epoch=message.epoch,
        request_id=message.request_id,
        trace_id=message.trace_id,
        replayed=replayed,
        pinned=message.pinned,
        stored_bytes=message.stored_bytes,
        principal=message.principal,
        producer=(message.producer.name, message.producer.version),
        head=head,
        base_revisions=tuple(message.base_revisions),
    )


def to_writer(message: api.AcquireWriterResponse) -> Writer:
    """Convert the ownership of a workflow. Raise as `to_checkpoint` does."""
    expires = moment(message.lease_expire_time) if message.HasField("lease_expire_time") else None
    return Writer(message.epoch, message.revision, expires, to_head(message))


def to_skipped(message: api.SkippedCheckpoint | api.Finding) -> Skipped:
    """Convert a checkpoint that was skipped, or a finding."""
    return Skipped(message.checkpoint_id, message.revision, message.reason, message.message)


def to_log_entry(message: checkpoint_pb2.LogEntry, checkpoint: Checkpoint | None) -> LogEntry:
    """Convert an entry of a log. Raise as `to_checkpoint` does.

    Args:
        message: the entry.
        checkpoint: its checkpoint; None if it holds none.

    """
    return LogEntry(
        revision=message.revision,
        kind=_KINDS.get(message.kind, "unknown"),
        first_revision=message.first_revision,
        created=moment(message.create_time) if message.HasField("create_time") else None,
        epoch=message.epoch,
        request_id=message.request_id,
        trace_id=message.trace_id,
        principal=message.principal,
        holder=message.holder,
        lease_expires=moment(message.lease_expire_time) if message.HasField("lease_expire_time") else None,
        checkpoint=checkpoint,
        deleted=message.deleted,
        deletion_revision=message.deletion_revision,
        purged=message.purged,
        affected=tuple((each.first, each.last) for each in message.affected),
        more_affected=message.more_affected,
        affected_checkpoint_id=message.affected_checkpoint_id,
        reason=message.reason,
        message=message.message,
    )


def to_workflow_info(message: api.Workflow) -> WorkflowInfo:
    """Convert a workflow of a list. Raise as `to_checkpoint` does."""
    return WorkflowInfo(
        message.namespace,
        message.workflow_id,
        message.head_revision,
        message.checkpoint_revision,
        message.epoch,
        moment(message.update_time),
        to_head(message),
    )


def moment(time: Timestamp) -> datetime:
    """Convert a time. Raise as `to_checkpoint` does."""
    try:
        return time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise of_reason("INTERNAL", f"the server sent an invalid time: {time.seconds} s, {time.nanos} ns") from None
