"""Keep the states of CrewAI's flows in Holdfast.

Each flow is a workflow. Every state that CrewAI saves is a checkpoint, and the newest one is the flow's state. A
question that waits for a human is saved together with its state in one checkpoint with a fixed id. The next question,
or the record that it was answered, replaces that checkpoint.
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
from holdfast.adapters.contention import Contention
from holdfast.adapters.crewai.questions import FEEDBACK_PART, question, question_json
from holdfast.adapters.crewai.states import ACCEPTED, FORMAT, STATE_PART, read, state_json
from holdfast.adapters.from_target import FromTarget
from holdfast.adapters.ids import WORKFLOW_BYTES, holdfast_id
from holdfast.adapters.runs import Ownership, Runs

_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)
QUESTION_ID = "question"


class HoldfastFlowPersistence(FromTarget, FlowPersistence):
    """A persistence for `@persist(...)`, `Flow(persistence=...)` and `set_flow_persistence_factory`.

    Args:
        client: an open client, which the caller closes. None: open one for `target`, as CrewAI does when it restores a
            flow from JSON; that client is closed with the process.
        namespace: the namespace of the flows.
        target: the client's target. Only needed if flows themselves are converted to JSON and back.
        fallback: answer a damaged newest state with the newest older one that is whole; otherwise raise
            CheckpointCorruptedError.
        ownership: "shared": the last save wins, as in CrewAI's own store. "exclusive": a save is refused if another
            process has saved the flow since this run loaded it.
        feedback_llm: the model that reads the replies to questions of flows whose class is not loaded in the process
            that resumes them, such as declared flows: a name, a dict or an LLM, as for `@human_feedback`.

    Raises:
        ValueError: neither a client nor a target is given, or `ownership` is neither "shared" nor "exclusive".

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
        # CrewAI copies settings; the copy shares the client, which cannot be copied.
        return self.__copy__()

    @classmethod
    @contextmanager
    def from_target(cls, target: str, **options: Any) -> Iterator[Self]:
        """Open a persistence with a client of its own, which is closed at the end of the block.

        Args:
            target: host:port of the server, any other target that gRPC takes, or a folder as `file:///path`. It is
                part of the persistence's JSON.
            **options: as for `FromTarget.from_target`.

        """
        with super().from_target(target, **options) as persistence:
            persistence.target = target
            yield persistence

    def init_db(self) -> None:
        """Do nothing: nothing has to be initialised."""

    def save_state(self, flow_uuid: str, method_name: str, state_data: dict[str, Any] | BaseModel) -> None:
        """Save a flow's state.

        Args:
            flow_uuid: the flow's id: text, an integer or a UUID.
            method_name: the method that has just ended.
            state_data: the state.

        Raises:
            UnsavableValueError: a value of the state has no JSON form, or would not be loaded as an equal value. It is
                a ValueError.
            TypeError: the id has another type.
            RevisionConflictError: the ownership is exclusive, and another process has saved the flow since this run
                loaded it.
            HoldfastError: a subclass for each other reason.

        """
        self._save(workflow_of(flow_uuid), state_json(state_data), labels=saved_labels(method_name))

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """Return the newest state of a flow; None if nothing was saved. A run of the flow begins with this call.

        Raises:
            CheckpointCorruptedError: the state is damaged, and `fallback` is off or finds nothing.
            FormatIncompatibleError: a newer version of this adapter saved it, or another program.
            TypeError: the id is neither text nor an integer nor a UUID.
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = workflow_of(flow_uuid)
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
        """Save a flow's state together with the question that it waits for. An earlier question is replaced.

        The connection settings of the question's model are not saved: `load_pending_feedback` takes them from the
        flow's code.

        Args:
            flow_uuid: the flow's id: text, an integer or a UUID.
            context: the question.
            state_data: the state.

        Raises:
            UnsavableValueError: a value of the state or of the question has no JSON form. It is a ValueError.
            TypeError: the id has another type.
            RevisionConflictError: as for `save_state`.
            HoldfastError: a subclass for each other reason.

        """
        self._save(
            workflow_of(flow_uuid),
            {STATE_PART: state_json(state_data), FEEDBACK_PART: question_json(context)},
            labels=asked_labels(context.method_name),
            checkpoint_id=QUESTION_ID,
            replace=True,
            # It must stay until it is answered, however many states are saved after it.
            pinned=True,
        )

    def load_pending_feedback(self, flow_uuid: str) -> tuple[dict[str, Any], PendingFeedbackContext] | None:
        """Return the question that a flow waits for, and the state when it was asked; None if no question waits.

        `fallback` does not apply: an older question was answered already.

        Raises:
            CheckpointCorruptedError: the question is damaged.
            FormatIncompatibleError: its model had connection settings, and the code that contains them is not loaded;
                or another program, or a newer version of this adapter, saved it.
            TypeError: the id is neither text nor an integer nor a UUID.
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = workflow_of(flow_uuid)
        pending = self._pending(workflow_id)
        if pending is None:
            return None
        loaded = self._client.load(self.namespace, workflow_id, pending.checkpoint_id, accepted_formats=ACCEPTED)
        if loaded.info.labels.get("feedback") != "pending":
            # It was answered after the list.
            return None
        found = read(loaded, STATE_PART), question(loaded, self._feedback_llm)
        self._runs.begin(workflow_id, loaded.head_revision or None)
        return found

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """Record that the question was answered. The flow's state does not change.

        Raises:
            CheckpointCorruptedError: the newest state is damaged, and `fallback` is off or finds nothing.
            TypeError: the id is neither text nor an integer nor a UUID.
            RevisionConflictError: as for `save_state`.
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = workflow_of(flow_uuid)
        contention = Contention()
        while self._pending(workflow_id) is not None:
            newest = self._client.load(self.namespace, workflow_id, accepted_formats=ACCEPTED, fallback=self.fallback)
            try:
                self._save(
                    workflow_id,
                    newest.parts[STATE_PART],
                    labels={"kind": "feedback", "feedback": "answered"},
                    expected_revision=newest.head_revision or None,
                    checkpoint_id=QUESTION_ID,
                    replace=True,
                )
                return
            except RevisionConflictError as conflict:
                if self.ownership == "exclusive":
                    raise
                # A state was saved concurrently, and must stay the newest.
                contention.lost(conflict)

    def _save(
        self,
        workflow_id: str,
        data: bytes | Mapping[str, bytes],
        *,
        expected_revision: int | None = None,
        **options: Any,
    ) -> None:
        if self.ownership == "shared":
            self._client.save(
                self.namespace, workflow_id, data, format=FORMAT, expected_revision=expected_revision, **options
            )
            return
        # A run that never loaded the flow requires an empty workflow.
        run = self._runs.of(workflow_id) or self._runs.begin(workflow_id, 0)
        # Methods of one flow may end concurrently.
        with run.lock:
            saved = self._client.save(
                self.namespace, workflow_id, data, format=FORMAT, expected_revision=run.head, **options
            )
            run.head = saved.revision

    def _pending(self, workflow_id: str) -> Checkpoint | None:
        """Return the checkpoint of the question that waits; None if there is none."""
        try:
            found = self._client.list(
                self.namespace, workflow_id, labels={"kind": "feedback"}, strict=True, page_size=1
            )
            last = next(found, None)
        except WorkflowNotFoundError:
            return None
        return last if last is not None and last.labels.get("feedback") == "pending" else None


def saved_labels(method_name: str) -> dict[str, str]:
    """Return the labels of a state that was saved after a method."""
    return {"kind": "state", "method": method_name}


def asked_labels(method_name: str) -> dict[str, str]:
    """Return the labels of the question that a method asked and that waits."""
    return {"kind": "feedback", "feedback": "pending", "method": method_name}


def workflow_of(flow_uuid: object) -> str:
    """Return the workflow of a flow.

    Raises:
        TypeError: the id is neither text nor an integer nor a UUID.
        ValueError: the id is empty, or contains a lone surrogate.

    """
    if not isinstance(flow_uuid, str | int | UUID):
        raise TypeError(f"a flow's id must be text, an integer or a UUID, not {type(flow_uuid).__name__}")
    return holdfast_id(str(flow_uuid), WORKFLOW_BYTES)
