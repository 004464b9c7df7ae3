"""The step store, which implements Pydantic AI's interface.

Every write is visible to all processes when the call returns, in the order of the log. An item that cannot be read is
reported in its place in a list, and is left out only if the caller chose `fallback`. Media stay inside the snapshots,
since Holdfast stores payloads of any size.
"""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

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
from holdfast.adapters.from_target import AsyncFromTarget
from holdfast.adapters.ids import CHECKPOINT_BYTES, holdfast_id
from holdfast.adapters.pydantic_ai import contents, names
from holdfast.adapters.pydantic_ai.contents import EVENT_FORMAT, RUN_FORMAT, SNAPSHOT_FORMAT, TOOL_EFFECT_FORMAT
from holdfast.adapters.pydantic_ai.exclusive import ExclusiveRuns
from holdfast.adapters.pydantic_ai.items import Items
from holdfast.adapters.runs import Ownership, checked_ownership


class HoldfastStepStore(AsyncFromTarget, StepStore):
    """A step store for Pydantic AI. Several event loops may share it.

    Besides the methods of `StepStore` it has `list_snapshots`, which the conversation search calls.

    Every method raises HoldfastError, a subclass for each reason: InvalidRequestError if an item cannot be stored,
    CheckpointCorruptedError if stored bytes are damaged, FormatIncompatibleError if a newer adapter or engine wrote
    them, ServerUnavailableError if the server cannot be reached. An `Unreadable` takes the place of a list item that
    cannot be read. Some of its fields are known; reading another one raises that error.

    Args:
        client: an open client, which the caller closes.
        namespace: the namespace of the runs.
        fallback: if stored bytes are damaged, return the newest older snapshot or effect that is whole, and leave
            damaged items out of lists; otherwise raise CheckpointCorruptedError.
        max_snapshots_per_run: how many of a run's newest snapshots to keep, besides the newest complete one; None for
            all.
        ownership: "exclusive": one process at a time writes a run, and a run that continues from another run's snapshot
            takes over that run. "shared": any process may write, and any number of runs may continue from a snapshot.

    Raises:
        ValueError: `max_snapshots_per_run` is not an integer of at least 1, or `ownership` is neither "shared" nor
            "exclusive".

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
        self._max_snapshots = max_snapshots_per_run
        self._owned = ExclusiveRuns(client, namespace) if checked_ownership(ownership) == "exclusive" else None

    async def register_run(self, record: RunRecord) -> None:
        """Register a run. Registering an equal record again is not an error.

        Args:
            record: the run.

        Raises:
            ValueError: another run has this id.
            RevisionConflictError: with exclusive ownership, another process has continued from the snapshot that this
                run continues from, or has saved a later one. Nothing was stored.
            HoldfastError: a subclass for each other reason.

        """
        data = contents.record(record)
        labels = {"conversation_id": record.conversation_id, "parent_run_id": record.parent_run_id}
        if self._owned is not None:
            await self._owned.take_over(record)
        try:
            await self._items.save(names.RUNS, RUN_FORMAT, data, names.run_key(record.run_id), labels, pinned=True)
        except CheckpointIdReusedError as error:
            raise ValueError(f"run_id {record.run_id!r} is already in the store") from error

    async def get_run(self, *, run_id: str) -> RunRecord | None:
        """Return a run; None if it does not exist.

        Args:
            run_id: the run.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        try:
            return contents.read(RunRecord, await self._items.load(names.RUNS, RUN_FORMAT, names.run_key(run_id)))
        except (WorkflowNotFoundError, CheckpointNotFoundError):
            return None

    async def list_runs(
        self, *, parent_run_id: str | None = None, conversation_id: str | None = None
    ) -> list[RunRecord]:
        """Return the runs that match, ordered by the time of their start.

        A run that cannot be read is ordered by the time of its save.

        Args:
            parent_run_id: the parent run; None for any.
            conversation_id: the conversation; None for any.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        labels = {"conversation_id": conversation_id, "parent_run_id": parent_run_id}
        found = await self._items.all(names.RUNS, RUN_FORMAT, RunRecord, labels, names.known_of_run)
        return sorted(found, key=lambda run: _instant(run.started_at))

    async def append_event(self, event: StepEvent) -> None:
        """Append an event, unless one with its idempotency key exists or existed.

        Args:
            event: the event.

        Raises:
            InvalidRequestError: a field cannot be stored; `field_violations` name it.
            WriterFencedError: with exclusive ownership, another process has taken over the run.
            HoldfastError: a subclass for each other reason.

        """
        data = contents.record(event)
        workflow = names.events(event.run_id)
        await self._save_once(event.run_id, workflow, EVENT_FORMAT, data, event.idempotency_key, pinned=True)
        if self._owned is not None and event.kind in ("run_completed", "run_failed"):
            self._owned.end(event.run_id)

    async def list_events(self, *, run_id: str) -> list[StepEvent]:
        """Return the events of a run, in the order in which they were appended.

        Args:
            run_id: the run.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        return await self._items.all(
            names.events(run_id),
            EVENT_FORMAT,
            StepEvent,
            {},
            lambda info: {"run_id": run_id, "timestamp": info.created},
        )

    async def save_snapshot(self, snapshot: ContinuableSnapshot) -> None:
        """Save a snapshot, unless one with its idempotency key exists or existed.

        Args:
            snapshot: the snapshot.

        Raises:
            InvalidRequestError: a value in it cannot be stored; `field_violations` name its path.
            WriterFencedError: with exclusive ownership, another process has taken over the run.
            HoldfastError: a subclass for each other reason.

        """
        workflow = names.snapshots(snapshot.run_id)
        saved = await self._save_once(
            snapshot.run_id,
            workflow,
            SNAPSHOT_FORMAT,
            contents.snapshot(snapshot),
            snapshot.idempotency_key,
            # Retention keeps the newest checkpoint that is not pinned, so that is always a complete snapshot.
            pinned=snapshot.state != "complete",
            state=snapshot.state,
        )
        if self._owned is not None and saved is not None:
            self._owned.loaded(snapshot, saved.revision)
        if self._max_snapshots is not None:
            await self._delete_older(snapshot.run_id, workflow, self._max_snapshots)

    async def latest_snapshot(self, *, run_id: str, include_interrupted: bool = False) -> ContinuableSnapshot | None:
        """Return the newest complete snapshot of a run; None if none exists.

        Args:
            run_id: the run.
            include_interrupted: return the newest snapshot of any state.

        Raises:
            CheckpointCorruptedError: it is damaged, and `fallback` is not set or finds no older one that is whole.
            HoldfastError: a subclass for each other reason.

        """
        state = None if include_interrupted else "complete"
        head = 0 if self._owned is None else await self._owned.head(run_id)
        newest = await self._items.newest(names.snapshots(run_id), SNAPSHOT_FORMAT, state=state)
        if newest is None:
            return None
        snapshot = contents.read(ContinuableSnapshot, newest)
        if self._owned is not None:
            self._owned.loaded(snapshot, head)
        return snapshot

    async def list_snapshots(self, *, run_id: str, include_interrupted: bool = False) -> list[ContinuableSnapshot]:
        """Return the complete snapshots of a run, in the order in which they were saved.

        Args:
            run_id: the run.
            include_interrupted: return the snapshots of any state.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        return await self._items.all(
            names.snapshots(run_id),
            SNAPSHOT_FORMAT,
            ContinuableSnapshot,
            {"state": None if include_interrupted else "complete"},
            lambda info: {"run_id": run_id, "state": info.labels.get("state"), "timestamp": info.created},
        )

    async def record_tool_effect(self, record: ToolEffectRecord) -> None:
        """Record the state of a tool call, which replaces the one recorded before.

        Args:
            record: the state.

        Raises:
            InvalidRequestError: a field cannot be stored; `field_violations` name it.
            WriterFencedError: with exclusive ownership, another process has taken over the run.
            HoldfastError: a subclass for each other reason.

        """
        data = contents.record(record)
        labels = {"tool_call_id": record.tool_call_id, "status": record.status}
        workflow = names.effects(record.run_id)
        epoch = await self._epoch(record.run_id, workflow)
        await self._items.save(workflow, TOOL_EFFECT_FORMAT, data, "", labels, pinned=True, epoch=epoch)

    async def get_tool_effect(self, *, run_id: str, tool_call_id: str) -> ToolEffectRecord | None:
        """Return the last recorded state of a tool call; None if none was recorded.

        Args:
            run_id: the run.
            tool_call_id: the tool call.

        Raises:
            CheckpointCorruptedError: it is damaged, and `fallback` is not set or finds no older one that is whole.
            HoldfastError: a subclass for each other reason.

        """
        # Refuses None, which would match the effects of all calls.
        call = names.text("tool_call_id", tool_call_id)
        newest = await self._items.newest(names.effects(run_id), TOOL_EFFECT_FORMAT, tool_call_id=call)
        return None if newest is None else contents.read(ToolEffectRecord, newest)

    async def list_unresolved_tool_effects(self, *, run_id: str) -> list[ToolEffectRecord]:
        """Return the tool calls that began and did not end, in the order of their first records.

        Args:
            run_id: the run.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        workflow = names.effects(run_id)
        infos = [info async for info in self._items.listed(workflow, {}, page_size=1000)][::-1]
        last = {_call(info): info for info in infos}
        found = []
        for info in last.values():
            if info.labels.get("status", "started") != "started":
                continue
            known = {"tool_call_id": _call(info), "run_id": run_id, "status": "started"}
            found += await self._items.read(ToolEffectRecord, TOOL_EFFECT_FORMAT, info, None, known)
        return found

    async def _epoch(self, run_id: str, workflow: str) -> int | None:
        return None if self._owned is None else await self._owned.epoch(run_id, workflow)

    async def _delete_older(self, run_id: str, workflow: str, keep_last: int) -> None:
        """Delete a run's snapshots, except the newest ones and the newest complete one, which a run continues from."""
        found = [info async for info in self._client.list(self._namespace, workflow, page_size=1000)]
        complete = [info for info in found if info.labels.get("state") == "complete"]
        kept = {info.checkpoint_id for info in (*found[:keep_last], *complete[:1])}
        epoch = await self._epoch(run_id, workflow)
        for info in found[keep_last:]:
            if info.checkpoint_id not in kept:
                with suppress(CheckpointDeletedError, CheckpointNotFoundError):
                    await self._client.delete(self._namespace, workflow, info.checkpoint_id, epoch=epoch)

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
            # An earlier attempt has saved the item, with another timestamp.
            return None


def _instant(moment: datetime) -> datetime:
    """Return a time with a zone, which is UTC if it had none."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _call(info: Checkpoint) -> str:
    """Return the tool call of an effect, from its labels."""
    return info.labels.get("tool_call_id", info.checkpoint_id)
