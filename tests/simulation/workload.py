"""A run: clients with scripts, servers that fail, and the history of what was asked and answered."""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
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
from tests.simulation.plans import Plan, Step
from tests.simulation.store import EPOCH, GRACE, TRY, Network, Weather
from tests.simulation.store import SimulatedStore as Store

KEYS = WorkflowKeys("n", "w")
_RETRIED = {Reason.COMMIT_UNKNOWN, Reason.STORE_UNAVAILABLE}


@dataclass
class Outcome:
    """What a run was, and what is wrong with it."""

    violation: str = ""
    history: list[Operation] = field(default_factory=list)
    network: Network | None = None

    @property
    def trace(self) -> list[str]:
        return self.network.trace if self.network is not None else []


def run(plan: Plan) -> Outcome:
    """Run a plan, and judge its history."""
    return Run(plan).run()


class Run:
    """One run in a world of its own."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._loop = SimulatedLoop()
        self._network = Network(plan.weather)
        self._processes: dict[int, Process] = {}
        self._logs: dict[Process, Log] = {}
        self._everybody: list[Process] = []
        self._ids: dict[str, str] = {}
        self._history: list[Operation] = []
        self._tasks: set[asyncio.Task] = set()
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
                mock.patch("random.uniform", lambda low, high: low + (high - low) * self._uuid().int / 2**128),
            ):
                self._loop.run_until_complete(self._main())
                self._loop.run_until_complete(self._end())
        finally:
            self._loop.close()
        return Outcome(self._violation, self._history, self._network)

    def _uuid(self) -> UUID:
        return UUID(int=random.Random(self._network.name("uuid")).getrandbits(128))

    async def _main(self) -> None:
        await asyncio.gather(*(self._client(script) for script in self._plan.scripts))
        self._network.weather = Weather(0)
        # Whatever is late has landed by then, and nobody holds a head that he read before.
        await asyncio.sleep(10 * GRACE)
        log = self._logs[self._new_process()]
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
        self._network.is_over = True
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
        self._logs[process] = Log(Store(self._network), grace_seconds=GRACE)
        self._everybody.append(process)
        return process

    # The clients

    async def _client(self, script: tuple[Step, ...]) -> None:
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
            log = self._logs[process]
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
        blobs = {key for key in self._network.objects.by_key if key.startswith(KEYS.blobs)}
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
