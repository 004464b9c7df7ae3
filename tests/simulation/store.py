"""An object store over a network that fails. Every request has three moments: issued, applied, answered.

Between them a fault may strike: the request is lost or late, is applied twice, its answer is lost or replaced by that
of a second try, the process that asked is paused or killed. What happens to a request is drawn from the
seed and the request's own name, so that leaving out one operation leaves the others' faults as they were.
"""

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from holdfast_server.stores.base import (
    ObjectNotFoundError,
    ObjectSummary,
    StoreAccessDeniedError,
    StoredObject,
    StoreUnavailableError,
)
from holdfast_server.stores.memory import Objects

from tests.simulation.loop import PROCESS, SimulatedLoop

EPOCH = 1_700_000_000.0
GRACE = 86_400.0
# Of which try of which operation a request is.
TRY: contextvars.ContextVar[str] = contextvars.ContextVar("try", default="")

WRITE_FAULTS = ("lost", "late", "unanswered", "refused", "doubled", "denied")
READ_FAULTS = ("lost", "denied", "slow")
PROCESS_FAULTS = ("pause before", "pause behind", "crash before", "crash between", "crash behind")


@dataclass(frozen=True)
class Weather:
    """How often which fault strikes: "late", or "late PUT log". Each seed has its own, some have many of few kinds."""

    seed: int
    rates: dict[str, float] = field(default_factory=dict)
    # Faults that do not strike although the seed says so: what shrinking takes away.
    quiet: frozenset[str] = frozenset()
    # Faults that strike where a test says so, by the request's name; a pause may tell its graces: "pause before:2.5".
    planned: dict[str, str] = field(default_factory=dict)

    def of(self, request: str, kinds: tuple[str, ...]) -> tuple[random.Random, str]:
        """The random numbers of a request, and the fault that strikes it."""
        chance = random.Random(crc32(request.encode(), self.seed & 0xFFFFFFFF) + (self.seed << 32))
        draw = chance.random()
        what = request.partition(" ")[2].rpartition(" ")[0]
        strikes = self.planned.get(request, "") if request not in self.quiet else ""
        for kind in kinds:
            rate = self.rates.get(kind, 0.0) + self.rates.get(f"{kind} {what}", 0.0)
            if not strikes and draw < rate and request not in self.quiet:
                strikes = kind
            draw -= rate
        return chance, strikes


class Network:
    """Who is on his way to the objects, and what becomes of him."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        # Whole seconds, as S3 tells them.
        self.objects = Objects(lambda: float(int(EPOCH + asyncio.get_running_loop().time())))
        self.trace: list[str] = []
        self.requests: list[str] = []
        self.struck: list[str] = []
        self.is_over = False
        self._counts: dict[str, int] = {}

    def name(self, what: str) -> str:
        """The name of the next request of the try that is running."""
        prefix = f"{TRY.get()} {what}"
        self._counts[prefix] = self._counts.get(prefix, -1) + 1
        return f"{prefix} #{self._counts[prefix]}"


class SimulatedStore:
    """The store as a process sees it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._objects = network.objects

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        return bool(await self._write(f"PUT {key}", lambda: self._objects.create(key, data), refusal=False))

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        return await self._read(f"GET {key}", lambda: self._objects.read(key, offset, length))

    @asynccontextmanager
    async def put(self, key: str) -> AsyncIterator["_Writer"]:
        yield _Writer(self, key)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        return await self._read(f"LIST {prefix}", lambda: self._objects.list(prefix, start_after, limit))

    async def delete(self, key: str) -> None:
        await self._write(f"DELETE {key}", lambda: self._objects.delete(key))

    async def _read(self, what: str, apply: Callable[[], Any]) -> Any:
        return await self._request(what, apply, READ_FAULTS, None)

    async def _write(self, what: str, apply: Callable[[], Any], refusal: Any = None) -> Any:
        return await self._request(what, apply, WRITE_FAULTS, refusal)

    async def _request(self, what: str, apply: Callable[[], Any], kinds: tuple[str, ...], refusal: Any) -> Any:
        if self._network.is_over:
            raise StoreUnavailableError("the run is over")
        request = self._network.name(_kind(what))
        chance, fault = self._network.weather.of(request, (*kinds, *PROCESS_FAULTS))
        fault, _, graces = fault.partition(":")
        self._network.requests.append(request)
        if fault:
            self._network.struck.append(request)
        self._network.trace.append(
            f"{_loop().time():14.3f}  {_who()}  {request}  {what}{f'  -- {fault}' if fault else ''}"
        )
        delay = 10 ** chance.uniform(-3, -1)
        if fault == "pause before":
            await _paused(GRACE * float(graces) if graces else _pause(chance))
        if fault == "crash before":
            await _crashed()
        answer = self._issue(apply, delay, fault, chance)
        if fault == "crash between":
            await _crashed()
        try:
            found = await answer
        finally:
            if fault == "crash behind" and not self._network.is_over:
                await _crashed()
            if fault == "pause behind" and not self._network.is_over:
                await _paused(GRACE * float(graces) if graces else _pause(chance))
        if fault in ("lost", "late", "unanswered"):
            raise StoreUnavailableError("no answer from the store")
        if fault == "denied":
            raise StoreAccessDeniedError("the store refuses access")
        return refusal if fault == "refused" else found

    def _issue(self, apply: Callable[[], Any], delay: float, fault: str, chance: random.Random) -> asyncio.Future:
        loop = _loop()
        answer = loop.create_future()
        nobody = contextvars.Context()

        def arrive(found: Any, error: Exception | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
                answer.exception()  # whoever asked may be dead
            else:
                answer.set_result(found)

        def applied(*, answers: bool) -> None:
            found, error = None, None
            try:
                found = apply()
            except ObjectNotFoundError as missing:
                error = missing
            if answers:
                loop.call_later(10 ** chance.uniform(-3, -1), arrive, found, error, context=nobody)

        if fault in ("lost", "denied"):
            loop.call_later(delay, arrive, None, None, context=nobody)
        elif fault == "late":
            loop.call_later(delay, arrive, None, None, context=nobody)
            loop.call_later(_long(chance), lambda: applied(answers=False), context=nobody)
        else:
            delay = chance.uniform(1, 30) if fault == "slow" else delay
            loop.call_later(delay, lambda: applied(answers=True), context=nobody)
        if fault == "doubled":
            loop.call_later(_long(chance), lambda: applied(answers=False), context=nobody)
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
        await self._store._write(f"PUT {self._key}", lambda: self._store._objects.write(self._key, data))


def _loop() -> SimulatedLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop


def _kind(what: str) -> str:
    """The verb and the kind of object: names that stay when other operations are left out."""
    verb, _, key = what.partition(" ")
    steps = key.split("/")
    return f"{verb} {steps[4] if len(steps) > 4 else steps[0]}"


def _who() -> str:
    process = PROCESS.get()
    return process.name if process is not None else "-"


def _long(chance: random.Random) -> float:
    """From a second to some graces."""
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
