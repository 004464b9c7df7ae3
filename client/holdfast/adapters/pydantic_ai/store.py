"""Pydantic AI: runs, events, snapshots and tool effects of `StepPersistence` in Holdfast.

What is written is there for every process as soon as the call returns, in the order of the log. What cannot be read is
reported in its place, never left out, unless the caller chose `fallback`. Media stay inside the snapshots: Holdfast
takes any size.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Self

from pydantic_ai_harness.step_persistence import (
    ContinuableSnapshot,
    RunRecord,
    StepEvent,
    StepStore,
    ToolEffectRecord,
)

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import Checkpoint, Format
from holdfast._core.errors import (
    CheckpointDeletedError,
    CheckpointIdReusedError,
    CheckpointNotFoundError,
    WorkflowNotFoundError,
)
from holdfast.adapters import runs
from holdfast.adapters.ids import CHECKPOINT_BYTES, holdfast_id
from holdfast.adapters.pydantic_ai import contents, names
from holdfast.adapters.pydantic_ai.contents import EVENT_FORMAT, RUN_FORMAT, SNAPSHOT_FORMAT, TOOL_EFFECT_FORMAT
from holdfast.adapters.pydantic_ai.items import Items
from holdfast.adapters.pydantic_ai.ownership import Owner
from holdfast.adapters.runs import Ownership


class HoldfastStepStore(StepStore):
    """A `StepStore` on a Holdfast server.

    Beside what the protocol names it has `list_snapshots`, which the conversation search asks for.

    Every method raises HoldfastError, a subclass for each reason: InvalidRequestError where something cannot be kept,
    CheckpointCorruptedError where stored bytes are damaged, FormatIncompatibleError where a newer adapter or engine
    wrote them, ServerUnavailableError where nobody answers. An item of a list that cannot be read is an `Unreadable`
    in its place, which raises that error where a field is read that is not known.

    Args:
        client: the client; who opened it closes it.
        namespace: where the runs lie.
        fallback: answer damage with the newest older snapshot or effect that is whole, and lists without what is
            damaged.
        max_snapshots_per_run: how many of a run's snapshots stay, besides the newest complete one; None: all.
        ownership: "exclusive": one process at a time writes a run, and a run that goes on from another one's snapshot
            takes that one over; "shared": any process may write, and any number of runs go on from a snapshot.

    Raises:
        ValueError: `max_snapshots_per_run` is no integer of at least 1, or the ownership is none.

    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str,
        fallback: bool = False,
        max_snapshots_per_run: int | None = None,
        ownership: Ownership = "shared",
    ) -> None:
        if max_snapshots_per_run is not None and not (type(max_snapshots_per_run) is int and max_snapshots_per_run > 0):
            raise ValueError(
                f"max_snapshots_per_run is {max_snapshots_per_run!r:.60}, expected an integer of at least 1, or None"
            )
        self._client = client
        self._namespace = namespace
        self._items = Items(client, namespace, fallback=fallback)
        self._most = max_snapshots_per_run
        self._owner = Owner(client, namespace) if runs.checked_ownership(ownership) == "exclusive" else None

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls,
        target: str,
        *,
        namespace: str,
        fallback: bool = False,
        max_snapshots_per_run: int | None = None,
        ownership: Ownership = "shared",
        **options: Any,
    ) -> AsyncIterator[Self]:
        """A store with a client of its own, closed with the block.

        Args:
            target: host:port of the server.
            namespace: where the runs lie.
            fallback: as the class has it.
            max_snapshots_per_run: as the class has it.
            ownership: as the class has it.
            options: what `holdfast.AsyncClient` takes, such as `timeout` in seconds.

        """
        async with AsyncClient(target, **options) as client:
            yield cls(
                client,
                namespace=namespace,
                fallback=fallback,
                max_snapshots_per_run=max_snapshots_per_run,
                ownership=ownership,
            )

    async def register_run(self, record: RunRecord) -> None:
        """Enter a run. The very same record may be entered again.

        Raises:
            ValueError: another run has this id.
            RevisionConflictError: with exclusive ownership, another process has gone on from the snapshot that this
                run goes on from, or saved a later one; nothing was stored.
            HoldfastError: a subclass for each reason.

        """
        data = contents.record(record)
        labels = {"conversation_id": record.conversation_id, "parent_run_id": record.parent_run_id}
        if self._owner is not None:
            await self._owner.take_over(record)
        try:
            await self._items.save(names.RUNS, RUN_FORMAT, data, names.run_key(record.run_id), labels, pinned=True)
        except CheckpointIdReusedError as error:
            raise ValueError(f"run_id {record.run_id!r} is already in the store") from error

    async def get_run(self, *, run_id: str) -> RunRecord | None:
        """A run; None where there is none."""
        try:
            return contents.read(RunRecord, await self._items.load(names.RUNS, RUN_FORMAT, names.run_key(run_id)))
        except (WorkflowNotFoundError, CheckpointNotFoundError):
            return None

    async def list_runs(
        self, *, parent_run_id: str | None = None, conversation_id: str | None = None
    ) -> list[RunRecord]:
        """The runs that match, by the time of their start; one that cannot be read, by the time of its save."""
        labels = {"conversation_id": conversation_id, "parent_run_id": parent_run_id}
        found = await self._items.all(names.RUNS, RUN_FORMAT, RunRecord, labels, names.known_of_run)
        return sorted(found, key=lambda run: _instant(run.started_at))

    async def append_event(self, event: StepEvent) -> None:
        """Append an event. Where one with its idempotency key is there, that one stays."""
        data = contents.record(event)
        workflow = names.events(event.run_id)
        await self._save_once(event.run_id, workflow, EVENT_FORMAT, data, event.idempotency_key, pinned=True)
        if self._owner is not None and event.kind in ("run_completed", "run_failed"):
            self._owner.end(event.run_id)

    async def list_events(self, *, run_id: str) -> list[StepEvent]:
        """The events of a run, in the order of their appends."""
        return await self._items.all(
            names.events(run_id),
            EVENT_FORMAT,
            StepEvent,
            {},
            lambda info: {"run_id": run_id, "timestamp": info.created},
        )

    async def save_snapshot(self, snapshot: ContinuableSnapshot) -> None:
        """Save a snapshot. Where one with its idempotency key is there, that one stays."""
        workflow = names.snapshots(snapshot.run_id)
        saved = await self._save_once(
            snapshot.run_id,
            workflow,
            SNAPSHOT_FORMAT,
            contents.snapshot(snapshot),
            snapshot.idempotency_key,
            # So that whatever few snapshots are kept, the newest complete one is among them.
            pinned=snapshot.state != "complete",
            state=snapshot.state,
        )
        if self._owner is not None and saved is not None:
            self._owner.loaded(snapshot, saved.revision)
        if self._most is not None:
            await self._delete_older(snapshot.run_id, workflow, self._most)

    async def latest_snapshot(self, *, run_id: str, include_interrupted: bool = False) -> ContinuableSnapshot | None:
        """The newest complete snapshot; None where there is none.

        Args:
            run_id: the run.
            include_interrupted: the newest of any state.

        Raises:
            CheckpointCorruptedError: it is damaged; with `fallback`, each older one is, too.
            HoldfastError: a subclass for each other reason.

        """
        state = None if include_interrupted else "complete"
        head = 0 if self._owner is None else await self._owner.head(run_id)
        newest = await self._items.newest(names.snapshots(run_id), SNAPSHOT_FORMAT, state=state)
        if newest is None:
            return None
        snapshot = contents.read(ContinuableSnapshot, newest)
        if self._owner is not None:
            self._owner.loaded(snapshot, head)
        return snapshot

    async def list_snapshots(self, *, run_id: str, include_interrupted: bool = False) -> list[ContinuableSnapshot]:
        """The complete snapshots of a run, or those of any state, in the order of their saves."""
        return await self._items.all(
            names.snapshots(run_id),
            SNAPSHOT_FORMAT,
            ContinuableSnapshot,
            {"state": None if include_interrupted else "complete"},
            lambda info: {"run_id": run_id, "state": info.labels.get("state"), "timestamp": info.created},
        )

    async def record_tool_effect(self, record: ToolEffectRecord) -> None:
        """Record what became of a tool call, in place of what was recorded before."""
        data = contents.record(record)
        labels = {"tool_call_id": record.tool_call_id, "status": record.status}
        workflow = names.effects(record.run_id)
        epoch = await self._epoch(record.run_id, workflow)
        await self._items.save(workflow, TOOL_EFFECT_FORMAT, data, "", labels, pinned=True, epoch=epoch)

    async def get_tool_effect(self, *, run_id: str, tool_call_id: str) -> ToolEffectRecord | None:
        """What was last recorded of a tool call; None where nothing was."""
        # None would be no filter, and find the newest effect of any call.
        call = names.text("tool_call_id", tool_call_id)
        newest = await self._items.newest(names.effects(run_id), TOOL_EFFECT_FORMAT, tool_call_id=call)
        return None if newest is None else contents.read(ToolEffectRecord, newest)

    async def list_unresolved_tool_effects(self, *, run_id: str) -> list[ToolEffectRecord]:
        """The tool calls that began and did not end, in the order of their first records."""
        workflow = names.effects(run_id)
        infos = [each async for each in self._items.listed(workflow, {}, page_size=1000)][::-1]
        last = {_call(each): each for each in infos}
        found = []
        for info in last.values():
            if info.labels.get("status", "started") != "started":
                continue
            known = {"tool_call_id": _call(info), "run_id": run_id, "status": "started"}
            found += await self._items.read(ToolEffectRecord, TOOL_EFFECT_FORMAT, info, None, known)
        return found

    async def _epoch(self, run_id: str, workflow: str) -> int | None:
        return None if self._owner is None else await self._owner.epoch(run_id, workflow)

    async def _delete_older(self, run_id: str, workflow: str, most: int) -> None:
        """Delete a run's snapshots but for the newest ones, and the newest complete one, which a run goes on from."""
        found = [each async for each in self._client.list(self._namespace, workflow, page_size=1000)]
        complete = [each for each in found if each.labels.get("state") == "complete"]
        kept = {each.checkpoint_id for each in (*found[:most], *complete[:1])}
        epoch = await self._epoch(run_id, workflow)
        for each in found[most:]:
            if each.checkpoint_id not in kept:
                with suppress(CheckpointDeletedError, CheckpointNotFoundError):
                    await self._client.delete(self._namespace, workflow, each.checkpoint_id, epoch=epoch)

    async def _save_once(
        self,
        run_id: str,
        workflow: str,
        form: Format,
        data: Any,
        idempotency_key: str | None,
        *,
        pinned: bool,
        **labels: str,
    ) -> Checkpoint | None:
        checkpoint_id = "" if idempotency_key is None else holdfast_id(f"key-{idempotency_key}", CHECKPOINT_BYTES)
        try:
            epoch = await self._epoch(run_id, workflow)
            return await self._items.save(workflow, form, data, checkpoint_id, labels, pinned=pinned, epoch=epoch)
        except CheckpointIdReusedError:
            # The retry of a save that has happened, with another timestamp.
            return None


def _instant(moment: datetime) -> datetime:
    """A time that others can be compared with; one without a zone is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _call(info: Checkpoint) -> str:
    """The tool call of an effect, as its labels have it."""
    return info.labels.get("tool_call_id", info.checkpoint_id)
