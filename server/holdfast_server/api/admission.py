"""Admission: how many calls, streams and bytes are in flight, and which connection and namespace holds them.

A call has a place for as long as it runs. The place counts the bytes of payload that the call holds in memory at the
moment, not the most that it might hold: a stream that sends nothing costs a stream, not memory. Streams may take half
of the places and three quarters of the bytes, so that unary calls always find some left. One connection, and one
namespace, may take half of the streams.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast_server.protocol.errors import HoldfastError, Reason


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be in flight.

    Attributes:
        calls: how many calls, streams among them.
        bytes: how many bytes of payload they may hold in memory together.

    """

    calls: int
    bytes: int

    @property
    def streams(self) -> int:
        """How many streams may be open."""
        return max(1, self.calls // 2)

    @property
    def streams_of_one(self) -> int:
        """How many streams one connection, or one namespace, may have open."""
        return max(1, self.streams // 2)

    @property
    def stream_bytes(self) -> int:
        """How many bytes all streams may hold together."""
        return self.bytes - self.bytes // 4


class Admission:
    """Gives places to calls, up to the limits.

    Args:
        limits: how much may be in flight.

    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.calls = 0
        self.streams: Counter[str] = Counter()
        self.is_draining = False
        self._bytes = 0
        self._stream_bytes = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Wait until no call is in flight."""
        await self._idle.wait()

    @contextmanager
    def place(self, connection: str, *, is_stream: bool) -> Iterator["Place"]:
        """Count a call among those in flight. `Place.admit` refuses it where there are too many.

        Args:
            connection: the caller's connection.
            is_stream: whether the call's payload passes through in pieces.

        """
        place = Place(self, is_stream=is_stream)
        self.calls += 1
        self._idle.clear()
        place.count_stream("")
        place.count_stream(f"connection {connection}")
        try:
            yield place
        finally:
            place.leave()

    def hold(self, place: "Place", count: int) -> None:
        """Count the bytes that a call holds; see `Place.hold`."""
        more = count - place.held_bytes
        held, limit = self._bytes, self.limits.bytes
        if place.is_stream and self._stream_bytes + more > self.limits.stream_bytes:
            held, limit = self._stream_bytes, self.limits.stream_bytes
        # What a call holds alone is bounded by other limits: it is never refused for want of room.
        if more > 0 and held + more > limit and held > place.held_bytes:
            raise _overloaded(f"the calls in flight hold {held} of {limit} bytes already", bytes_limit=limit)
        self._bytes += more
        self._stream_bytes += more if place.is_stream else 0
        place.held_bytes = count

    def give_back(self, place: "Place") -> None:
        """Take a place back; see `Place.leave`."""
        self.hold(place, 0)
        for owner in place.owners:
            self.streams[owner] -= 1
            if not self.streams[owner]:
                del self.streams[owner]
        self.calls -= 1
        if not self.calls:
            self._idle.set()


class Place:
    """The place of a call among those in flight.

    Attributes:
        is_stream: whether the call's payload passes through in pieces.
        held_bytes: how many bytes of payload the call holds.
        owners: of a stream, whom it is counted for: all, a connection, a namespace.

    """

    def __init__(self, admission: Admission, *, is_stream: bool) -> None:
        self.is_stream = is_stream
        self.held_bytes = 0
        self.owners: list[str] = []
        self._admission = admission
        self._is_given_back = False

    def leave(self) -> None:
        """Give the place back, if that was not done before."""
        if not self._is_given_back:
            self._is_given_back = True
            self._admission.give_back(self)

    def admit(self) -> None:
        """Refuse the call if there are too many already.

        Raises:
            HoldfastError: SHUTTING_DOWN, OVERLOADED.

        """
        limits = self._admission.limits
        if self._admission.is_draining:
            raise HoldfastError(Reason.SHUTTING_DOWN, "the server is shutting down")
        if self._admission.calls > limits.calls:
            raise _overloaded(f"{limits.calls} calls are in flight already", calls_limit=limits.calls)
        for owner in self.owners:
            self._require_few_streams(owner)

    def enter_namespace(self, namespace: str) -> None:
        """Count a stream among those of the namespace that it has named.

        Raises:
            HoldfastError: OVERLOADED: the namespace has too many.

        """
        owner = f"namespace {namespace}"
        self.count_stream(owner)
        self._require_few_streams(owner)

    def count_stream(self, owner: str) -> None:
        """Count the call for an owner of streams, if it is one."""
        if self.is_stream and owner not in self.owners:
            self.owners.append(owner)
            self._admission.streams[owner] += 1

    def hold(self, count: int) -> None:
        """Note how many bytes of payload the call holds from now on.

        Raises:
            HoldfastError: OVERLOADED: the calls in flight hold too many already.

        """
        self._admission.hold(self, count)

    def _require_few_streams(self, owner: str) -> None:
        limits = self._admission.limits
        limit = limits.streams_of_one if owner else limits.streams
        if self.is_stream and self._admission.streams[owner] > limit:
            whose = f"{owner.partition(' ')[0]} has" if owner else "server has"
            raise _overloaded(f"this {whose} {limit} streams open already", streams_limit=limit)


def _overloaded(message: str, **metadata: object) -> HoldfastError:
    return HoldfastError(Reason.OVERLOADED, message, **metadata)
