"""A run: clients with scripts, servers that fail, and the history of requests and answers."""

import asyncio
import contextvars
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import inf
from types import SimpleNamespace
from unittest import mock
from uuid import UUID

from holdfast import HoldfastError as ClientError
from holdfast import RolledBackError
from holdfast._core.errors import of_reason
from holdfast._core.seen_heads import SeenHeads
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api import messages
from holdfast_server.protocol.checkpoints import records as records_module
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import id_index, ids
from holdfast_server.protocol.format.marker import MARKER_VERSION
from holdfast_server.protocol.log import fresh_ids, next_marker, recent
from holdfast_server.protocol.log import log as log_module
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance import gc
from holdfast_server.stores.base import StoreAccessDeniedError, StoreUnavailableError

from tests.support.mac_keys import keyed
from tests.verification.simulation import attached, copied, purged
from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.audit import audit, garbage
from tests.verification.simulation.linearizability import Operation, unexplained
from tests.verification.simulation.loop import PROCESS, Process, SimulatedLoop
from tests.verification.simulation.plans import Plan, Step
from tests.verification.simulation.resting import dependents
from tests.verification.simulation.rot import BLOB, Damage, rot
from tests.verification.simulation.server import INDEXERS, KEYS, serve
from tests.verification.simulation.store import ATTEMPT, EPOCH, GRACE, Network, Weather
from tests.verification.simulation.store import SimulatedStore as Store

_REQUEST = api.LoadRequest(namespace=KEYS.namespace, workflow_id=KEYS.workflow_id)
# Their errors may be about the log of the copy.
_OF_THE_COPY = (spec.COPY, spec.COLLECT_COPY)
_RETRIED = {Reason.COMMIT_UNKNOWN, Reason.STORE_UNAVAILABLE}


@dataclass
class Outcome:
    """The outcome of a run: its history, and the violation if there is one."""

    violation: str = ""
    history: list[Operation] = field(default_factory=list)
    network: Network | None = None

    @property
    def trace(self) -> list[str]:
        return self.network.trace if self.network is not None else []


def run(plan: Plan) -> Outcome:
    """Run a plan and judge its history."""
    return Run(plan).run()


def _coarse(data: bytes) -> SimpleNamespace:
    """Return a digest that only two values are possible of."""
    return SimpleNamespace(digest=lambda: bytes([sum(data) & 1]) * 32)


