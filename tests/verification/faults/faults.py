"""Faults between a server and its store, planned by a test or drawn from a seed, the same for every store."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from holdfast_server.protocol.format.keys import MANIFEST_KEY


class Fault(Enum):
    """A way in which a request fails."""

    CUT_BEFORE = "the connection is cut before the request was applied"
    CUT_AFTER = "the connection is cut after the request, before its answer"
    SLOW = "the answer takes its time"
    THROTTLED = "the store answers that it is too busy"
    FORBIDDEN = "the store refuses access"
    CUT_BODY = "the connection is cut in the middle of what was read"
    SHORT_BODY = "the object has lost its end, and its length says so too"
    FLIPPED = "a bit of what was read is another"


# Faults of reads only.
OF_BODIES = frozenset({Fault.CUT_BODY, Fault.SHORT_BODY, Fault.FLIPPED})


class StoreRequest(NamedTuple):
    """A request to the store: GET, PUT, POST (of a multipart upload), LIST or DELETE, and its key below the prefix."""

    verb: str
    key: str


@dataclass
class _Planned:
    fault: Fault
    verb: str
    where: str
    times: float


@dataclass
class Faults:
    """The faults that strike requests.

    Attributes:
        struck: the faults that have struck so far, each with its request.
        requests: every request so far.
        slow_seconds: how long a slow answer takes.

    """

    struck: list[tuple[Fault, StoreRequest]] = field(default_factory=list)
    requests: list[StoreRequest] = field(default_factory=list)
    slow_seconds: float = 0.5
    _planned: list[_Planned] = field(default_factory=list)
    _draw: Callable[[StoreRequest], Fault | None] = lambda request: None
    _chance: random.Random = field(default_factory=lambda: random.Random(0))

    def plan(self, fault: Fault, verb: str, where: str, times: float = 1) -> None:
        """Strike the next requests of a verb whose key contains `where`, this many times."""
        self._planned.append(_Planned(fault, verb, where, times))

    def storm(self, seed: int, rate: float, kinds: tuple[Fault, ...]) -> None:
        """Strike requests at random."""
        self._chance = random.Random(seed)
        self._draw = lambda request: self._chance.choice(kinds) if self._chance.random() < rate else None

    def calm(self) -> None:
        """Stop all faults."""
        self._planned.clear()
        self._draw = lambda request: None

    def of(self, request: StoreRequest) -> Fault | None:
        """Return the fault of a request. The manifest has none: the server reads it at times that no test chooses."""
        if request.key == MANIFEST_KEY:
            return None
        self.requests.append(request)
        fault = self._next_planned(request) or self._draw(request)
        if fault is None or (fault in OF_BODIES and request.verb != "GET"):
            return None
        self.struck.append((fault, request))
        return fault

    def flipped(self, body: bytes) -> bytes:
        """Return a body with one bit flipped."""
        damaged = bytearray(body)
        damaged[self._chance.randrange(len(body))] ^= 1 << self._chance.randrange(8)
        return bytes(damaged)

    def cut(self, body: bytes) -> bytes:
        """Return a body without its end."""
        return body[: self._chance.randrange(len(body))]

    def _next_planned(self, request: StoreRequest) -> Fault | None:
        for each in self._planned:
            if each.verb == request.verb and each.where in request.key and each.times > 0:
                each.times -= 1
                return each.fault
        return None
