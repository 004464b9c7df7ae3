"""A run: clients with scripts, servers that fail, and the history of what was asked and answered."""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from unittest import mock
from uuid import UUID

from holdfast_server.protocol import entries, load, ownership
from holdfast_server.protocol import log as log_module
from holdfast_server.protocol.entries import Request
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.gc import collect
from holdfast_server.protocol.keys import WorkflowKeys
from holdfast_server.protocol.log import Entry, Log
from holdfast_server.protocol.payload import PartUpload, read_part
from holdfast_server.protocol.retention import Retention
from holdfast_server.protocol.save import SaveRequest, save
from holdfast_server.protocol.sweep import store_time
from holdfast_server.stores.base import StoreAccessDeniedError, StoreUnavailableError

from tests.simulation import linearizability as spec
from tests.simulation.linearizability import Checkpoint, Operation, unexplained
from tests.simulation.loop import PROCESS, Process, SimulatedLoop
from tests.simulation.store import EPOCH, GRACE, PROCESS_FAULTS, READ_FAULTS, TRY, WRITE_FAULTS, Objects, Weather
from tests.simulation.store import SimulatedStore as Store

KEYS = WorkflowKeys("n", "w")
_NASTY = (
    "pause before PUT log",
    "pause behind PUT blob",
    "pause behind PUT log",
    "pause behind GET log",
    "pause before GET blob",
    "pause before DELETE blob",
    "pause before DELETE log",
    "late PUT log",
    "late DELETE log",
    "late DELETE id",
    "refused PUT log",
    "unanswered PUT log",
    "crash behind PUT log",
)
_RETRIED = {Reason.COMMIT_UNKNOWN, Reason.STORE_UNAVAILABLE}


@dataclass(frozen=True)
class Step:
    """One thing that a client does.

    Attributes:
        name: unique in the run.
        kind: what, in the words of the specification.
        target: the step whose checkpoint is loaded or deleted; "" for the newest.
        checkpoint_id: the id that a save chooses.
        compares: whether a save requires the revision that the client knows.
        has_blob: whether the payload goes into a blob.
        keep_last: what a collection keeps.
        patience: seconds before a try is given up.
        tries: how often it is tried.
        falls_back: whether a load may fall back.

    """

    name: str
    kind: str
    target: str = ""
    checkpoint_id: str = ""
    compares: bool = False
    has_blob: bool = False
    keep_last: int = 2
    patience: float = 60.0
    tries: int = 4
    falls_back: bool = False


@dataclass(frozen=True)
class Plan:
    """All that a run follows from.

    Attributes:
        weather: the faults.
        scripts: what each client does.
        hurry: how often a step follows at once on the one before.
        naps: how long clients rest else, in graces.

    """

    weather: Weather
    scripts: tuple[tuple[Step, ...], ...]
    hurry: float = 0.5
    naps: tuple[float, ...] = (1e-4, 0.03, 0.3, 1.1)

    @property
    def steps(self) -> list[Step]:
        return [step for script in self.scripts for step in script]


@dataclass
class Outcome:
    """What a run was, and what is wrong with it."""

    violation: str = ""
    history: list[Operation] = field(default_factory=list)
    objects: Objects | None = None

    @property
    def trace(self) -> list[str]:
        return self.objects.trace if self.objects is not None else []


def planned(seed: int) -> Plan:
    """The plan of a seed: of three kinds, by turns."""
    return (_hurried, _lasting, _stalled)[seed % 3](seed, random.Random(seed))


def _hurried(seed: int, chance: random.Random) -> Plan:
    """Many faults of a few kinds, in operations that overlap."""
    return Plan(
        Weather(seed, _rates(chance)),
        _scripts(chance, collections=chance.choice((0, 2, 5))),
        hurry=chance.choice((0.2, 0.5, 0.9)),
    )


def _lasting(seed: int, chance: random.Random) -> Plan:
    """Days, with the faults that collections are most in the way of."""
    rates = {each: rate / 3 for each, rate in _rates(chance).items()}
    rates |= dict.fromkeys(chance.sample(_NASTY, chance.choice((1, 2, 3))), 0.3)
    return Plan(Weather(seed, rates), _scripts(chance, collections=9), hurry=chance.choice((0.1, 0.5)))


