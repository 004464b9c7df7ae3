"""Faults between a server and its store, planned by a test or drawn from a seed; the same for every store."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from holdfast_server.protocol.format.keys import MANIFEST_KEY


class Fault(Enum):
    """What goes wrong with a request."""

    CUT_BEFORE = "the connection is cut before the request was applied"
    CUT_BEHIND = "the connection is cut behind the request, before its answer"
    SLOW = "the answer takes its time"
    THROTTLED = "the store answers that it is too busy"
    FORBIDDEN = "the store refuses access"
    CUT_BODY = "the connection is cut in the middle of what was read"
    SHORT_BODY = "the object has lost its end, and its length says so too"
    FLIPPED = "a bit of what was read is another"


# What strikes only what is read.
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
    """Which request is struck by what.

    Attributes:
        struck: the faults that have happened.
        requests: every request that came by.
        slow_seconds: how long a slow answer takes.

    """

    struck: list[tuple[Fault, StoreRequest]] = field(default_factory=list)
    requests: list[StoreRequest] = field(default_factory=list)
    slow_seconds: float = 0.5
    _planned: list[_Planned] = field(default_factory=list)
    _draw: Callable[[StoreRequest], Fault | None] = lambda request: None
    _chance: random.Random = field(default_factory=lambda: random.Random(0))

    def plan(self, fault: Fault, verb: str, where: str, times: float = 1) -> None:
        """Strike the next requests of a verb whose key holds `where`, so many times."""
        self._planned.append(_Planned(fault, verb, where, times))

    def storm(self, seed: int, rate: float, kinds: tuple[Fault, ...]) -> None:
        """Strike any request, at random."""
        self._chance = random.Random(seed)
        self._draw = lambda request: self._chance.choice(kinds) if self._chance.random() < rate else None

    def calm(self) -> None:
        """Strike nothing from now on."""
        self._planned.clear()
        self._draw = lambda request: None

    def of(self, request: StoreRequest) -> Fault | None:
        """The fault that strikes a request. None strikes the manifest, which a server looks at whenever it likes."""
        if request.key == MANIFEST_KEY:
            return None
        self.requests.append(request)
        fault = self._next_planned(request) or self._draw(request)
        if fault is None or (fault in OF_BODIES and request.verb != "GET"):
            return None
        self.struck.append((fault, request))
        return fault

    def flipped(self, body: bytes) -> bytes:
        """A body with one bit changed."""
        damaged = bytearray(body)
        damaged[self._chance.randrange(len(body))] ^= 1 << self._chance.randrange(8)
        return bytes(damaged)

    def cut(self, body: bytes) -> bytes:
        """A body that has lost its end."""
        return body[: self._chance.randrange(len(body))]

    def _next_planned(self, request: StoreRequest) -> Fault | None:
        for each in self._planned:
            if each.verb == request.verb and each.where in request.key and each.times > 0:
                each.times -= 1
                return each.fault
        return None
