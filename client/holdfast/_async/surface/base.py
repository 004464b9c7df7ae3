"""What the calls of a client have in common."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from holdfast._async.lists import Lists
from holdfast._async.loads import Loads
from holdfast._async.opening import Opening
from holdfast._async.part_reads import PartReads
from holdfast._async.records import Records
from holdfast._async.repeats import Repeats
from holdfast._async.transport import Transport
from holdfast._async.watching import Watching
from holdfast._core import arguments
from holdfast._core.checkpoint import AcceptedFormat
from holdfast._core.head import Head
from holdfast._core.messages import filter_message
from holdfast._core.protection import Protection
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api


class Surface:
    """The parts of a client, which do what takes more than one message. Its calls make the requests for them.

    Args:
        transport: the connection.
        protection: what is done to checkpoints before they are sent, and after they were received.
        producer: the calling program.

    """

    def __init__(self, transport: Transport, protection: Protection, producer: checkpoint_pb2.Producer) -> None:
        self._transport = transport
        self._protection = protection
        self._producer = producer
        self._opening = Opening(transport, protection)
        self._records = Records(transport, self._opening)
        self._loads = Loads(transport, self._opening, self._records)
        self._repeats = Repeats(transport, protection, self._loads)
        self._part_reads = PartReads(transport)
        self._watching = Watching(transport, self._opening)
        self._lists = Lists(transport, self._opening, self._loads, self._records)

    def _keep(self, namespace: str, workflow_id: str, not_before: Head | None) -> None:
        if not_before is not None:
            self._transport.heads.keep(namespace, workflow_id, arguments.instance("not_before", not_before, Head))

    def _filter(
        self,
        namespace: str,
        labels: Mapping[str, str] | None,
        created_after: datetime | None,
        created_before: datetime | None,
        accepted: Sequence[AcceptedFormat],
    ) -> api.ListFilter:
        sought = self._protection.sought(namespace, labels)
        return filter_message(sought, created_after, created_before, accepted)