def _stalled(seed: int, chance: random.Random) -> Plan:
    """One writer, one reader and one collection stand still somewhere, while all others go on for graces."""
    victim = f"0.{chance.randrange(5)}/0"
    collector = f"{chance.choice((3, 4))}.{chance.randrange(14)}/0"
    places = {
        f"{victim} {chance.choice(('PUT log #0', 'PUT log #0', 'PUT blob #0'))}": (0.02, 0.06, 1.2, 2.5, 4.0),
        f"{victim} {chance.choice(('GET log #0', 'GET log #1'))}": (1.2, 2.5, 4.0),
        f"2.0/0 {chance.choice(('GET log #0', 'GET blob #0'))}": (1.2, 2.5, 4.0),
        f"{collector} {chance.choice(('PUT log #0', 'LIST blob #0'))}": (0.3, 1.2, 2.5),
    }
    stalls = {
        place: f"pause {_moment(place, chance)}:{chance.choice(graces)}"
        for place, graces in places.items()
        if chance.random() < 0.7
    }
    save = Step("", spec.SAVE, has_blob=True, tries=4)
    deletes = chance.choice((0, 0, 0.4))
    steady = tuple(
        replace(save, name=f"1.{index}", kind=spec.DELETE_ALL if chance.random() < deletes else spec.SAVE)
        for index in range(16)
    )
    collect_ = Step("", spec.COLLECT, keep_last=1, patience=10 * GRACE, tries=1)
    return Plan(
        Weather(seed, planned=stalls),
        (
            tuple(replace(save, name=f"0.{index}", patience=10 * GRACE, tries=2) for index in range(5)),
            steady,
            (Step("2.0", spec.LOAD, patience=10 * GRACE, tries=1),),
            *(tuple(replace(collect_, name=f"{client}.{index}") for index in range(14)) for client in (3, 4)),
        ),
        hurry=0.1,
        naps=chance.choice(((0.003, 0.01, 0.03, 0.6), (0.003, 0.1, 0.3, 0.6))),
    )


def _moment(place: str, chance: random.Random) -> str:
    if "PUT log" in place:
        return chance.choice(("before", "before", "behind"))
    return "behind"


def _rates(chance: random.Random) -> dict[str, float]:
    busy = chance.choice((0.0, 0.02, 0.06, 0.12))
    kinds = (*WRITE_FAULTS, *READ_FAULTS, *PROCESS_FAULTS)
    return {kind: busy * chance.choice((0.0, 0.0, 0.3, 1.0)) for kind in kinds}


def _scripts(chance: random.Random, *, collections: int) -> tuple[tuple[Step, ...], ...]:
    keep_last = chance.choice((1, 1, 2, 4))
    has_blobs, compares, chooses = chance.random(), chance.choice((0.0, 0.6)), chance.choice((0.0, 0.4))

    def script(client: int, length: int, kinds: dict[str, int]) -> tuple[Step, ...]:
        return tuple(step(f"{client}.{index}", kinds) for index in range(length))

    def step(name: str, kinds: dict[str, int]) -> Step:
        kind = chance.choices(list(kinds), list(kinds.values()))[0]
        return Step(
            name=name,
            kind=kind,
            target=chance.choice(("", f"{chance.randrange(2)}.{chance.randrange(8)}")),
            checkpoint_id=chance.choice("xyz") if kind == spec.SAVE and chance.random() < chooses else "",
            compares=chance.random() < compares,
            has_blob=chance.random() < has_blobs,
            keep_last=keep_last,
            # A collection has no caller who gives up; each appends once at most, since it is never tried again.
            patience=10 * GRACE if kind == spec.COLLECT else chance.choice((0.2, 60, 3600, 2 * GRACE)),
            tries=1 if kind == spec.COLLECT else chance.choice((1, 3, 6)),
            falls_back=chance.random() < 0.3,
        )

    writes = {
        spec.SAVE: 12,
        spec.LOAD: 2,
        spec.FENCE: chance.choice((0, 2)),
        spec.DELETE: chance.choice((0, 2)),
        spec.DELETE_ALL: chance.choice((0, 0, 2)),
    }
    return (
        script(0, chance.randint(2, 8), writes),
        script(1, chance.randint(2, 8), writes),
        script(2, chance.randint(1, 5), {spec.LOAD: 1}),
        script(3, collections, {spec.COLLECT: 1}),
        script(4, collections, {spec.COLLECT: 1}),
    )


