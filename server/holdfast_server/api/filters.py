"""Which checkpoints a list or a deletion means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import requests
from holdfast_server.protocol import load
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.load import AcceptedFormat
from holdfast_server.protocol.log import Entry


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter whose fields were checked."""

    given: api.ListFilter
    labels: Mapping[str, str]
    formats: Sequence[AcceptedFormat]

    @classmethod
    def of(cls, given: api.ListFilter) -> "Filter":
        """Check a filter.

        Raises:
            InvalidRequestError: a field of it makes no sense.

        """
        requests.times(given)
        formats = requests.formats("filter.formats", given.formats)
        return cls(given, requests.labels("filter.labels", given.labels), formats)

    @property
    def is_selective(self) -> bool:
        """Whether it has a label or a time, by which one checkpoint differs from others of its format."""
        return bool(self.labels) or self.given.HasField("created_after") or self.given.HasField("created_before")

    def passes(self, entry: Entry) -> bool:
        """Whether a checkpoint meets every condition."""
        marker = entry.marker
        created = marker.create_time.ToNanoseconds()
        if self.given.HasField("created_after") and created < self.given.created_after.ToNanoseconds():
            return False
        if self.given.HasField("created_before") and created >= self.given.created_before.ToNanoseconds():
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
