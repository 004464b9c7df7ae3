"""Keep CrewAI's own checkpoints (`CheckpointConfig`) in Holdfast: the progress of flows and crews, and nothing else.

CrewAI writes all of a running flow or crew to a checkpoint, including its models with their keys, its tools and its
stores. It restores them by importing modules and opening connections that the data names. This provider stores only
the progress: the methods and tasks that are done, their outputs, and the state. On resume the progress is put into a
flow or crew that the program has made, so models and tools are those of the program's code.
"""

import asyncio
import json
from typing import Any, Self
from weakref import WeakKeyDictionary

from crewai import Crew
from crewai.flow.flow import Flow
from crewai.state.provider.json_provider import JsonProvider
from pydantic import PrivateAttr

from holdfast._core.checkpoint import AcceptedFormat, LoadedCheckpoint
from holdfast._core.errors import CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError
from holdfast._sync.client import Client
from holdfast.adapters.crewai.progress import FORMAT, extract, restore
from holdfast.adapters.from_target import FromTarget
from holdfast.adapters.ids import WORKFLOW_BYTES, holdfast_id, joined
from holdfast.adapters.runs import Ownership, Run, Runs, checked_ownership

ACCEPTED = (AcceptedFormat(FORMAT.name, 1, FORMAT.version),)
_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)
_PREFIX = "holdfast:"


