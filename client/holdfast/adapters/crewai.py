"""CrewAI flows that keep their state in Holdfast.

Each flow is a workflow of its own: every state that the engine saves is a checkpoint of it, and the newest one is the
flow's state. A question that waits for a human is saved together with its state, whole or not at all. A state may hold
what JSON can, and what pydantic makes JSON of: a value without such a form is refused, never turned into its `repr`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from uuid import UUID

from crewai.flow.async_feedback.types import PendingFeedbackContext
from crewai.flow.persistence import FlowPersistence
from pydantic import BaseModel, PrivateAttr, TypeAdapter

from holdfast.adapters.ids import WORKFLOW_BYTES, holdfast_id
from holdfast.checkpoint import AcceptedFormat, Checkpoint, Format
from holdfast.errors import (
    CheckpointDeletedError,
    CheckpointNotFoundError,
    RevisionConflictError,
    WorkflowNotFoundError,
)
from holdfast.sync.client import Client

FORMAT = Format("crewai-flow-state", 1)

_ACCEPTED = (AcceptedFormat(FORMAT.name, 1, FORMAT.version),)
_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)
_STATE_PART = ""
_FEEDBACK_PART = "feedback"
_ANY: Any = TypeAdapter(Any)


class HoldfastFlowPersistence(FlowPersistence):
    """Persistence of flows, for `@persist(...)`, `Flow(persistence=...)` and `set_flow_persistence_factory`.

    Args:
        client: an open client, which stays the caller's. None: one is opened for `target`, as CrewAI needs it where
            it restores a flow from JSON; it is closed with the process.
        namespace: where the flows are kept.
        target: what the client is connected to. Only needed where flows themselves become JSON and are read back.
        fallback: answer a damaged newest state with the newest older one that is whole. Off, damage is an error.

    Raises:
        ValueError: there is neither a client nor a target.

    """

    persistence_type: str = "HoldfastFlowPersistence"
    namespace: str = "default"
    target: str = ""
    fallback: bool = False
    _client: Client = PrivateAttr()

    def __init__(self, client: Client | None = None, /, **settings: Any) -> None:
        super().__init__(**settings)
        if client is None and not self.target:
            raise ValueError("HoldfastFlowPersistence needs a client, or a target to open one for")
        self._client = client or Client(self.target)
        self.init_db()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # A connection cannot be copied, and need not be.
        return self.__copy__()

    @classmethod
    @contextmanager
    def from_target(
        cls, target: str, *, namespace: str = "default", fallback: bool = False, **client_options: Any
    ) -> Iterator[Self]:
        """A persistence with a client of its own, which is closed with the block.

        Args:
            target: host:port, or any target that gRPC takes.
            namespace: where the flows are kept.
            fallback: answer a damaged newest state with the newest older one that is whole.
            client_options: what `holdfast.Client` takes.

        """
        with Client(target, **client_options) as client:
            yield cls(client, namespace=namespace, target=target, fallback=fallback)

    def init_db(self) -> None:
        """Nothing has to be set up."""

    def save_state(self, flow_uuid: str, method_name: str, state_data: dict[str, Any] | BaseModel) -> None:
        """Save a flow's state.

        Args:
            flow_uuid: the flow's id: text, an int or a UUID.
            method_name: the method that has just ended.
            state_data: its state.

        Raises:
            ValueError: the state holds what has no JSON form.
            TypeError: the id is of another type.
            HoldfastError: a subclass for each reason.

        """
        self._client.save(
            self.namespace,
            _workflow_id(flow_uuid),
            _state_json(state_data),
            format=FORMAT,
            labels={"kind": "state", "method": method_name},
        )

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """The newest state of a flow; None where nothing was saved.

        Raises:
            CheckpointCorruptedError: it is damaged, and `fallback` is off or finds nothing.
            FormatIncompatibleError: a newer version of this adapter wrote it.
            HoldfastError: a subclass for each other reason.

        """
        try:
            loaded = self._client.load(
                self.namespace, _workflow_id(flow_uuid), accepted_formats=_ACCEPTED, fallback=self.fallback
            )
        except _ABSENT:
            return None
        state: dict[str, Any] = json.loads(loaded.parts[_STATE_PART])
        return state

    def save_pending_feedback(
        self, flow_uuid: str, context: PendingFeedbackContext, state_data: dict[str, Any] | BaseModel
    ) -> None:
        """Save a flow's state and the question that it waits for, both or neither. A question before it is replaced.

        Raises:
            ValueError: the state or the question holds what has no JSON form.
            TypeError: the id is neither text nor an int nor a UUID.
            HoldfastError: a subclass for each reason.

        """
        self._client.save(
            self.namespace,
            _workflow_id(flow_uuid),
            {_STATE_PART: _state_json(state_data), _FEEDBACK_PART: _json("the feedback context", context.to_dict())},
            format=FORMAT,
            labels={"kind": "feedback", "feedback": "pending", "method": context.method_name},
        )

    def load_pending_feedback(self, flow_uuid: str) -> tuple[dict[str, Any], PendingFeedbackContext] | None:
        """The question that a flow waits for, and its state when it was asked; None where there is none.

        An older question is never the answer to a damaged one, whatever `fallback` says: it was answered already.

        Raises:
            CheckpointCorruptedError: it is damaged.
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = _workflow_id(flow_uuid)
        pending = self._pending(workflow_id)
        if pending is None:
            return None
        parts = self._client.load(self.namespace, workflow_id, pending.checkpoint_id, accepted_formats=_ACCEPTED).parts
        context = PendingFeedbackContext.from_dict(json.loads(parts[_FEEDBACK_PART]))
        return json.loads(parts[_STATE_PART]), context

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """Note that the question was answered. The flow's state stays as it is.

        Raises:
            CheckpointCorruptedError: the newest state is damaged, and `fallback` is off or finds nothing.
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = _workflow_id(flow_uuid)
        while (pending := self._pending(workflow_id)) is not None:
            newest = self._client.load(self.namespace, workflow_id, accepted_formats=_ACCEPTED, fallback=self.fallback)
            try:
                self._client.save(
                    self.namespace,
                    workflow_id,
                    newest.parts[_STATE_PART],
                    format=FORMAT,
                    labels={"kind": "feedback", "feedback": "answered"},
                    parent_id=pending.checkpoint_id,
                    expected_revision=newest.head_revision or None,
                )
                return
            except RevisionConflictError:
                # A state was saved meanwhile, which must stay the newest.
                continue

    def _pending(self, workflow_id: str) -> Checkpoint | None:
        """The checkpoint of the question that waits."""
        try:
            found = self._client.list(
                self.namespace, workflow_id, labels={"kind": "feedback"}, strict=True, page_size=1
            )
            last = next(found, None)
        except WorkflowNotFoundError:
            return None
        return last if last is not None and last.labels["feedback"] == "pending" else None


def _workflow_id(flow_uuid: object) -> str:
    if not isinstance(flow_uuid, str | int | UUID):
        raise TypeError(f"a flow's id must be text, an int or a UUID, not {type(flow_uuid).__name__}")
    return holdfast_id(str(flow_uuid), WORKFLOW_BYTES)


def _state_json(state: object) -> bytes:
    if isinstance(state, BaseModel):
        state = _dumped(state)
    if not isinstance(state, dict):
        raise ValueError(f"a flow's state must be a dict or a pydantic model, not {type(state).__name__}")
    return _json("the flow's state", state)


def _json(what: str, value: Any) -> bytes:
    try:
        return json.dumps(value, default=_dumped).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{what} cannot be saved: {error}") from error


def _dumped(value: Any) -> Any:
    """What pydantic makes of a value where JSON is asked for."""
    return _ANY.dump_python(value, mode="json")
