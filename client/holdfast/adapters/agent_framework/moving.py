"""Import checkpoints from folders of Agent Framework's `FileCheckpointStorage`.

The engine's own class reads the files. It unpickles values, with the engine's restrictions: only its own data classes,
safe types, and the classes that the caller allows.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from os import PathLike, fspath
from pathlib import Path

from agent_framework import FileCheckpointStorage, WorkflowCheckpoint
from agent_framework.exceptions import WorkflowCheckpointException

from holdfast._async.client import AsyncClient
from holdfast._core.errors import (
    CheckpointDeletedError,
    CheckpointIdReusedError,
    CheckpointNotFoundError,
    InvalidRequestError,
    PayloadTooLargeError,
    WorkflowNotFoundError,
)
from holdfast.adapters.agent_framework.contents import FORMAT, Contents, id_of, labels_of, moment_of
from holdfast.adapters.agent_framework.storage import HoldfastCheckpointStorage
from holdfast.adapters.ids import WORKFLOW_BYTES, holdfast_id
from holdfast.adapters.logs import DELETED, UNLOADABLE, chosen, deleted_ids
from holdfast.moving import Item, ItemError, Progress, Report, SourceError, move_each

_PAGE = 100
_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError)
_LAST = datetime.max.replace(tzinfo=UTC)


async def import_checkpoints(
    source: str | PathLike[str],
    client: AsyncClient,
    *,
    namespace: str,
    workflow_id: str = "checkpoints",
    checkpoints: Iterable[str] | None = None,
    prefix: str = "",
    allowed_checkpoint_types: Iterable[str] = (),
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import checkpoints from a folder of Agent Framework's `FileCheckpointStorage`, earliest timestamp first.

    Each checkpoint is imported or fails alone. A checkpoint that the target has already stays as it is, so a call that
    was interrupted can be repeated. If the latest checkpoint of a workflow's name failed, `get_latest` of the target
    returns an earlier one.

    Args:
        source: the folder. It is only read.
        client: an open client of the target.
        namespace: the namespace of the target.
        workflow_id: the target's storage, as for `HoldfastCheckpointStorage`.
        checkpoints: the ids of the checkpoints to import; None for all.
        prefix: the text that the ids begin with.
        allowed_checkpoint_types: the application's classes that a checkpoint may contain, as "module:qualname".
        dry_run: read and compare everything, and write nothing.
        progress: called with the record of a checkpoint as it grows.

    Returns:
        What was imported, and why other checkpoints were not.

    Raises:
        SourceError: the folder does not exist, or contains no checkpoints.
        ValueError: `workflow_id` is empty.
        HoldfastError: a subclass for each reason. What was imported until then stays.

    """
    shown = fspath(source)
    allowed = list(allowed_checkpoint_types)
    found = {file.checkpoint_id: file for file in await asyncio.to_thread(_files, Path(source), shown)}
    opened = FileCheckpointStorage(shown, allowed_checkpoint_types=allowed)
    target = _Target(client, namespace, workflow_id, allowed)
    await target.open(found)

    async def move(item: Item) -> None:
        file = found.get(item.name)
        if file is None:
            raise ItemError("NOT_FOUND", f"{shown} has no checkpoint {item.name!r:.200}")
        if file.problem:
            raise ItemError("UNREADABLE", f"{file.path}: {file.problem}")
        checkpoint = await _loaded(opened, file)
        item.add(read=1)
        is_present = await target.has(checkpoint, file)
        if not is_present and dry_run:
            await target.require_unused(checkpoint)
        if not is_present and not dry_run:
            await target.save(checkpoint, file)
        item.add(written=int(not is_present), present=int(is_present))
        if not dry_run:
            await target.verify(await _loaded(opened, file), file)
            item.add(verified=1)

    return await move_each(chosen(found, checkpoints, prefix, lambda file: file.checkpoint_id), move, progress)


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the folder.

    Attributes:
        path: its path.
        timestamp: the checkpoint's timestamp; the last moment of all if it cannot be read.
        problem: why it is not a checkpoint; "" if it is one.

    """

    path: str
    timestamp: datetime
    problem: str = ""

    @property
    def checkpoint_id(self) -> str:
        return Path(self.path).stem


def _files(folder: Path, shown: str) -> Sequence[_File]:
    """Return the files of a folder, the earliest timestamp first.

    Raises:
        SourceError: the folder does not exist, or contains no checkpoints.

    """
    try:
        is_folder = folder.is_dir()
        paths = sorted(folder.glob("*.json")) if is_folder else []
    except OSError as error:
        raise SourceError(f"{shown} cannot be read: {error.strerror or error}") from error
    if not is_folder:
        raise SourceError(f"{shown} is not a folder: expected the folder of a FileCheckpointStorage")
    if not paths:
        raise SourceError(f"{shown} contains no checkpoints: expected files named ID.json")
    return sorted((_file(path) for path in paths), key=lambda file: (file.timestamp, file.path))


def _file(path: Path) -> _File:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return _File(str(path), moment_of(fields["timestamp"]))
    except KeyError:
        return _File(str(path), _LAST, "it is not a checkpoint: it has no timestamp")
    except WorkflowCheckpointException as error:
        return _File(str(path), _LAST, str(error))
    except (OSError, TypeError, ValueError, RecursionError) as error:
        return _File(str(path), _LAST, f"it is not a checkpoint: {error}")


async def _loaded(opened: FileCheckpointStorage, file: _File) -> WorkflowCheckpoint:
    try:
        checkpoint: WorkflowCheckpoint = await opened.load(file.checkpoint_id)
    except Exception as error:
        raise ItemError("UNREADABLE", f"{file.path}: {error}") from error
    if checkpoint.checkpoint_id != file.checkpoint_id:
        raise ItemError("UNREADABLE", f"{file.path}: it contains checkpoint {checkpoint.checkpoint_id!r:.200}")
    return checkpoint


class _Target:
    """The storage that checkpoints are imported to.

    Args:
        client: an open client.
        namespace: the namespace.
        workflow_id: the storage.
        allowed: the application's classes that a checkpoint may contain.

    """

    def __init__(self, client: AsyncClient, namespace: str, workflow_id: str, allowed: Sequence[str]) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = holdfast_id(workflow_id, WORKFLOW_BYTES)
        self._contents = Contents(frozenset(allowed))
        self._stored: set[str] = set()
        # The digests of checkpoints that the storage has, as it loads them.
        self._loaded: dict[str, bytes] = {}
        # Read only if it is needed.
        self._deleted: frozenset[str] | None = None
        self._storage = HoldfastCheckpointStorage(
            client, namespace=namespace, workflow_id=workflow_id, allowed_checkpoint_types=allowed
        )

    async def open(self, given: Iterable[str]) -> None:
        """List the checkpoints that the storage has, and load those that are given, many per call.

        Others need no load, and a load by id reads a long part of the log for some.

        Args:
            given: the ids of the source's checkpoints.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        try:
            async for info in self._client.list(self._namespace, self._workflow_id, ids_only=True, page_size=1000):
                self._stored.add(info.checkpoint_id)
        except WorkflowNotFoundError:
            return
        wanted = set()
        for checkpoint_id in given:
            with suppress(WorkflowCheckpointException):
                wanted.add(id_of(checkpoint_id))
        if self._stored.isdisjoint(wanted):
            return
        # A checkpoint that cannot be loaded ends the history. Those that it leaves out are loaded by id.
        with suppress(*UNLOADABLE):
            async for loaded in self._client.history(self._namespace, self._workflow_id, page_size=_PAGE):
                if loaded.checkpoint_id in wanted:
                    with suppress(*UNLOADABLE, WorkflowCheckpointException):
                        data = self._contents.payload(self._contents.checkpoint(loaded))
                        self._loaded.setdefault(loaded.checkpoint_id, sha256(data).digest())

    async def has(self, checkpoint: WorkflowCheckpoint, file: _File) -> bool:
        """Return whether the storage has a checkpoint.

        Raises:
            ItemError: it has another one with the same id, or the checkpoint cannot be kept.
            HoldfastError: a subclass for each other reason.

        """
        try:
            labels_of(checkpoint)
            data, checkpoint_id = self._contents.payload(checkpoint), id_of(checkpoint.checkpoint_id)
        except WorkflowCheckpointException as error:
            raise ItemError("UNREADABLE", f"{file.path}: {error}") from error
        if checkpoint_id not in self._stored:
            return False
        if self._loaded.get(checkpoint_id) == sha256(data).digest():
            return True
        try:
            loaded = await self._client.load(self._namespace, self._workflow_id, checkpoint_id)
            is_equal = loaded.data == data or self._contents.payload(self._contents.checkpoint(loaded)) == data
        except _ABSENT:
            return False
        except CheckpointDeletedError as error:
            raise ItemError("OTHER_CONTENT", f"{DELETED}: {error}") from error
        except (*UNLOADABLE, WorkflowCheckpointException) as error:
            raise ItemError("OTHER_CONTENT", f"the checkpoint of the target cannot be read: {error}") from error
        if not is_equal:
            raise ItemError("OTHER_CONTENT", f"{file.path}: the checkpoint has other content in the target")
        return True

    async def require_unused(self, checkpoint: WorkflowCheckpoint) -> None:
        """Check that a checkpoint that the storage does not have was not deleted there.

        Raises:
            ItemError: it was.
            HoldfastError: a subclass for each other reason.

        """
        if self._deleted is None:
            self._deleted = await deleted_ids(self._client, self._namespace, self._workflow_id)
        if id_of(checkpoint.checkpoint_id) in self._deleted:
            raise ItemError("OTHER_CONTENT", DELETED)

    async def save(self, checkpoint: WorkflowCheckpoint, file: _File) -> None:
        """Save a checkpoint, as the storage does.

        Raises:
            ItemError: another program has saved it with other content, or the server cannot keep it.
            HoldfastError: a subclass for each other reason.

        """
        previous = checkpoint.previous_checkpoint_id
        try:
            await self._client.save(
                self._namespace,
                self._workflow_id,
                self._contents.payload(checkpoint),
                format=FORMAT,
                checkpoint_id=id_of(checkpoint.checkpoint_id),
                parent_id=id_of(previous) if previous else "",
                labels=labels_of(checkpoint),
            )
        except (CheckpointDeletedError, CheckpointIdReusedError) as error:
            raise ItemError("OTHER_CONTENT", f"{file.path}: {error}") from error
        except (InvalidRequestError, PayloadTooLargeError, WorkflowCheckpointException) as error:
            raise ItemError("UNREADABLE", f"{file.path} cannot be kept: {error}") from error

    async def verify(self, checkpoint: WorkflowCheckpoint, file: _File) -> None:
        """Load a checkpoint through the Holdfast storage, and compare it.

        Raises:
            ItemError: it cannot be loaded, or differs.
            HoldfastError: a subclass for each other reason.

        """
        data = self._contents.payload(checkpoint)
        if self._loaded.get(id_of(checkpoint.checkpoint_id)) == sha256(data).digest():
            return
        try:
            found = await self._storage.load(checkpoint.checkpoint_id)
            is_equal = self._contents.payload(found) == data
        except (*UNLOADABLE, WorkflowCheckpointException) as error:
            raise ItemError("DIFFERENT", f"{file.path}: it cannot be loaded from the target: {error}") from error
        if not is_equal:
            raise ItemError("DIFFERENT", f"{file.path}: the checkpoint differs in the target")