class HoldfastCheckpointProvider(FromTarget, JsonProvider):
    """A provider for `CheckpointConfig(provider=..., location="a name")`, from which flows and crews are resumed.

    It is a JsonProvider only because `CheckpointConfig` accepts no other providers than CrewAI's own; it writes no
    files. A location and a branch together are a workflow of Holdfast.

    Args:
        client: an open client, which the caller closes.
        namespace: the namespace of the checkpoints.
        fallback: resume from the newest checkpoint that is whole if the newest one is damaged; otherwise raise
            CheckpointCorruptedError.
        ownership: "shared": the last checkpoint is resumed, whichever process saved it. "exclusive": a checkpoint is
            refused if another process has saved one since this run was resumed.

    Raises:
        ValueError: `ownership` is neither "shared" nor "exclusive".

    """

    _client: Client = PrivateAttr()
    _namespace: str = PrivateAttr()
    _fallback: bool = PrivateAttr()
    _ownership: Ownership = PrivateAttr()
    _runs: Runs = PrivateAttr(default_factory=Runs)
    # By run: the number of events in its newest checkpoint, and its location.
    _saved: "WeakKeyDictionary[Run, tuple[int, str]]" = PrivateAttr(default_factory=WeakKeyDictionary)

    def __init__(
        self, client: Client, *, namespace: str = "default", fallback: bool = False, ownership: Ownership = "shared"
    ) -> None:
        super().__init__()
        self._client, self._namespace, self._fallback = client, namespace, fallback
        self._ownership = checked_ownership(ownership)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # CrewAI copies settings; the copy shares the client, which cannot be copied.
        return self.__copy__()

    def resume(self, entity: "Flow[Any] | Crew", location: str, *, branch: str = "main") -> bool:
        """Put the progress of the newest checkpoint into a flow or a crew, so that its `kickoff` continues from there.

        Args:
            entity: the flow or crew, made as for a first run and not kicked off yet.
            location: the location of its `CheckpointConfig`.
            branch: the branch.

        Returns:
            Whether a checkpoint exists. If not, the entity is unchanged and its kickoff starts at the beginning.

        Raises:
            TypeError: the entity is neither a flow nor a crew.
            CheckpointCorruptedError: the newest checkpoint is damaged, and `fallback` is off or finds nothing.
            FormatIncompatibleError: no provider saved the checkpoint, or it is of other methods or tasks.
            HoldfastError: a subclass for each other reason.

        """
        if not isinstance(entity, Flow | Crew):
            raise TypeError(f"entity must be a flow or a crew, not {type(entity).__name__}")
        workflow_id = workflow_of(location, branch)
        try:
            loaded = self._client.load(self._namespace, workflow_id, accepted_formats=ACCEPTED, fallback=self._fallback)
        except _ABSENT:
            self._runs.begin(workflow_id, 0)
            return False
        restore(entity, loaded)
        self._runs.begin(workflow_id, loaded.head_revision or None)
        return True

    def checkpoint(self, data: str, location: str, *, parent_id: str | None = None, branch: str = "main") -> str:
        """Save the progress in one of CrewAI's checkpoints.

        CrewAI writes checkpoints from several threads. One with fewer events than the one that the same run saved
        before is older, and is not saved.

        Args:
            data: the checkpoint as JSON.
            location: the location of the `CheckpointConfig`.
            parent_id: the id of the checkpoint before; None if there is none.
            branch: the branch.

        Returns:
            The location of the newest checkpoint, for `from_checkpoint` and `extract_id`.

        Raises:
            UnsavableValueError: the data is not a checkpoint of CrewAI, or would not be loaded as equal data.
            RevisionConflictError: the ownership is exclusive, and another process has saved a checkpoint since this run
                was resumed.
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = workflow_of(location, branch)
        payload, events = extract(data)
        options: dict[str, Any] = {"format": FORMAT, "parent_id": parent_id or "", "labels": {"branch": branch}}
        # A run that was never resumed requires an empty workflow.
        run = self._runs.of(workflow_id) or self._runs.begin(workflow_id, 0)
        with run.lock:
            if events < self._saved.get(run, (0, ""))[0]:
                return self._saved[run][1]
            if self._ownership == "exclusive":
                options["expected_revision"] = run.head
            saved = self._client.save(self._namespace, workflow_id, payload, **options)
            run.head = saved.revision
            self._saved[run] = events, f"{_PREFIX}{workflow_id}#{saved.checkpoint_id}"
            return self._saved[run][1]

    async def acheckpoint(self, data: str, location: str, *, parent_id: str | None = None, branch: str = "main") -> str:
        """Call `checkpoint` in a thread."""
        return await asyncio.to_thread(self.checkpoint, data, location, parent_id=parent_id, branch=branch)

    def prune(self, location: str, max_keep: int, *, branch: str = "main") -> int:
        """Delete all checkpoints of a branch except the newest ones.

        Args:
            location: the location of the `CheckpointConfig`.
            max_keep: how many to keep.
            branch: the branch.

        Returns:
            The number of deleted checkpoints.

        Raises:
            ValueError: `max_keep` is not an integer of at least 1.
            HoldfastError: a subclass for each reason.

        """
        if not isinstance(max_keep, int) or isinstance(max_keep, bool) or max_keep < 1:
            raise ValueError(f"max_keep must be an integer of at least 1, not {max_keep!r:.100}")
        return self._client.prune(self._namespace, workflow_of(location, branch), keep_last=max_keep)

    def extract_id(self, location: str) -> str:
        """Return the checkpoint id in a location that `checkpoint` returned.

        Raises:
            ValueError: `checkpoint` did not return this location.

        """
        return _parsed(location)[1]

    def from_checkpoint(self, location: str) -> str:
        """Return the progress that was saved at a location, as JSON in CrewAI's form.

        Raises:
            ValueError: `checkpoint` did not return this location.
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        loaded: LoadedCheckpoint = self._client.load(self._namespace, *_parsed(location), accepted_formats=ACCEPTED)
        return json.dumps(json.loads(loaded.data))

    async def afrom_checkpoint(self, location: str) -> str:
        """Call `from_checkpoint` in a thread."""
        return await asyncio.to_thread(self.from_checkpoint, location)


def workflow_of(location: str, branch: str) -> str:
    """Return the id of the workflow that keeps a branch of a location."""
    name = joined(location, branch)
    return name if len(name.encode()) <= WORKFLOW_BYTES else holdfast_id(name, WORKFLOW_BYTES)


def _parsed(location: str) -> tuple[str, str]:
    """Return the workflow id and the checkpoint id in a location."""
    workflow_id, separator, checkpoint_id = location.removeprefix(_PREFIX).rpartition("#")
    if not (location.startswith(_PREFIX) and separator and workflow_id and checkpoint_id):
        raise ValueError(f"invalid location {location!r:.200}: expected {_PREFIX}WORKFLOW#CHECKPOINT")
    return workflow_id, checkpoint_id
