"""The state that the handlers of one service share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast_server.api.stored import Stored
from holdfast_server.api.streaming.uploads import Uploads
from holdfast_server.api.watching.watches import Watches
from holdfast_server.protocol.checkpoints.records import Room, Stamps
from holdfast_server.protocol.log.indexer import Indexer
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.encoding import PartEncoder


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What administrators may know of a store and of the server of a service.

    Attributes:
        location: the location of the store, without credentials.
        configuration: the settings, by name, without secrets.

    """

    location: str = ""
    configuration: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """The shared state of one service.

    Attributes:
        log: the commit log of the store.
        indexer: writes the indexes of ids.
        encoder: stores the parts of saves.
        payload_limit_bytes: how many bytes a streamed payload may have.
        uploads: uploads that are in progress, or whose stream broke.
        stamps: orders the records that this service attaches.
        records_room: limits the records of each checkpoint.
        stored: counts and limits what each namespace has in the store.
        facts: what administrators may know of the store and the server.
        watches: what is watched, shared by its watchers.
        watch_seconds: time after which a watch ends, so that load balancers can move its caller; it varies by a tenth.

    """

    log: Log
    indexer: Indexer
    encoder: PartEncoder
    payload_limit_bytes: int
    uploads: Uploads
    stamps: Stamps
    records_room: Room
    stored: Stored
    facts: StoreFacts
    watches: Watches
    watch_seconds: float
