"""Which checkpoints a list holds."""

from collections.abc import Mapping, Sequence

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.protocol import load
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.load import AcceptedFormat
from holdfast_server.protocol.log import Entry


def passes(entry: Entry, wanted: api.ListFilter, labels: Mapping[str, str], formats: Sequence[AcceptedFormat]) -> bool:
    """Whether a checkpoint meets every condition of a filter, whose labels and formats were checked before."""
    marker = entry.marker
    created = marker.create_time.ToNanoseconds()
    if wanted.HasField("created_after") and created < wanted.created_after.ToNanoseconds():
        return False
    if wanted.HasField("created_before") and created >= wanted.created_before.ToNanoseconds():
        return False
    if any(marker.labels.get(key) != value for key, value in labels.items()):
        return False
    try:
        load.require_accepted(entry, formats)
    except HoldfastError as error:
        if error.reason is not Reason.FORMAT_INCOMPATIBLE:
            raise
        return False
    return True
