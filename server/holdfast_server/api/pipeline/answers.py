"""The answers of a pipeline on their way to the caller: a message holds what waits when it can be sent, up to a limit.

With the limit, a caller works on the first answers of a group while the server works on the next group of calls. If one
message held all of them, the two would wait for each other.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import limits
from holdfast_server.api.call_context import StreamContext
from holdfast_server.api.wire import encoded_varint, prefix

STATUS = api.PipelineAnswer.STATUS_FIELD_NUMBER
_CALL_ID_TAG = encoded_varint(api.PipelineAnswer.CALL_ID_FIELD_NUMBER << 3)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one call, as a field of a PipelineResponse.

    Attributes:
        head: the bytes before the body.
        body: the serialized response or status.

    """

    head: bytes
    body: bytes

    @classmethod
    def of(cls, call_id: int, number: int, body: bytes) -> "Answer":
        """Return the answer to a call.

        Args:
            call_id: the call's id.
            number: the field number of the outcome.
            body: the serialized outcome.

        """
        inner = _CALL_ID_TAG + encoded_varint(call_id) + prefix(number, len(body))
        return cls(prefix(api.PipelineResponse.ANSWERS_FIELD_NUMBER, len(inner) + len(body)) + inner, body)

    @property
    def size_bytes(self) -> int:
        """Its share of a message."""
        return len(self.head) + len(self.body)


class Answers:
    """The answers that wait to be sent.

    Args:
        on_sent: called with the number of answers and of their bytes each time that the caller has accepted a message.

    """

    def __init__(self, on_sent: Callable[[int, int], None]) -> None:
        self._on_sent = on_sent
        self._notices: list[bytes] = []
        self._waiting: deque[Answer] = deque()
        self._has_more = asyncio.Event()
        self._is_finished = False
        self._sending_since: float | None = None

    def add(self, answer: Answer) -> None:
        """Send an answer with the next message that has room for it."""
        self._waiting.append(answer)
        self._has_more.set()

    def announce(self, notice: Message) -> None:
        """Send the fields of a PipelineResponse with the next message."""
        self._notices.append(notice.SerializeToString())
        self._has_more.set()

    def finish(self) -> None:
        """End `send_to` once everything is sent."""
        self._is_finished = True
        self._has_more.set()

    def discard(self) -> None:
        """End `send_to` after the message that it is sending."""
        self._notices = []
        self._waiting.clear()
        self.finish()

    @property
    def is_stuck(self) -> bool:
        """Whether the caller has accepted nothing for as long as a stream may be idle."""
        since = self._sending_since
        return since is not None and asyncio.get_running_loop().time() - since >= limits.IDLE_SECONDS

    async def send_to(self, stream: StreamContext) -> None:
        """Send everything until `finish`. Never cancel this while the stream is to get a status.

        Raises:
            CallerGoneError: the caller has vanished.

        """
        while True:
            while self._notices or self._waiting:
                message, count, size_bytes = self._next_message()
                self._sending_since = asyncio.get_running_loop().time()
                await stream.write(message)
                self._sending_since = None
                self._on_sent(count, size_bytes)
            if self._is_finished:
                return
            self._has_more.clear()
            await self._has_more.wait()

    def _next_message(self) -> tuple[bytes, int, int]:
        """Take what fits into one message. Return its bytes, the number of its answers, and their size."""
        pieces = self._notices
        self._notices = []
        count = size_bytes = 0
        while (
            self._waiting
            and count < limits.GROUPED_CALLS
            and (not count or size_bytes + self._waiting[0].size_bytes <= limits.COALESCED_BYTES)
        ):
            answer = self._waiting.popleft()
            pieces += (answer.head, answer.body)
            count += 1
            size_bytes += answer.size_bytes
        return b"".join(pieces), count, size_bytes
