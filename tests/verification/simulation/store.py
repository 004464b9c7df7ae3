"""An object store over a network that fails. Every request has three moments: issued, applied, answered.

Between them a fault may strike: the request is lost, late or applied twice, its answer is lost or replaced, or the
calling process is paused or killed. The fault of a request is drawn from the seed and the request's own name, so that
the other faults stay the same if an operation is left out. In a storm every request fails.
"""

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zlib import crc32

from holdfast_server.stores.base import (
    ObjectNotFoundError,
    ObjectSummary,
    StoreAccessDeniedError,
    StoredObject,
    StoreUnavailableError,
)
from holdfast_server.stores.memory import Objects

from tests.verification.simulation.loop import PROCESS, SimulatedLoop

EPOCH = 1_700_000_000.0
GRACE = 86_400.0
# The attempt and operation of a request.
ATTEMPT: contextvars.ContextVar[str] = contextvars.ContextVar("attempt", default="")

NEVER, NOW, LATER, TWICE = "never", "now", "later", "twice"
UNAVAILABLE, DENIED, TAKEN, TRUE = "unavailable", "denied", "taken", "true"


class Fault(NamedTuple):
    """The time at which a request is applied, and its answer."""

    applied: str
    answer: str


# The outcomes of a write, by an S3 store, the network, or an HTTP client that sends twice. A 409, a 500, a broken
# connection and a timeout are all UNAVAILABLE to the protocol, and differ in their time. TAKEN is a 412: of a second
# send, or of a conditional write that collided with another one and was not applied.
WRITE_FAULTS = {
    "lost": Fault(NEVER, UNAVAILABLE),
    "late": Fault(LATER, UNAVAILABLE),
    "unanswered": Fault(NOW, UNAVAILABLE),
    "refused": Fault(NOW, TAKEN),
    "misrefused": Fault(NEVER, TAKEN),
    "doubled": Fault(TWICE, TRUE),
    "denied": Fault(NEVER, DENIED),
    "denied after": Fault(NOW, DENIED),
}
# Without a condition there is no TAKEN.
PLAIN_FAULTS = {name: fault for name, fault in WRITE_FAULTS.items() if fault.answer != TAKEN}
READ_FAULTS = {"lost": Fault(NEVER, UNAVAILABLE), "denied": Fault(NEVER, DENIED), "slow": Fault(NOW, TRUE)}
NO_FAULT = Fault(NOW, TRUE)
PROCESS_FAULTS = ("pause before", "pause after", "crash before", "crash between", "crash after")


@dataclass(frozen=True)
class Weather:
    """The rates of faults, of "late" or of "late PUT log". Each seed has its own; some have many of few kinds."""

    seed: int
    rates: dict[str, float] = field(default_factory=dict)
    # Faults of the seed that shrinking has removed.
    quiet: frozenset[str] = frozenset()
    # Times, in seconds, in which a fault strikes every request.
    storms: tuple[tuple[float, float, str], ...] = ()
    # The step before which each server dies, in the order of their start.
    deaths: dict[int, int] = field(default_factory=dict)
    # Faults that a test has planned, by the request's name; a pause may give its graces: "pause before:2.5".
    planned: dict[str, str] = field(default_factory=dict)

    def of(self, request: str, kinds: Iterable[str], moment: float) -> tuple[random.Random, str]:
        """Return the random numbers of a request, and its fault."""
        chance = random.Random(crc32(request.encode(), self.seed & 0xFFFFFFFF) + (self.seed << 32))
        draw = chance.random()
        if request in self.quiet:
            return chance, ""
        if request in self.planned:
            return chance, self.planned[request]
        kinds = (*kinds, *PROCESS_FAULTS)
        for first, last, kind in self.storms:
            if first <= moment <= last and kind in kinds:
                return chance, kind
        what = request.partition(" ")[2].rpartition(" ")[0]
        for kind in kinds:
            draw -= self.rates.get(kind, 0.0) + self.rates.get(f"{kind} {what}", 0.0)
            if draw < 0:
                return chance, kind
        return chance, ""


class Observed(Objects):
    """Objects, and what is called with the key of each that was written."""

    on_write: Callable[[str], None] = staticmethod(lambda key: None)

    def write(self, key: str, data: bytes) -> None:
        super().write(key, data)
        self.on_write(key)


