"""Pydantic AI: runs, events, snapshots and tool effects of `StepPersistence` in Holdfast.

What is written is there for every process as soon as the call returns, in the order of the log. What cannot be read is
told, never left out, unless the caller chose `fallback`. Media stay inside the snapshots: Holdfast takes any size.
"""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

from pydantic import TypeAdapter
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai_harness.step_persistence import (
    ContinuableSnapshot,
    RunRecord,
    StepEvent,
    StepStore,
    ToolEffectRecord,
)

from holdfast.adapters.ids import CHECKPOINT_BYTES, LABEL_BYTES, holdfast_id, joined
from holdfast.checkpoint import AcceptedFormat, Checkpoint, Format, LoadedCheckpoint
from holdfast.client import AsyncClient
from holdfast.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointIdReusedError,
    CheckpointNotFoundError,
    WorkflowNotFoundError,
)

RUN_FORMAT = Format("pydantic-ai-run", 1)
EVENT_FORMAT = Format("pydantic-ai-event", 1)
SNAPSHOT_FORMAT = Format("pydantic-ai-snapshot", 1)
TOOL_EFFECT_FORMAT = Format("pydantic-ai-tool-effect", 1)

_RUNS = "runs"
_RUN = TypeAdapter(RunRecord)
_EVENT = TypeAdapter(StepEvent)
_SNAPSHOT = TypeAdapter(ContinuableSnapshot)
_TOOL_EFFECT = TypeAdapter(ToolEffectRecord)

_logger = logging.getLogger(__name__)


