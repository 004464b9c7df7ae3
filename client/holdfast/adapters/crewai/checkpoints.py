"""CrewAI's own checkpoints (`CheckpointConfig`) in Holdfast: how far flows and crews have come, and nothing else.

CrewAI writes everything of a running flow or crew into a checkpoint, its models with their keys, its tools and its
stores; and restores it by importing and connecting to what the data names. Here only the progress is kept: which
methods and tasks are done, with their outputs, and the state. On resume it is put into the flow or crew that the
program has made, whose models and tools are thus those of its code.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary

from crewai import Crew
from crewai.flow.flow import Flow
from crewai.state.provider.json_provider import JsonProvider
from pydantic import PrivateAttr

from holdfast._core.checkpoint import AcceptedFormat, LoadedCheckpoint
from holdfast._core.errors import CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError
from holdfast._sync.client import Client
from holdfast.adapters.crewai.progress import FORMAT, of_checkpoint, put_into
from holdfast.adapters.ids import WORKFLOW_BYTES, holdfast_id, joined
from holdfast.adapters.runs import Ownership, Run, Runs, checked_ownership

_ACCEPTED = (AcceptedFormat(FORMAT.name, 1, FORMAT.version),)
_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)
_PREFIX = "holdfast:"


class HoldfastCheckpointProvider(JsonProvider):
    """Keeps CrewAI's checkpoints, for `CheckpointConfig(provider=..., location="a name")`, and resumes from them.

    It is a JsonProvider, and writes no files: `CheckpointConfig` takes CrewAI's own providers only. A location and a
    branch are a workflow of Holdfast, each checkpoint is one of it.

    Args:
        client: an open client, which stays the caller's.
        namespace: where the checkpoints are kept.
        fallback: resume from the newest checkpoint that is whole if the newest one is damaged. Off, that is an error.
        ownership: "shared": whoever checkpoints last is resumed. "exclusive": a checkpoint is refused if somebody else
            has written one since this run was resumed.

    Raises:
        ValueError: `ownership` is neither.

    """

    _client: Client = PrivateAttr()
    _namespace: str = PrivateAttr()
    _fallback: bool = PrivateAttr()
    _ownership: Ownership = PrivateAttr()
    _runs: Runs = PrivateAttr(default_factory=Runs)
    # How many events the newest checkpoint of a run tells of, and its location.
    _saved: "WeakKeyDictionary[Run, tuple[int, str]]" = PrivateAttr(default_factory=WeakKeyDictionary)

    def __init__(
        self, client: Client, *, namespace: str = "default", fallback: bool = False, ownership: Ownership = "shared"
    ) -> None:
        super().__init__()
        self._client, self._namespace, self._fallback = client, namespace, fallback
        self._ownership = checked_ownership(ownership)

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
        **client_options: Any,
    ) -> Iterator[Self]:
        """A provider with a client of its own, which is closed with the block.

        Args:
            target: host:port, or any target that gRPC takes.
            namespace: as for the constructor.
            fallback: as for the constructor.
            ownership: as for the constructor.
            client_options: what `holdfast.Client` takes.

        """
        with Client(target, **client_options) as client:
            yield cls(client, namespace=namespace, fallback=fallback, ownership=ownership)

    def resume(self, entity: "Flow[Any] | Crew", location: str, *, branch: str = "main") -> bool:
        """Put the newest checkpoint's progress into a flow or a crew, whose `kickoff` then goes on from there.

        Args:
            entity: the flow or crew, made as for a first run and not kicked off yet.
            location: the location of its `CheckpointConfig`.
            branch: the branch.

        Returns:
            Whether there was a checkpoint. If not, the entity is as it was, and begins at its beginning.

        Raises:
            TypeError: it is neither a flow nor a crew.
            CheckpointCorruptedError: the newest checkpoint is damaged, and `fallback` is off or finds nothing.
            FormatIncompatibleError: it is none that a provider wrote, or it is one of other tasks or methods.
            HoldfastError: a subclass for each other reason.

        """
        if not isinstance(entity, Flow | Crew):
            raise TypeError(f"a flow or a crew can be resumed, not {type(entity).__name__}")
        workflow_id = _workflow_id(location, branch)
        try:
            loaded = self._client.load(
                self._namespace, workflow_id, accepted_formats=_ACCEPTED, fallback=self._fallback
            )
        except _ABSENT:
            self._runs.begin(workflow_id, 0)
            return False
        put_into(entity, loaded)
        self._runs.begin(workflow_id, loaded.head_revision or None)
        return True

    def checkpoint(self, data: str, location: str, *, parent_id: str | None = None, branch: str = "main") -> str:
        """Save the progress in a checkpoint of CrewAI's.

        CrewAI writes them from several threads: one that tells of fewer events than the one saved before it, in the
        same run, is older, and left out.

        Returns:
            The location of the newest one, for `from_checkpoint` and `extract_id`.

        Raises:
            RevisionConflictError: somebody else has written one since this run was resumed (exclusive ownership).
            HoldfastError: a subclass for each other reason.

        """
        workflow_id = _workflow_id(location, branch)
        payload, age = of_checkpoint(data)
        wanted: dict[str, Any] = {"format": FORMAT, "parent_id": parent_id or "", "labels": {"branch": branch}}
        # A run that was never resumed begins from nothing.
        run = self._runs.of(workflow_id) or self._runs.begin(workflow_id, 0)
        with run.lock:
            if age < self._saved.get(run, (0, ""))[0]:
                return self._saved[run][1]
            if self._ownership == "exclusive":
                wanted["expected_revision"] = run.head
            saved = self._client.save(self._namespace, workflow_id, payload, **wanted)
            run.head = saved.revision
            self._saved[run] = age, f"{_PREFIX}{workflow_id}#{saved.checkpoint_id}"
            return self._saved[run][1]

    async def acheckpoint(self, data: str, location: str, *, parent_id: str | None = None, branch: str = "main") -> str:
        """Save as `checkpoint` does, in a thread."""
        return await asyncio.to_thread(self.checkpoint, data, location, parent_id=parent_id, branch=branch)

    def prune(self, location: str, max_keep: int, *, branch: str = "main") -> int:
        """Delete all checkpoints of a branch but for the newest ones. Returns how many.

        Raises:
            ValueError: it would delete all of them.
            HoldfastError: a subclass for each reason.

        """
        if not isinstance(max_keep, int) or isinstance(max_keep, bool) or max_keep < 1:
            raise ValueError(f"max_keep must be an integer of at least 1, not {max_keep!r:.100}")
        return self._client.prune(self._namespace, _workflow_id(location, branch), keep_last=max_keep)

    def extract_id(self, location: str) -> str:
        """The checkpoint's id in a location that `checkpoint` returned."""
        return _parsed(location)[1]

    def from_checkpoint(self, location: str) -> str:
        """The progress that was saved at a location that `checkpoint` returned, as JSON in CrewAI's form.

        Raises:
            ValueError: it is no such location.
            WorkflowCheckpointResumeError: a subclass for each reason.

        """
        loaded: LoadedCheckpoint = self._client.load(self._namespace, *_parsed(location), accepted_formats=_ACCEPTED)
        return json.dumps(json.loads(loaded.data))

    async def afrom_checkpoint(self, location: str) -> str:
        """Load as `from_checkpoint` does, in a thread."""
        return await asyncio.to_thread(self.from_checkpoint, location)


def _workflow_id(location: str, branch: str) -> str:
    name = joined(location, branch)
    return name if len(name.encode()) <= WORKFLOW_BYTES else holdfast_id(name, WORKFLOW_BYTES)


def _parsed(location: str) -> tuple[str, str]:
    """The workflow and the checkpoint of a location."""
    workflow_id, separator, checkpoint_id = location.removeprefix(_PREFIX).rpartition("#")
    if not (location.startswith(_PREFIX) and separator and workflow_id and checkpoint_id):
        raise ValueError(f"not a location of a checkpoint in Holdfast: {location!r:.200}")
    return workflow_id, checkpoint_id