class Network:
    """The requests on their way to the objects, and their faults."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        # Whole seconds, as S3 reports them.
        self.objects = Observed(lambda: float(int(EPOCH + asyncio.get_running_loop().time())))
        self.trace: list[str] = []
        self.requests: list[str] = []
        self.struck: list[str] = []
        self.is_over = False
        self._counts: dict[str, int] = {}

    def name(self, what: str) -> str:
        """Return the name of the next request of the running attempt."""
        prefix = f"{ATTEMPT.get()} {what}"
        self._counts[prefix] = self._counts.get(prefix, -1) + 1
        return f"{prefix} #{self._counts[prefix]}"

    def dies_before(self, server: int) -> int:
        """Return the step before which a server dies; 0 if it does not."""
        step = self.weather.deaths.get(server, 0)
        name = f"server {server} dies before its step {step}"
        if not step or name in self.weather.quiet:
            return 0
        self.struck.append(name)
        return step


class SimulatedStore:
    """The store, as one process sees it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._objects = network.objects

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        made = await self._request(f"PUT {key}", lambda: self._objects.create(key, data), WRITE_FAULTS)
        return bool(made)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        return await self._request(f"GET {key}", lambda: self._objects.read(key, offset, length), READ_FAULTS)

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator["_Writer"]:
        yield _Writer(self, key)

    async def replace(self, key: str, data: bytes) -> None:
        await self._request(f"REPLACE {key}", lambda: self._objects.write(key, data), PLAIN_FAULTS)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        return await self._request(
            f"LIST {prefix}", lambda: self._objects.list(prefix, start_after, limit), READ_FAULTS
        )

    async def copy(self, source: str, target: str) -> bool:
        return False

    async def delete(self, key: str) -> None:
        await self._request(f"DELETE {key}", lambda: self._objects.delete(key), PLAIN_FAULTS)

    async def _request(self, what: str, apply: Callable[[], Any], kinds: dict[str, Fault]) -> Any:
        if self._network.is_over:
            raise StoreUnavailableError("the run is over")
        request = self._network.name(_kind(what))
        chance, fault = self._network.weather.of(request, kinds, _loop().time())
        fault, _, graces = fault.partition(":")
        self._network.requests.append(request)
        if fault:
            self._network.struck.append(request)
        self._network.trace.append(
            f"{_loop().time():14.3f}  {_who()}  {request}  {what}{f'  -- {fault}' if fault else ''}"
        )
        if fault == "pause before":
            await _paused(GRACE * float(graces) if graces else _pause(chance))
        if fault == "crash before":
            await _crashed()
        becomes = kinds.get(fault, NO_FAULT)
        delay = chance.uniform(1, 30) if fault == "slow" else 10 ** chance.uniform(-3, -1)
        answer = self._issue(apply, becomes, delay, chance)
        if fault == "crash between":
            await _crashed()
        try:
            found = await answer
        finally:
            if fault == "crash after" and not self._network.is_over:
                await _crashed()
            if fault == "pause after" and not self._network.is_over:
                await _paused(GRACE * float(graces) if graces else _pause(chance))
        if becomes.answer == UNAVAILABLE:
            raise StoreUnavailableError("no answer from the store")
        if becomes.answer == DENIED:
            raise StoreAccessDeniedError("the store refuses access")
        return False if becomes.answer == TAKEN else found

    def _issue(self, apply: Callable[[], Any], fault: Fault, delay: float, chance: random.Random) -> asyncio.Future:
        loop = _loop()
        answer = loop.create_future()
        # At once, or after the longest wait.
        patience = 30.0 if fault.answer == UNAVAILABLE and chance.random() < 0.3 else 0.0
        no_process = contextvars.Context()

        def arrive(found: Any, error: Exception | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
                answer.exception()  # the caller may be dead
            else:
                answer.set_result(found)

        def applied(*, answers: bool) -> None:
            found, error = None, None
            try:
                found = apply()
            except ObjectNotFoundError as missing:
                error = missing
            if answers:
                loop.call_later(patience + 10 ** chance.uniform(-3, -1), arrive, found, error, context=no_process)

        if fault.applied in (NOW, TWICE):
            loop.call_later(delay, lambda: applied(answers=True), context=no_process)
        else:
            loop.call_later(delay + patience, arrive, None, None, context=no_process)
        if fault.applied in (LATER, TWICE):
            loop.call_later(_long(chance), lambda: applied(answers=False), context=no_process)
        return answer


class _Writer:
    def __init__(self, store: SimulatedStore, key: str) -> None:
        self._store = store
        self._key = key
        self._data = bytearray()

    async def write(self, data: bytes) -> None:
        self._data += data

    async def finish(self) -> None:
        data = bytes(self._data)
        write = lambda: self._store._objects.write(self._key, data)  # noqa: E731
        await self._store._request(f"PUT {self._key}", write, PLAIN_FAULTS)


def _loop() -> SimulatedLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop


def _kind(what: str) -> str:
    """Return the verb and the kind of object: names that stay the same if other operations are left out."""
    verb, _, key = what.partition(" ")
    steps = key.split("/")
    return f"{verb} {steps[4] if len(steps) > 4 else steps[0]}"


def _who() -> str:
    process = PROCESS.get()
    return process.name if process is not None else "-"


def _long(chance: random.Random) -> float:
    """Return a time between a second and some graces."""
    return 10 ** chance.uniform(0, 5.5)


def _pause(chance: random.Random) -> float:
    return GRACE * chance.choice((1e-5, 0.02, 0.06, 0.3, 1.2, 2.5, 4.0))


async def _paused(seconds: float) -> None:
    process = PROCESS.get()
    if process is not None:
        _loop().pause(process, seconds)
        await asyncio.sleep(0)


async def _crashed() -> None:
    process = PROCESS.get()
    if process is not None:
        _loop().kill(process)
        await asyncio.sleep(0)