class HoldfastStepStore(StepStore):
    """A `StepStore` on a Holdfast server.

    Beside what the protocol names it has `list_snapshots`, which the conversation search asks for.

    Every method raises HoldfastError, a subclass for each reason: CheckpointCorruptedError where stored bytes are
    damaged, FormatIncompatibleError where a newer adapter wrote them, ServerUnavailableError where nobody answers.

    Args:
        client: the client; who opened it closes it.
        namespace: where the runs lie.
        fallback: answer damage with the newest older snapshot or effect that is whole, and lists without what is
            damaged.
        max_snapshots_per_run: how many of a run's snapshots stay, besides the newest complete one; None: all.

    Raises:
        ValueError: fewer than one snapshot would stay.

    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str,
        fallback: bool = False,
        max_snapshots_per_run: int | None = None,
    ) -> None:
        if max_snapshots_per_run is not None and max_snapshots_per_run < 1:
            raise ValueError(f"max_snapshots_per_run is {max_snapshots_per_run}, must be at least 1")
        self._client = client
        self._namespace = namespace
        self._fallback = fallback
        self._most = max_snapshots_per_run

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls,
        target: str,
        *,
        namespace: str,
        fallback: bool = False,
        max_snapshots_per_run: int | None = None,
        **options: Any,
    ) -> AsyncIterator[Self]:
        """A store with a client of its own, closed with the block.

        Args:
            target: host:port of the server.
            namespace: where the runs lie.
            fallback: as the class has it.
            max_snapshots_per_run: as the class has it.
            options: what `holdfast.AsyncClient` takes, such as `timeout` in seconds.

        """
        async with AsyncClient(target, **options) as client:
            yield cls(client, namespace=namespace, fallback=fallback, max_snapshots_per_run=max_snapshots_per_run)

    async def register_run(self, record: RunRecord) -> None:
        """Enter a run. The very same record may be entered again.

        Raises:
            ValueError: another run has this id.
            HoldfastError: a subclass for each reason.

        """
        labels = {"conversation_id": record.conversation_id, "parent_run_id": record.parent_run_id}
        try:
            await self._save(_RUNS, RUN_FORMAT, _RUN.dump_json(record), _run_key(record.run_id), labels)
        except CheckpointIdReusedError as error:
            raise ValueError(f"run_id {record.run_id!r} is already in the store") from error

    async def get_run(self, *, run_id: str) -> RunRecord | None:
        """A run; None where there is none."""
        try:
            return _RUN.validate_json((await self._load(_RUNS, RUN_FORMAT, _run_key(run_id))).data)
        except (WorkflowNotFoundError, CheckpointNotFoundError):
            return None

    async def list_runs(
        self, *, parent_run_id: str | None = None, conversation_id: str | None = None
    ) -> list[RunRecord]:
        """The runs that match, by the time of their start."""
        found = await self._all(_RUNS, RUN_FORMAT, conversation_id=conversation_id, parent_run_id=parent_run_id)
        return sorted((_RUN.validate_json(each.data) for each in found), key=lambda run: run.started_at)

    async def append_event(self, event: StepEvent) -> None:
        """Append an event. Where one with its idempotency key is there, that one stays."""
        await self._save_once(_events(event.run_id), EVENT_FORMAT, _EVENT.dump_json(event), event.idempotency_key)

    async def list_events(self, *, run_id: str) -> list[StepEvent]:
        """The events of a run, in the order of their appends."""
        return [_EVENT.validate_json(each.data) for each in await self._all(_events(run_id), EVENT_FORMAT)]

    async def save_snapshot(self, snapshot: ContinuableSnapshot) -> None:
        """Save a snapshot. Where one with its idempotency key is there, that one stays."""
        about = _SNAPSHOT.dump_python(snapshot, mode="json", exclude={"messages"})
        parts = {
            "messages": ModelMessagesTypeAdapter.dump_json(snapshot.messages),
            "snapshot": json.dumps(about).encode(),
        }
        await self._save_once(
            _snapshots(snapshot.run_id), SNAPSHOT_FORMAT, parts, snapshot.idempotency_key, state=snapshot.state
        )
        if self._most is not None:
            await self._delete_older(_snapshots(snapshot.run_id), self._most)

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
        newest = await self._newest(_snapshots(run_id), SNAPSHOT_FORMAT, state=state)
        return None if newest is None else _snapshot(newest)

    async def list_snapshots(self, *, run_id: str, include_interrupted: bool = False) -> list[ContinuableSnapshot]:
        """The complete snapshots of a run, or those of any state, in the order of their saves."""
        state = None if include_interrupted else "complete"
        return [_snapshot(each) for each in await self._all(_snapshots(run_id), SNAPSHOT_FORMAT, state=state)]

    async def record_tool_effect(self, record: ToolEffectRecord) -> None:
        """Record what became of a tool call, in place of what was recorded before."""
        labels = {"tool_call_id": record.tool_call_id, "status": record.status}
        await self._save(_effects(record.run_id), TOOL_EFFECT_FORMAT, _TOOL_EFFECT.dump_json(record), "", labels)

    async def get_tool_effect(self, *, run_id: str, tool_call_id: str) -> ToolEffectRecord | None:
        """What was last recorded of a tool call; None where nothing was."""
        newest = await self._newest(_effects(run_id), TOOL_EFFECT_FORMAT, tool_call_id=tool_call_id)
        return None if newest is None else _TOOL_EFFECT.validate_json(newest.data)

    async def list_unresolved_tool_effects(self, *, run_id: str) -> list[ToolEffectRecord]:
        """The tool calls that began and did not end, in the order of their first records."""
        workflow = _effects(run_id)
        last = {each.labels["tool_call_id"]: each for each in await self._infos(workflow)}
        started = [each for each in last.values() if each.labels["status"] == "started"]
        loaded = await self._payloads(workflow, TOOL_EFFECT_FORMAT, started)
        return [_TOOL_EFFECT.validate_json(each.data) for each in loaded]

    async def _delete_older(self, workflow: str, most: int) -> None:
        """Delete a run's snapshots but for the newest ones, and the newest complete one, which a run goes on from."""
        found = [each async for each in self._client.list(self._namespace, workflow, page_size=1000)]
        complete = [each for each in found if each.labels["state"] == "complete"]
        kept = {each.checkpoint_id for each in (*found[:most], *complete[:1])}
        for each in found[most:]:
            if each.checkpoint_id not in kept:
                with suppress(CheckpointDeletedError, CheckpointNotFoundError):
                    await self._client.delete(self._namespace, workflow, each.checkpoint_id)

    async def _save_once(
        self, workflow: str, form: Format, data: Any, idempotency_key: str | None, **labels: str
    ) -> None:
        checkpoint_id = "" if idempotency_key is None else holdfast_id(f"key-{idempotency_key}", CHECKPOINT_BYTES)
        try:
            await self._save(workflow, form, data, checkpoint_id, labels)
        except CheckpointIdReusedError:
            # The retry of a save that has happened, with another timestamp.
            return

    async def _save(self, workflow: str, form: Format, data: Any, checkpoint_id: str, labels: dict[str, Any]) -> None:
        await self._client.save(
            self._namespace, workflow, data, format=form, checkpoint_id=checkpoint_id, labels=_labels(labels)
        )

    async def _load(self, workflow: str, form: Format, checkpoint_id: str | None) -> LoadedCheckpoint:
        return await self._client.load(
            self._namespace,
            workflow,
            checkpoint_id,
            accepted_formats=[AcceptedFormat(form.name, 1, form.version)],
            fallback=self._fallback and checkpoint_id is None,
        )

    async def _newest(self, workflow: str, form: Format, **labels: str | None) -> LoadedCheckpoint | None:
        """The newest checkpoint with labels."""
        damage: CheckpointCorruptedError | None = None
        try:
            if not _labels(labels):
                return await self._load(workflow, form, None)
            async for info in self._list(workflow, labels, page_size=1):
                try:
                    return await self._load(workflow, form, info.checkpoint_id)
                except CheckpointCorruptedError as error:
                    if not self._fallback:
                        raise
                    damage = damage or error
        except (WorkflowNotFoundError, CheckpointNotFoundError):
            return None
        if damage is not None:
            raise damage
        return None

    async def _all(self, workflow: str, form: Format, **labels: str | None) -> list[LoadedCheckpoint]:
        """The checkpoints with labels, oldest first."""
        if not self._fallback:
            history = self._client.history(
                self._namespace,
                workflow,
                labels=_labels(labels),
                accepted_formats=[AcceptedFormat(form.name, 1, form.version)],
                page_size=1000,
            )
            try:
                return [each async for each in history][::-1]
            except WorkflowNotFoundError:
                return []
        return await self._payloads(workflow, form, await self._infos(workflow, **labels))

    async def _infos(self, workflow: str, **labels: str | None) -> list[Checkpoint]:
        try:
            return [each async for each in self._list(workflow, labels, page_size=1000)][::-1]
        except WorkflowNotFoundError:
            return []

    def _list(self, workflow: str, labels: dict[str, str | None], page_size: int) -> AsyncIterator[Checkpoint]:
        return self._client.list(
            self._namespace, workflow, labels=_labels(labels), strict=not self._fallback, page_size=page_size
        )

    async def _payloads(self, workflow: str, form: Format, infos: list[Checkpoint]) -> list[LoadedCheckpoint]:
        loaded = []
        for info in infos:
            try:
                loaded.append(await self._load(workflow, form, info.checkpoint_id))
            except CheckpointCorruptedError as error:
                if not self._fallback:
                    raise
                _logger.warning("left out: %s", error)
        return loaded


def _run_key(run_id: str) -> str:
    return holdfast_id(f"run-{run_id}", CHECKPOINT_BYTES)


def _events(run_id: str) -> str:
    return joined("run", run_id, "events")


def _snapshots(run_id: str) -> str:
    return joined("run", run_id, "snapshots")


def _effects(run_id: str) -> str:
    return joined("run", run_id, "effects")


def _labels(given: dict[str, str | None]) -> dict[str, str]:
    return {key: value and holdfast_id(value, LABEL_BYTES) for key, value in given.items() if value is not None}


def _snapshot(loaded: LoadedCheckpoint) -> ContinuableSnapshot:
    messages = ModelMessagesTypeAdapter.validate_json(loaded.parts["messages"])
    return _SNAPSHOT.validate_python({**json.loads(loaded.parts["snapshot"]), "messages": messages})
