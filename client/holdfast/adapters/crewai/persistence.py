"""CrewAI flows that keep their state in Holdfast.

Each flow is a workflow of its own: every state that the engine saves is a checkpoint of it, and the newest one is the
flow's state. A question that waits for a human is saved together with its state, whole or not at all, as the one
checkpoint of its id: the next question, or the note that it was answered, takes its place.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from uuid import UUID

from crewai.flow.async_feedback.types import PendingFeedbackContext
from crewai.flow.persistence import FlowPersistence
from pydantic import BaseModel, PrivateAttr

from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import (
    CheckpointDeletedError,
    CheckpointNotFoundError,
    RevisionConflictError,
    WorkflowNotFoundError,
)
from holdfast._sync.client import Client
from holdfast.adapters.crewai.questions import FEEDBACK_PART, question, question_json
from holdfast.adapters.crewai.states import ACCEPTED, FORMAT, STATE_PART, read, state_json
from holdfast.adapters.ids import WORKFLOW_BYTES, holdfast_id
from holdfast.adapters.runs import Ownership, Runs

_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)
_QUESTION_ID = "question"


class HoldfastFlowPersistence(FlowPersistence):
    """Persistence of flows, for `@persist(...)`, `Flow(persistence=...)` and `set_flow_persistence_factory`.

    Args:
        client: an open client, which stays the caller's. None: one is opened for `target`, as CrewAI needs it where
            it restores a flow from JSON; it is closed with the process.
        namespace: where the flows are kept.
        target: what the client is connected to. Only needed where flows themselves become JSON and are read back.
        fallback: answer a damaged newest state with the newest older one that is whole. Off, damage is an error.
        ownership: "shared": the last save wins, as in CrewAI's own store. "exclusive": a run saves only while nobody
            else has saved the flow since the run loaded it.
        feedback_llm: the model that reads the replies to questions of flows whose class is not loaded where they are
            resumed, such as declared ones: a name, a dict or an LLM, as `@human_feedback` takes it.

    Raises:
        ValueError: there is neither a client nor a target, or `ownership` is neither.

    """

    persistence_type: str = "HoldfastFlowPersistence"
    namespace: str = "default"
    target: str = ""
    fallback: bool = False
    ownership: Ownership = "shared"
    _client: Client = PrivateAttr()
    _runs: Runs = PrivateAttr(default_factory=Runs)
    _feedback_llm: Any = PrivateAttr(default=None)

    def __init__(self, client: Client | None = None, /, *, feedback_llm: Any = None, **settings: Any) -> None:
        super().__init__(**settings)
        if client is None and not self.target:
            raise ValueError("HoldfastFlowPersistence needs a client, or a target to open one for")
        self._client = client or Client(self.target)
        self._feedback_llm = feedback_llm
        self.init_db()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # A connection cannot be copied, and need not be.
        return self.__copy__()

    @classmethod
    @contextmanager
    def from_target(
        cls,
        target: str,
        *,
        namespace: str = "default",
        fallback: bool = False,
        ownership: Ownership = "shared",
        feedback_llm: Any = None,
        **client_options: Any,
    ) -> Iterator[Self]:
        """A persistence with a client of its own, which is closed with the block.

        Args:
            target: host:port, or any target that gRPC takes.
            namespace: where the flows are kept.
            fallback: answer a damaged newest state with the newest older one that is whole.
            ownership: as for the constructor.
            feedback_llm: as for the constructor.
            client_options: what `holdfast.Client` takes.

        """
        with Client(target, **client_options) as client:
            yield cls(
                client,
                namespace=namespace,
                target=target,
                fallback=fallback,
                ownership=ownership,
                feedback_llm=feedback_llm,
            )

    def init_db(self) -> None:
        """Nothing has to be set up."""

    def save_state(self, flow_uuid: str, method_name: str, state_data: dict[str, Any] | BaseModel) -> None:
        """Save a flow's state.

        Args:
            flow_uuid: the flow's id: text, an int or a UUID.
            method_name: the method that has just ended.
            state_data: its state.

        Raises:
            UnsavableValueError: the state holds what has no JSON form, or would not come back. It is a ValueError.
            TypeError: the id is of another type.
            RevisionConflictError: another process has saved the flow since this run loaded it (exclusive ownership).
            HoldfastError: a subclass for each reason.

        """
        self._save(_workflow_id(flow_uuid), state_json(state_data), labels={"kind": "state", "method": method_name})

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """The newest state of a flow; None where nothing was saved. A run that saves the flow begins with it.

        Raises:
            CheckpointCorruptedError: it is damaged, and `fallback` is off or finds nothing.
            FormatIncompatibleError: a newer version of this adapter wrote it, or another program.
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = _workflow_id(flow_uuid)
        try:
            loaded = self._client.load(self.namespace, workflow_id, accepted_formats=ACCEPTED, fallback=self.fallback)
        except _ABSENT:
            self._runs.begin(workflow_id, 0)
            return None
        self._runs.begin(workflow_id, loaded.head_revision or None)
        return read(loaded, STATE_PART)

    def save_pending_feedback(
        self, flow_uuid: str, context: PendingFeedbackContext, state_data: dict[str, Any] | BaseModel
    ) -> None:
        """Save a flow's state and the question that it waits for, both or neither. A question before it is replaced.

        How to reach the question's model is not saved: `load_pending_feedback` takes it from the flow's code.

        Raises:
            UnsavableValueError: the state or the question holds what has no JSON form. It is a ValueError.
            TypeError: the id is neither text nor an int nor a UUID.
            RevisionConflictError: as for `save_state`.
            HoldfastError: a subclass for each reason.

        """
        self._save(
            _workflow_id(flow_uuid),
            {STATE_PART: state_json(state_data), FEEDBACK_PART: question_json(context)},
            labels={"kind": "feedback", "feedback": "pending", "method": context.method_name},
            checkpoint_id=_QUESTION_ID,
            replace=True,
            # However many states are saved behind it, it waits for its answer.
            pinned=True,
        )

    def load_pending_feedback(self, flow_uuid: str) -> tuple[dict[str, Any], PendingFeedbackContext] | None:
        """The question that a flow waits for, and its state when it was asked; None where there is none.

        An older question is never the answer to a damaged one, whatever `fallback` says: it was answered already.

        Raises:
            CheckpointCorruptedError: it is damaged.
            FormatIncompatibleError: how to reach its model is said by code that is not loaded; or another program, or
                a newer version of this adapter, wrote it.
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = _workflow_id(flow_uuid)
        pending = self._pending(workflow_id)
        if pending is None:
            return None
        loaded = self._client.load(self.namespace, workflow_id, pending.checkpoint_id, accepted_formats=ACCEPTED)
        if loaded.info.labels.get("feedback") != "pending":
            # It was answered since.
            return None
        found = read(loaded, STATE_PART), question(loaded, self._feedback_llm)
        self._runs.begin(workflow_id, loaded.head_revision or None)
        return found

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """Note that the question was answered. The flow's state stays as it is.

        Raises:
            CheckpointCorruptedError: the newest state is damaged, and `fallback` is off or finds nothing.
            RevisionConflictError: as for `save_state`.
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = _workflow_id(flow_uuid)
        while self._pending(workflow_id) is not None:
            newest = self._client.load(self.namespace, workflow_id, accepted_formats=ACCEPTED, fallback=self.fallback)
            try:
                self._save(
                    workflow_id,
                    newest.parts[STATE_PART],
                    labels={"kind": "feedback", "feedback": "answered"},
                    expected_revision=newest.head_revision or None,
                    checkpoint_id=_QUESTION_ID,
                    replace=True,
                )
                return
            except RevisionConflictError:
                if self.ownership == "exclusive":
                    raise
                # A state was saved meanwhile, which must stay the newest.
                continue

    def _save(
        self,
        workflow_id: str,
        data: bytes | Mapping[str, bytes],
        *,
        expected_revision: int | None = None,
        **wanted: Any,
    ) -> None:
        if self.ownership == "shared":
            self._client.save(
                self.namespace, workflow_id, data, format=FORMAT, expected_revision=expected_revision, **wanted
            )
            return
        # A flow that was never loaded begins from nothing.
        run = self._runs.of(workflow_id) or self._runs.begin(workflow_id, 0)
        # Methods of one flow may end at the same time.
        with run.lock:
            saved = self._client.save(
                self.namespace, workflow_id, data, format=FORMAT, expected_revision=run.head, **wanted
            )
            run.head = saved.revision

    def _pending(self, workflow_id: str) -> Checkpoint | None:
        """The checkpoint of the question that waits."""
        try:
            found = self._client.list(
                self.namespace, workflow_id, labels={"kind": "feedback"}, strict=True, page_size=1
            )
            last = next(found, None)
        except WorkflowNotFoundError:
            return None
        return last if last is not None and last.labels.get("feedback") == "pending" else None


def _workflow_id(flow_uuid: object) -> str:
    if not isinstance(flow_uuid, str | int | UUID):
        raise TypeError(f"a flow's id must be text, an int or a UUID, not {type(flow_uuid).__name__}")
    return holdfast_id(str(flow_uuid), WORKFLOW_BYTES)