class Run:
    """One run, with its own loop and store."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._loop = SimulatedLoop()
        self._network = Network(plan.weather)
        self._network.objects.on_write = self._wrote
        self._processes: dict[int, Process] = {}
        self._logs: dict[Process, Log] = {}
        self._everybody: list[Process] = []
        self._ids: dict[str, str] = {}
        self._history: list[Operation] = []
        self._beside: list[Operation] = []
        self._tasks: set[asyncio.Task] = set()
        self._damaged: frozenset[Damage] = frozenset()
        # The keys of the objects that rotted.
        self._lost: set[str] = set()
        self._violation = ""
        # What a client sees of all answers: none may name a head older than one that was named before its request.
        self._heads = SeenHeads()

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
                mock.patch.object(next_marker, "time", clock),
                mock.patch.object(records_module, "time", clock),
                mock.patch.object(recent, "_MOST_CARRIED", 2),
                mock.patch.object(recent, "sha256", _coarse if self._plan.collides else recent.sha256),
                mock.patch.object(id_index, "sha256", _coarse if self._plan.collides else id_index.sha256),
                mock.patch.object(gc, "_DEAD_CLAIMS", 1),
                mock.patch.object(id_index, "BLOCK", 2),
                mock.patch.object(fresh_ids, "BLOCK", 2),
                mock.patch.object(fresh_ids, "MOST_UNINDEXED", 6),
                mock.patch.object(fresh_ids, "_STRIDE", 3),
                mock.patch.object(ids, "urandom", lambda count: self._uuid().bytes[:count]),
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
        # By then late requests have landed, and no server has a head from before.
        await asyncio.sleep(10 * GRACE)
        log = self._logs[self._new_process()]
        self._violation = self._violation or await audit(log, self._history, self._damaged)
        if not self._violation:
            left = unexplained(self._history)
            self._violation = "no order explains " + "; ".join(map(str, left)) if left else ""
        self._violation = self._violation or await attached.audit(log, self._history, self._beside)
        self._violation = self._violation or await garbage(log, self._network.objects, self._damaged)
        self._violation = self._violation or purged.garbage(self._network, self._history)
        self._violation = self._violation or await attached.garbage(log, self._network.objects)
        self._violation = self._violation or await copied.audit(log, self._network.objects, self._history, self._beside)

    async def _end(self) -> None:
        """Cancel the tasks of dead processes, so that none outlives the run."""
        self._network.is_over = True
        self._loop.revive(self._everybody)
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(INDEXERS[log].close() for log in self._logs.values() if log in INDEXERS))

    # The servers

    def _process(self, place: int) -> Process:
        process = self._processes.get(place)
        if process is None or process.is_dead:
            self._processes[place] = process = self._new_process()
        return process

    def _new_process(self) -> Process:
        skew = random.Random(len(self._everybody) + self._plan.weather.seed).choice((-3600.0, 0.0, 3600.0))
        process = Process(f"server {len(self._everybody)}", skew, self._network.dies_before(len(self._everybody)))
        store = keyed(Store(self._network)) if self._plan.keyed else Store(self._network)
        self._logs[process] = Log(store, grace_seconds=GRACE, marker_version=self._marker_version())
        self._everybody.append(process)
        return process

    def _marker_version(self) -> int:
        """Return the version of new logs for the next process: the older one for those started before an upgrade."""
        return 1 if self._plan.upgrades and len(self._everybody) < self._plan.upgrades else MARKER_VERSION

    # The clients

    async def _client(self, script: tuple[Step, ...]) -> None:
        client = Client(script[0].name.partition(".")[0] if script else "")
        for step in script:
            chance = random.Random(f"{self._plan.weather.seed} {step.name}")
            if step.rest is not None:
                await asyncio.sleep(GRACE * step.rest)
            elif chance.random() > self._plan.hurry:
                await asyncio.sleep(GRACE * chance.choice(self._plan.naps))
            else:
                await asyncio.sleep(10 ** chance.uniform(-3, 0))
            operation = self._rotted(step, chance) if step.kind == spec.ROT else self._operation(client, step)
            if operation is None:
                continue
            (self._beside if step.kind in spec.BESIDE else self._history).append(operation)
            operation.began = self._loop.time()
            watch = self._heads.watch(_REQUEST)
            if step.kind == spec.ROT:
                operation.ended = operation.began
                continue
            try:
                await self._send(step, operation, chance)
                with self._no_false_alarm():
                    watch.require(_naming(operation))
            except HoldfastError as error:
                if step.kind not in _OF_THE_COPY:
                    with self._no_false_alarm():
                        watch.require_of(_of_client(error))
                operation.error = error.reason.value
                if error.reason is Reason.CHECKPOINT_CORRUPTED and not self._damaged:
                    self._violation = self._violation or f"{operation} met damage: {error.message} {error.metadata}"
            except (StoreUnavailableError, StoreAccessDeniedError) as error:
                operation.error = type(error).__name__
            except Exception as error:  # noqa: BLE001 - any other error is a defect
                operation.error = "?"
                self._violation = self._violation or f"{operation} raised {error!r}"
            if operation.error is None and operation.purges:
                self._violation = self._violation or purged.audit(self._network, self._history, operation)
            if operation.error is None:
                client.learn(operation)
                if operation.kind == spec.SAVE:
                    self._ids[step.name] = str(operation.answer)
            self._close(operation)

    @contextmanager
    def _no_false_alarm(self) -> Iterator[None]:
        try:
            yield
        except RolledBackError as false:
            self._violation = self._violation or f"a false alarm: {false.message}"

    def _rotted(self, step: Step, chance: random.Random) -> Operation | None:
        rotten = rot(self._network.objects, chance, self._damaged, forges=self._plan.keyed)
        if rotten is None:
            return None
        damage, key = rotten
        self._damaged |= {damage}
        self._lost.add(key)
        self._damage_dependents()
        self._network.trace.append(f"{self._loop.time():14.3f}  {' '.join(map(str, damage))} rots")
        return Operation(step.name, spec.ROT, answer=damage)

    def _wrote(self, key: str) -> None:
        if self._lost and key.startswith(KEYS.log):
            self._damage_dependents()

    def _damage_dependents(self) -> None:
        """Enter what rests on damaged bytes into the history, as damaged from now on."""
        for key in self._lost:
            for revision in sorted(dependents(self._network.objects, KEYS, key)):
                if (BLOB, revision) not in self._damaged:
                    self._damaged |= {(BLOB, revision)}
                    now = self._loop.time()
                    damage = Operation(f"{key} {revision}", spec.ROT, answer=(BLOB, revision), began=now, ended=now)
                    self._history.append(damage)

    def _operation(self, client: "Client", step: Step) -> Operation | None:
        target_id = self._ids.get(step.target, "")
        epoch = client.epoch if step.kind in (spec.SAVE, spec.ATTACH) else None
        operation = Operation(step.name, step.kind, epoch=epoch, client=client.name, stamp=client.stamp)
        match step.kind:
            case spec.SAVE:
                operation.value = purged.secret(step.name)
                operation.checkpoint_id = step.checkpoint_id
                operation.replaces = step.replaces
                operation.pinned = step.pinned
                operation.expected = client.known(step.lags) if step.compares else None
                operation.epoch = (client.epoch or 0) + 1 if step.boasts else client.epoch
            case spec.FENCE:
                operation.leases = step.leases
                operation.expected = client.known(step.lags) if step.compares else None
            case spec.ATTACH:
                operation.value = step.name
                operation.checkpoint_id = step.checkpoint_id
            case spec.LOAD:
                operation.checkpoint_id = step.checkpoint_id or target_id
                operation.falls_back = step.falls_back
            case spec.PAGE:
                operation.size = step.size
                operation.below = client.listed_down_to
            case spec.DELETE:
                if not target_id:
                    return None
                operation.checkpoint_id = target_id
                operation.purges = step.purges
            case spec.DELETE_ALL:
                operation.purges = step.purges
            case spec.COLLECT | spec.PRUNE:
                operation.keep_last = step.keep_last
        return operation

    async def _send(self, step: Step, operation: Operation, chance: random.Random) -> None:
        for number in range(step.attempts):
            name = f"{step.name}/{number}"
            operation.is_first_attempt = number == 0
            place = chance.randrange(3)
            process = self._process(place if step.server is None else step.server)
            context = contextvars.Context()
            context.run(PROCESS.set, process)
            context.run(ATTEMPT.set, name)
            request = Request(KEYS, f"r-{step.name}", operation.epoch, operation.began if number else None)
            serving = serve(self._logs[process], step, replace(operation), request, self._loop.time() + step.patience)
            task = self._loop.create_task(serving, context=context)
            death = self._loop.create_task(process.died.wait())
            self._tasks |= {task, death}
            done, _ = await asyncio.wait({task, death}, timeout=step.patience, return_when="FIRST_COMPLETED")
            death.cancel()
            if task in done:
                try:
                    vars(operation).update(vars(task.result()))
                    return
                except (HoldfastError, StoreUnavailableError, StoreAccessDeniedError) as error:
                    if not _is_retried(error) or number == step.attempts - 1:
                        raise
            elif not process.is_dead:
                self._loop.call_soon(task.cancel, context=context)
            await asyncio.sleep(chance.choice((0.01, 1, 60, 0.2 * GRACE, 1.1 * GRACE, 2.5 * GRACE)))
        raise HoldfastError(Reason.DEADLINE_EXCEEDED, "no attempt was answered")

    def _close(self, operation: Operation) -> None:
        open_ended = ("COMMIT_UNKNOWN", "STORE_UNAVAILABLE", "DEADLINE_EXCEEDED", "StoreUnavailableError")
        is_read = operation.kind in (spec.LOAD, spec.PAGE)
        if operation.kind in spec.BESIDE:
            operation.ended = inf if operation.error else self._loop.time()
        elif operation.error in open_ended or operation.kind in spec.MAINTENANCE:
            if is_read:
                self._history.remove(operation)
        elif operation.error == "CHECKPOINT_DELETED" and operation.kind == spec.SAVE:
            pass  # it was committed, and purged before its answer
        elif operation.error == "CHECKPOINT_CORRUPTED" and not is_read:
            pass  # a repair decides whether its marker is there
        elif operation.error == "StoreAccessDeniedError":
            # A save that was refused at once must never be found. After a lost answer, a refusal proves nothing.
            if is_read or operation.is_first_attempt:
                self._history.remove(operation)
        elif is_read and operation.error == "CHECKPOINT_CORRUPTED" and self._rots_during(operation):
            # It reads more than once: an object may have been whole at first, and damaged later.
            self._history.remove(operation)
        else:
            operation.ended = self._loop.time()

    def _rots_during(self, operation: Operation) -> bool:
        return any(each.kind == spec.ROT and each.began >= operation.began for each in self._history)


@dataclass
class Client:
    """The memory of a client between operations."""

    name: str = ""
    revisions: list[int] = field(default_factory=list)
    epoch: int | None = None
    listed_down_to: int | None = None
    stamp: int = 0

    def known(self, lags: int) -> int:
        """Return the newest revision that it knows, or an older one; 0 if it knows none."""
        return self.revisions[-1 - lags] if lags < len(self.revisions) else 0

    def learn(self, operation: Operation) -> None:
        if operation.kind == spec.FENCE:
            self.epoch = operation.epoch = int(str(operation.answer))
        self.stamp = max(self.stamp, operation.stamp)
        if operation.revision:
            self.revisions.append(operation.revision)
        if operation.kind == spec.PAGE:
            is_last = len(operation.listed) < operation.size
            self.listed_down_to = None if is_last else operation.listed[-1].revision


def _naming(operation: Operation) -> api.SaveResponse:
    """Return an answer with the head of an operation's answer."""
    answer = api.SaveResponse(replayed=operation.is_replay)
    messages.name_head(operation.head, answer.head)
    return answer


def _of_client(error: HoldfastError) -> ClientError:
    return of_reason(error.reason.value, error.message, metadata=error.metadata)


def _skew() -> float:
    process = PROCESS.get()
    return process.skew if process is not None else 0.0


def _is_retried(error: Exception) -> bool:
    return isinstance(error, StoreUnavailableError) or (isinstance(error, HoldfastError) and error.reason in _RETRIED)
