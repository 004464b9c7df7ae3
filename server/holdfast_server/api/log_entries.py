"""The entries of a log as messages of the API."""

from holdfast.v1 import checkpoint_pb2

from holdfast_server.api import messages
from holdfast_server.layout.v1.marker_pb2 import MarkerKind
from holdfast_server.protocol.checkpoints.delete import is_deleted_workflow
from holdfast_server.protocol.checkpoints.log_pages import Item
from holdfast_server.protocol.log.entry import Entry

_MAX_RANGES = 100
_MAX_MESSAGE_CHARACTERS = 512
_KINDS = {
    MarkerKind.MARKER_KIND_DATA: checkpoint_pb2.LOG_ENTRY_KIND_CHECKPOINT,
    MarkerKind.MARKER_KIND_FENCE: checkpoint_pb2.LOG_ENTRY_KIND_FENCE,
    MarkerKind.MARKER_KIND_GC: checkpoint_pb2.LOG_ENTRY_KIND_COLLECTION,
    MarkerKind.MARKER_KIND_DELETED: checkpoint_pb2.LOG_ENTRY_KIND_DELETION,
}


def describe(item: Item, into: checkpoint_pb2.LogEntry) -> None:
    """Describe an entry, or a range of entries, in a field of an answer."""
    into.first_revision, into.revision = item.revisions
    if item.entry is not None:
        _describe_entry(item.entry, into)
    elif item.damage is None:
        into.kind = checkpoint_pb2.LOG_ENTRY_KIND_COLLECTED
    else:
        into.kind = checkpoint_pb2.LOG_ENTRY_KIND_DAMAGED
        into.reason = item.damage.reason
        into.message = item.damage.message[:_MAX_MESSAGE_CHARACTERS]
    into.deleted = item.is_deleted
    into.deletion_revision = item.deletion
    for first, last in item.affected[:_MAX_RANGES]:
        into.affected.add(first=first, last=last)
    into.more_affected = max(0, len(item.affected) - _MAX_RANGES)


def _describe_entry(entry: Entry, into: checkpoint_pb2.LogEntry) -> None:
    marker = entry.marker
    into.kind = _KINDS[marker.kind]
    into.create_time.CopyFrom(marker.create_time)
    into.epoch = marker.epoch
    into.request_id = marker.request_id
    into.trace_id = marker.trace_id
    into.principal = marker.principal
    if into.kind == checkpoint_pb2.LOG_ENTRY_KIND_CHECKPOINT:
        messages.describe(entry, into.checkpoint)
        into.purged = bool(marker.purged_digest)
    elif into.kind == checkpoint_pb2.LOG_ENTRY_KIND_FENCE:
        into.holder = marker.lease_holder
        if marker.HasField("lease_expire_time"):
            into.lease_expire_time.CopyFrom(marker.lease_expire_time)
    elif into.kind == checkpoint_pb2.LOG_ENTRY_KIND_DELETION:
        into.affected_checkpoint_id = marker.checkpoint_id
        if is_deleted_workflow(entry):
            into.kind = checkpoint_pb2.LOG_ENTRY_KIND_WORKFLOW_DELETION