def run(plan: Plan, *, overwrites: bool = False) -> Outcome:
    """Run a plan, and judge its history."""
    return Run(plan, overwrites=overwrites).run()


class Run:
    """One run in a world of its own."""

    def __init__(self, plan: Plan, *, overwrites: bool = False) -> None:
        self._plan = plan
        self._loop = SimulatedLoop()
        self._objects = Objects(plan.weather, overwrites=overwrites)
        self._processes: dict[int, Process] = {}
        self._logs: dict[Process, Log] = {}
        self._everybody: list[Process] = []
        self._ids: dict[str, str] = {}
        self._history: list[Operation] = []
        self._tasks: set[asyncio.Task] = set()
        self._chance = random.Random(plan.weather.seed)
        self._violation = ""

    def run(self) -> Outcome:
        clock = SimpleNamespace(
            time=lambda: EPOCH + self._loop.time() + _skew(),
            time_ns=lambda: int((EPOCH + self._loop.time() + _skew()) * 1e9),
            clock_gettime=lambda which: self._loop.time(),
            CLOCK_BOOTTIME=0,
        )
        try:
            with (
                mock.patch.object(log_module, "time", clock),
                mock.patch.object(entries, "time", clock),
                mock.patch.object(entries, "_RECENT_ENTRIES", 3),
                mock.patch("uuid.uuid4", self._uuid),
                mock.patch("random.getrandbits", lambda bits: self._uuid().int >> (128 - bits)),
            ):
                self._loop.run_until_complete(self._main())
                self._loop.run_until_complete(self._end())
        finally:
            self._loop.close()
        return Outcome(self._violation, self._history, self._objects)

    def _uuid(self) -> UUID:
        return UUID(int=random.Random(self._objects.name("uuid")).getrandbits(128))

    async def _main(self) -> None:
        await asyncio.gather(*(self._client(index, script) for index, script in enumerate(self._plan.scripts)))
        self._objects.weather = Weather(0)
        # Whatever is late has landed by then, and nobody holds a head that he read before.
        await asyncio.sleep(10 * GRACE)
        log = self._new_process().log
        await self._audit(log)
        if not self._violation:
            left = unexplained(self._history)
            self._violation = "no order explains " + "; ".join(map(str, left)) if left else ""
        if not self._violation:
            try:
                await self._require_no_garbage(log)
            except HoldfastError as error:
                self._violation = f"the last collection met {error.reason}: {error.message} {error.metadata}"

    async def _end(self) -> None:
        """End what waits in dead processes, so that nothing outlives the run."""
        self._objects.is_over = True
        self._loop.revive(self._everybody)
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # The servers

    def _process(self, place: int) -> Process:
        process = self._processes.get(place)
        if process is None or process.is_dead:
            self._processes[place] = process = self._new_process()
        return process

    def _new_process(self) -> Process:
        skew = random.Random(len(self._everybody) + self._plan.weather.seed).choice((-3600.0, 0.0, 3600.0))
        process = Process(f"server {len(self._everybody)}", skew)
        process.log = Log(Store(self._objects), grace_seconds=GRACE)  # type: ignore[attr-defined]
        self._everybody.append(process)
        return process

    # The clients

    async def _client(self, index: int, script: tuple[Step, ...]) -> None:
        client = Client()
        for step in script:
            chance = random.Random(f"{self._plan.weather.seed} {step.name}")
            if chance.random() > self._plan.hurry:
                await asyncio.sleep(GRACE * chance.choice(self._plan.naps))
            else:
                await asyncio.sleep(10 ** chance.uniform(-3, 0))
            operation = self._asked(client, step)
            if operation is None:
                continue
            self._history.append(operation)
            operation.began = self._loop.time()
            try:
                await self._tried(step, operation, chance)
            except HoldfastError as error:
                operation.error = error.reason.value
                if error.reason is Reason.CHECKPOINT_CORRUPTED:
                    self._violation = self._violation or f"{operation} met damage: {error.message} {error.metadata}"
            except (StoreUnavailableError, StoreAccessDeniedError) as error:
                operation.error = type(error).__name__
            except Exception as error:  # noqa: BLE001 - whatever else a caller meets is a defect
                operation.error = "?"
                self._violation = self._violation or f"{operation} raised {error!r}"
            if operation.error is None:
                client.learn(operation)
                if operation.kind == spec.SAVE:
                    self._ids[step.name] = str(operation.answer)
            self._close(operation)

    def _asked(self, client: "Client", step: Step) -> Operation | None:
        wanted = self._ids.get(step.target, "")
        operation = Operation(step.name, step.kind, epoch=client.epoch if step.kind == spec.SAVE else None)
        match step.kind:
            case spec.SAVE:
                operation.value = step.name
                operation.checkpoint_id = step.checkpoint_id
                operation.expected = client.revision if step.compares else None
            case spec.LOAD:
                operation.checkpoint_id = wanted
            case spec.DELETE:
                if not wanted:
                    return None
                operation.checkpoint_id = wanted
            case spec.COLLECT:
                operation.keep_last = step.keep_last
        return operation

    async def _tried(self, step: Step, operation: Operation, chance: random.Random) -> None:
        for number in range(step.tries):
            name = f"{step.name}/{number}"
            operation.was_tried_once = number == 0
            process = self._process(chance.randrange(3))
            context = contextvars.Context()
            context.run(PROCESS.set, process)
            context.run(TRY.set, name)
            log = process.log  # type: ignore[attr-defined]
            task = self._loop.create_task(self._serve(log, step, operation, number), context=context)
            death = self._loop.create_task(process.died.wait())
            self._tasks |= {task, death}
            done, _ = await asyncio.wait({task, death}, timeout=step.patience, return_when="FIRST_COMPLETED")
            death.cancel()
            if task in done:
                try:
                    operation.revision, operation.answer = task.result()
                    return
                except (HoldfastError, StoreUnavailableError, StoreAccessDeniedError) as error:
                    if not _is_retried(error) or number == step.tries - 1:
                        raise
            elif not process.is_dead:
                self._loop.call_soon(task.cancel, context=context)
            await asyncio.sleep(chance.choice((0.01, 1, 60, 0.2 * GRACE, 1.1 * GRACE, 2.5 * GRACE)))
        raise HoldfastError(Reason.DEADLINE_EXCEEDED, "nobody answered")

    def _close(self, operation: Operation) -> None:
        open_ended = ("COMMIT_UNKNOWN", "STORE_UNAVAILABLE", "DEADLINE_EXCEEDED", "StoreUnavailableError")
        is_read = operation.kind in (spec.LOAD, spec.LIST)
        if operation.error in open_ended or operation.kind == spec.COLLECT:
            if is_read:
                self._history.remove(operation)
        elif operation.error == "StoreAccessDeniedError":
            # What was refused at once must never be found, so it is left out; behind a lost answer it tells nothing.
            if is_read or operation.was_tried_once:
                self._history.remove(operation)
        elif is_read and operation.error == "CHECKPOINT_DELETED" and not operation.checkpoint_id:
            self._history.remove(operation)
        else:
            operation.ended = self._loop.time()

    # The server's side of a call

    async def _serve(self, log: Log, step: Step, operation: Operation, number: int) -> tuple[int, object]:
        request = Request(KEYS, f"r-{step.name}", operation.epoch, operation.began if number else None)
        deadline = self._loop.time() + step.patience
        handlers: dict[str, Callable[[], Awaitable[tuple[int, object]]]] = {
            spec.SAVE: lambda: self._save(log, step, operation, request, deadline),
            spec.LOAD: lambda: self._load(log, step, operation),
            spec.COLLECT: lambda: self._collect(log, step),
        }
        if step.kind in handlers:
            return await handlers[step.kind]()
        if step.kind == spec.FENCE:
            done = await ownership.acquire_writer(log, request, deadline=deadline)
            return done.entry.revision, done.entry.marker.writer_epoch
        if step.kind == spec.DELETE:
            done = await ownership.delete(log, request, operation.checkpoint_id, deadline=deadline)
        else:
            done = await ownership.delete_workflow(log, request, deadline=deadline)
        return done.entry.revision, None

    async def _save(
        self, log: Log, step: Step, operation: Operation, request: Request, deadline: float
    ) -> tuple[int, object]:
        base = await log.known_revision(KEYS)
        async with PartUpload(log.store, KEYS, base, "", 0 if step.has_blob else 100) as upload:
            await upload.write(operation.value.encode())
            part = await upload.finish()
        wanted = SaveRequest(
            request, "f", 1, checkpoint_id=operation.checkpoint_id, expected_revision=operation.expected
        )
        saved = await save(log, wanted, [part], deadline=deadline)
        return saved.entry.revision, saved.entry.marker.checkpoint_id

    async def _load(self, log: Log, step: Step, operation: Operation) -> tuple[int, object]:
        found = await load.find(log, KEYS, operation.checkpoint_id, (), fallback=step.falls_back)
        if found.skipped:
            raise HoldfastError(Reason.CHECKPOINT_CORRUPTED, f"passed over {found.skipped}")
        return found.entry.revision, await _read(log, found.entry)

    async def _collect(self, log: Log, step: Step) -> tuple[int, object]:
        await collect(log, KEYS, Retention(keep_last=step.keep_last), await store_time(log.store))
        return 0, None

    # What is left at the end

    async def _audit(self, log: Log) -> None:
        """Read everything, when all is quiet: this too must fit into the history."""
        listed = Operation("audit", spec.LIST, began=self._loop.time())
        try:
            found = [entry async for entry in load.history(log, KEYS, None)]
            for entry in reversed(found):
                value = await _read(log, entry)
                chosen = {each.checkpoint_id for each in self._history if each.value == value} & {"x", "y", "z"}
                told = entry.marker.checkpoint_id if chosen or value in self._answered() else ""
                listed.listed.append(Checkpoint(entry.revision, told, value))
                again = await load.find(log, KEYS, entry.marker.checkpoint_id, (), fallback=False)
                if again.entry.revision != entry.revision:
                    self._violation = (
                        f"{again.entry.marker.checkpoint_id} is both {entry.revision} and {again.entry.revision}"
                    )
        except HoldfastError as error:
            if error.reason is not Reason.WORKFLOW_NOT_FOUND:
                self._violation = f"the audit met {error.reason}: {error.message} {error.metadata}"
        listed.revision = await log.known_revision(KEYS)
        listed.ended = self._loop.time()
        self._history.append(listed)

    def _answered(self) -> set[str]:
        return {each.value for each in self._history if each.kind == spec.SAVE and each.answer}

    async def _require_no_garbage(self, log: Log) -> None:
        """After two graces and some collections nothing lies there but what is needed."""
        for _ in range(3):
            await collect(log, KEYS, Retention(), await store_time(log.store))
            await asyncio.sleep(1.5 * GRACE)
        head = await log.head(KEYS)
        needed = set()
        if head is not None:
            async for entry in load.history(log, KEYS, None):
                needed |= {KEYS.blob(part.blob) for part in entry.marker.parts if part.blob}
        blobs = {key for key in self._objects.keys if key.startswith(KEYS.blobs)}
        if blobs != needed:
            self._violation = f"left behind: {sorted(blobs - needed)}, missing: {sorted(needed - blobs)}"


@dataclass
class Client:
    """What a client remembers from one operation to the next."""

    revision: int = 0
    epoch: int | None = None

    def learn(self, operation: Operation) -> None:
        if operation.kind == spec.FENCE:
            self.epoch = operation.epoch = int(str(operation.answer))
        if operation.kind != spec.COLLECT and operation.revision:
            self.revision = operation.revision


async def _read(log: Log, entry: Entry) -> str:
    (part,) = entry.marker.parts
    try:
        async with aclosing(read_part(log.store, KEYS, part)) as blocks:
            return b"".join([block async for block in blocks]).decode()
    except HoldfastError as error:
        raise await load.as_of_now(log, KEYS, entry, error) from None


def _skew() -> float:
    process = PROCESS.get()
    return process.skew if process is not None else 0.0


def _is_retried(error: Exception) -> bool:
    return isinstance(error, StoreUnavailableError) or (isinstance(error, HoldfastError) and error.reason in _RETRIED)


def without(plan: Plan, names: set[str]) -> Plan:
    """The plan without some of its steps."""
    scripts = tuple(tuple(step for step in script if step.name not in names) for script in plan.scripts)
    return replace(plan, scripts=scripts)
