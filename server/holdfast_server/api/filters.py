"""Filters of checkpoints, for lists and deletions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import requests
from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.checkpoints.load import AcceptedFormat
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.entry import Entry


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter whose fields were checked."""

    message: api.ListFilter
    labels: Mapping[str, str]
    formats: Sequence[AcceptedFormat]

    @classmethod
    def of(cls, message: api.ListFilter) -> "Filter":
        """Check the fields of a filter.

        Raises:
            InvalidRequestError: a field is not allowed.

        """
        requests.times(message)
        formats = requests.formats("filter.formats", message.formats)
        return cls(message, requests.labels("filter.labels", message.labels), formats)

    @property
    def is_selective(self) -> bool:
        """Whether it has a label or a time, which distinguish checkpoints of the same format."""
        return bool(self.labels) or self.message.HasField("created_after") or self.message.HasField("created_before")

    def passes(self, entry: Entry) -> bool:
        """Return whether a checkpoint meets every condition."""
        marker = entry.marker
        created = marker.create_time.ToNanoseconds()
        if self.message.HasField("created_after") and created < self.message.created_after.ToNanoseconds():
            return False
        if self.message.HasField("created_before") and created >= self.message.created_before.ToNanoseconds():
            return False
        if any(marker.labels.get(key) != value for key, value in self.labels.items()):
            return False
        try:
            load.require_accepted(entry, self.formats)
        except HoldfastError as error:
            if error.reason is not Reason.FORMAT_INCOMPATIBLE:
                raise
            return False
        return True
