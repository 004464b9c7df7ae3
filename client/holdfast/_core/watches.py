"""What a watch knows of a log: how far it has come, and which heads it has seen."""

from collections.abc import Iterator
from typing import Any

from holdfast._core.answers import require_entry
from holdfast._core.errors import of_reason
from holdfast._core.head import Head
from holdfast._core.seen_heads import SeenHeads
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api


class NoMessage:
    """The type of `ENDED`, `FORKED` and `LATE`."""


# In place of a message: the stream has ended, a fork of this process has ended it, or there was none in time.
ENDED = NoMessage()
FORKED = NoMessage()
LATE = NoMessage()


class Position:
    """Where a watch is in a log, over as many streams as it takes.

    Args:
        request: the request of the first stream; it is changed for each later one.
        heads: the heads that the client has seen.

    Attributes:
        is_behind: whether the server knows of entries that have not come yet.

    """

    def __init__(self, request: api.WatchWorkflowRequest, heads: SeenHeads) -> None:
        self.is_behind = False
        self._request = request
        self._heads = heads
        self._head: Head | None = None

    def begin(self) -> api.WatchWorkflowRequest:
        """Begin a stream, and return its request. Its first message may not be older than what the client has seen."""
        self._head = self._heads.get(self._request.namespace, self._request.workflow_id)
        return self._request

    def take(self, message: Any) -> Iterator[checkpoint_pb2.LogEntry]:
        """Check a message, and yield its entries that are new.

        Raises:
            RolledBackError: the log is not the one that it was.
            InternalError: the message is not possible.

        """
        watch = self._heads.following(self._request, self._head)
        watch.require(message)
        self._head = Head(message.head.revision, message.head.digest)
        if self._request.HasField("after_revision"):
            at = Head(self._request.after_revision, self._request.after_digest)
            self._heads.following(self._request, at if at.revision and at.digest else None).require(message)
            yield from self._entries(message)
        elif message.entries:
            raise of_reason("INTERNAL", "the server sent entries of a log before it said after which revision")
        position = message.position
        if self._request.HasField("after_revision") and position.revision != self._request.after_revision:
            raise of_reason("INTERNAL", f"the server sent a log up to {position.revision} and left out entries")
        self._request.after_revision = position.revision
        if len(position.digest) in (0, 32):
            self._request.after_digest = position.digest
        self.is_behind = message.head.revision > position.revision

    def _entries(self, message: Any) -> Iterator[checkpoint_pb2.LogEntry]:
        for entry in message.entries:
            require_entry(entry, self._request.namespace, self._request.workflow_id)
            if entry.first_revision != self._request.after_revision + 1:
                raise of_reason(
                    "INTERNAL",
                    f"the server sent revision {entry.first_revision} of a log after revision "
                    f"{self._request.after_revision}",
                )
            self._request.after_revision = entry.revision
            # Until the message is read to its end, or another stream says it.
            self._request.after_digest = b""
            yield entry
