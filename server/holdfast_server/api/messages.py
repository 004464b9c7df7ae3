"""Converts values of the protocol to messages of the API."""

from collections.abc import Sequence

from google.protobuf.message import Message
from holdfast.v1 import checkpoint_pb2, checkpoint_service_pb2

from holdfast_server.api import limits
from holdfast_server.layout.v1.marker_pb2 import StoredRecord
from holdfast_server.protocol.checkpoints.heads import NamedHead, Skipped
from holdfast_server.protocol.log.entry import Entry


def describe(entry: Entry, into: checkpoint_pb2.Checkpoint) -> None:
    """Describe a checkpoint in a field of an answer: a message that is given another one copies it."""
    marker = entry.marker
    identify(entry, into)
    into.parent_id = marker.parent_id
    into.format.name, into.format.version = marker.format.name, marker.format.version
    into.producer.name, into.producer.version = marker.producer.name, marker.producer.version
    if marker.labels:
        into.labels.update(marker.labels)
    for part in marker.parts:
        into.parts.add(name=part.name, size_bytes=part.size_bytes, sha256=part.sha256, crc32c=part.crc32c)
        into.size_bytes += part.size_bytes
        into.stored_bytes += part.stored_bytes or part.size_bytes
    if any(part.bases for part in marker.parts):
        into.base_revisions.extend(sorted({base.revision for part in marker.parts for base in part.bases}))
    into.create_time.CopyFrom(marker.create_time)
    if marker.HasField("expire_time"):
        into.expire_time.CopyFrom(marker.expire_time)
    into.epoch = marker.writer_epoch
    into.request_id = marker.request_id
    into.trace_id = marker.trace_id
    into.pinned = marker.pinned
    into.principal = marker.principal


def identify(entry: Entry, into: checkpoint_pb2.Checkpoint) -> None:
    """Set a checkpoint's ids and revision only in a field of an answer."""
    marker = entry.marker
    into.namespace = marker.namespace
    into.workflow_id = marker.workflow_id
    into.checkpoint_id = marker.checkpoint_id
    into.revision = marker.revision


def name_head(head: Entry | NamedHead | None, into: checkpoint_pb2.Head) -> None:
    """Set the head of a log in a field of an answer. Leave the field absent if the head is not known."""
    if head is not None:
        into.revision = head.revision
        into.digest = head.digest


_MAX_MESSAGE_CHARACTERS = 512


def field_bytes(message: Message) -> int:
    """Return how many bytes a message takes as a field of an answer, including tag and length."""
    size = message.ByteSize()
    return size + 1 + (size.bit_length() + 6) // 7 if size else 2


def record(stored: StoredRecord) -> checkpoint_pb2.Record:
    """Return a record."""
    return checkpoint_pb2.Record(key=stored.key, data=stored.data)


def skipped_checkpoints(skipped: Sequence[Skipped]) -> list[checkpoint_service_pb2.SkippedCheckpoint]:
    """Return the checkpoints that were skipped, up to the limit; the last message says how many more there are."""
    shown = [
        checkpoint_service_pb2.SkippedCheckpoint(
            checkpoint_id=each.checkpoint_id,
            revision=each.revision,
            reason=each.error.reason,
            message=each.error.message[:_MAX_MESSAGE_CHARACTERS],
        )
        for each in skipped[: limits.MAX_SKIPPED]
    ]
    if len(skipped) > len(shown):
        shown[-1].message += f"; and {len(skipped) - len(shown)} more were skipped"
    return shown


def findings(found: Sequence[Skipped]) -> list[checkpoint_service_pb2.Finding]:
    """Return the findings of a validation, up to the limit; the last message says how many more there are."""
    shown = [
        checkpoint_service_pb2.Finding(
            reason=each.error.reason,
            message=each.error.message[:_MAX_MESSAGE_CHARACTERS],
            checkpoint_id=each.checkpoint_id,
            revision=each.revision,
            part=each.error.metadata.get("part", ""),
        )
        for each in found[: limits.MAX_SKIPPED]
    ]
    if len(found) > len(shown):
        shown[-1].message += f"; and {len(found) - len(shown)} more were found"
    return shown


def workflow(newest: Entry, *, is_head: bool) -> checkpoint_service_pb2.Workflow:
    """Return a workflow according to the newest entry that can be read, which is the head unless that is damaged."""
    marker = newest.marker
    described = checkpoint_service_pb2.Workflow(
        namespace=marker.namespace,
        workflow_id=marker.workflow_id,
        head_revision=marker.revision,
        checkpoint_revision=marker.last_data_revision,
        epoch=marker.epoch,
        update_time=marker.create_time,
    )
    if is_head:
        name_head(newest, described.head)
    return described
