"""How much of a checkpoint a response contains."""

from dataclasses import dataclass

from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import messages, requests
from holdfast_server.protocol.log.entry import Entry


@dataclass(frozen=True, slots=True)
class View:
    """What a response contains of a checkpoint beside its ids and revision."""

    metadata: bool = False
    payload: bool = False
    records: bool = False

    @classmethod
    def of(cls, given: api.CheckpointView.ValueType, default: api.CheckpointView.ValueType) -> "View":
        """Return the view that a request names, or the default if it names none.

        Raises:
            HoldfastError: INVALID_REQUEST: the value is not a view of this API.

        """
        if given not in _VIEWS:
            raise requests.invalid("view", f"expected a CheckpointView of this API, got {given}")
        return _VIEWS[given or default]

    def describe(self, entry: Entry, into: checkpoint_pb2.Checkpoint) -> None:
        """Set what the view contains of a checkpoint in a field of an answer."""
        (messages.describe if self.metadata else messages.identify)(entry, into)


_VIEWS = {
    api.CHECKPOINT_VIEW_UNSPECIFIED: View(),
    api.CHECKPOINT_VIEW_ID: View(),
    api.CHECKPOINT_VIEW_METADATA: View(metadata=True),
    api.CHECKPOINT_VIEW_PAYLOAD: View(metadata=True, payload=True),
    api.CHECKPOINT_VIEW_FULL: View(metadata=True, payload=True, records=True),
}
