"""Import the applications of Burr's SQLite persisters, step by step, in the layout of the Holdfast persisters.

Burr's own persister reads the steps from a private copy of the file. Values are restored under the rules of the
Holdfast persisters: only classes and plugins that the caller allows, and never pickled ones.
"""

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from burr.core.persistence import PersistedStateData, SQLitePersister

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast.adapters.burr.names import PartitionKey, step_id, workflow_id
from holdfast.adapters.burr.persisters import AsyncHoldfastPersister
from holdfast.adapters.burr.states import FORMAT, POSITION, SEQUENCE, STATUS, States
from holdfast.adapters.burr.steps import ACCEPTED
from holdfast.adapters.entries import Entry
from holdfast.adapters.ids import LABEL_BYTES
from holdfast.adapters.logs import UNLOADABLE, Log, chosen
from holdfast.adapters.plain_json import UnsavableValueError
from holdfast.adapters.sqlite_copy import copied, listed, require_table
from holdfast.moving import Item, ItemError, Progress, Report, SourceError, move_each

_COLUMNS = frozenset({"partition_key", "app_id", "sequence_id", "position", "status", "state", "created_at"})
# Burr puts the name into its statements as it is.
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STATUSES = ("completed", "failed")


async def import_applications(
    source: str | PathLike[str],
    client: AsyncClient,
    *,
    namespace: str,
    applications: Iterable[str] | None = None,
    prefix: str = "",
    table: str = "burr_state",
    serde_kwargs: dict[str, Any] | None = None,
    allowed_classes: Iterable[type | str] = (),
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import applications from a file of Burr's `SQLitePersister` or `AsyncSQLitePersister`.

    An application is imported as a whole or not at all: if one of its steps cannot be read, or the target has it with
    other content, nothing of the application is written, and the other applications are imported. Steps that the target
    has already stay as they are, so a call that was interrupted can be repeated.

    Args:
        source: the file, which is copied to the folder for temporary files and not changed.
        client: an open client of the target.
        namespace: the namespace of the target.
        applications: the app ids to import; None for all.
        prefix: the text that the app ids begin with.
        table: the table's name.
        serde_kwargs: passed on to Burr's serialisation of states.
        allowed_classes: the pydantic models and plugins that states may contain, as for the Holdfast persisters.
        dry_run: read and compare everything, and write nothing.
        progress: called with the record of an application as it grows.

    Returns:
        What was imported, and why other applications were not. An application's name is its workflow.

    Raises:
        SourceError: the file does not exist, is damaged, or is not a file of Burr.
        TypeError: an allowed class is neither a class nor text.
        HoldfastError: a subclass for each reason. What was imported until then stays.

    """
    allowed = list(allowed_classes)
    states = States(serde_kwargs, allowed)
    target = AsyncHoldfastPersister(
        client, namespace=namespace, serde_kwargs=serde_kwargs, allowed_classes=allowed, ownership="shared"
    )
    if not _TABLE.fullmatch(table):
        raise SourceError(f"invalid table {table!r}: Burr's table names have only letters, digits and underscores")
    shown = fspath(source)
    async with copied(source) as copy:
        require_table(copy, shown, table, _COLUMNS, "Burr")
        with closing(_Source(copy, shown, table, states, serde_kwargs)) as opened:
            found = {app.name: app for app in await asyncio.to_thread(opened.applications)}

            async def move(item: Item) -> None:
                app = found.get(item.name)
                if app is None:
                    raise ItemError("NOT_FOUND", f"{shown} has no application {item.name!r:.200}")
                workflow = app.workflow
                sequence_ids = await asyncio.to_thread(opened.sequence_ids, app)
                log = await Log.of(client, namespace, workflow)
                await log.compare(opened.entries(app, sequence_ids))
                await log.fill(opened.entries(app, sequence_ids), item, dry_run=dry_run)
                if not dry_run:
                    await _verify(opened, app, sequence_ids, log, item)
                    if not log.has_moved_on:
                        await _verify_newest(target, app, sequence_ids[-1])

            names = chosen(found, applications, prefix, lambda app: str(app.app_id))
            return await move_each(names, move, progress)


@dataclass(frozen=True, slots=True)
class _Application:
    partition_key: PartitionKey
    app_id: str

    @property
    def name(self) -> str:
        # Burr loads no rows without a partition key. Holdfast would take it for an empty one.
        with suppress(ItemError):
            if self.partition_key is not None:
                return self.workflow
        return repr((self.partition_key, self.app_id))

    @property
    def workflow(self) -> str:
        """The application's workflow.

        Raises:
            ItemError: its ids are too long, or not text.

        """
        try:
            return workflow_id(self.partition_key, self.app_id)
        except (TypeError, ValueError) as error:
            raise ItemError("UNREADABLE", str(error)) from error


class _Source:
    """The steps in a copy of a file. Methods that are not asynchronous block.

    Args:
        copy: the copy.
        shown: the file's name in errors.
        table: the table's name.
        states: restores and serialises states.
        serde_kwargs: passed on to Burr's serialisation of states.

    """

    def __init__(self, copy: Path, shown: str, table: str, states: States, serde_kwargs: dict[str, Any] | None) -> None:
        self._copy = copy
        self._shown = shown
        self._table = table
        self._states = states
        # One thread at a time uses it.
        self._connection = sqlite3.connect(copy, check_same_thread=False)
        self._persister = SQLitePersister(str(copy), table, serde_kwargs, connection=self._connection)

    def close(self) -> None:
        self._persister.cleanup()

    def applications(self) -> Sequence[_Application]:
        """Return the applications, the one that was saved last at the end.

        Raises:
            SourceError: the table cannot be read.

        """
        try:
            rows = listed(
                self._copy,
                f"SELECT partition_key, app_id FROM {self._table} GROUP BY partition_key, app_id "  # noqa: S608
                "ORDER BY max(created_at), max(rowid)",
            )
        except sqlite3.Error as error:
            raise SourceError(f"table {self._table!r} of {self._shown} cannot be read: {error}") from error
        return [_Application(*row) for row in rows]

    def sequence_ids(self, app: _Application) -> Sequence[int]:
        """Return the sequence ids of an application's steps, in ascending order.

        Raises:
            ItemError: a row is not one that Burr writes and loads.

        """
        if app.partition_key is None:
            raise ItemError("UNREADABLE", f"the partition key is NULL in {self._shown}, and Burr loads no such rows")
        try:
            rows = self._connection.execute(
                f"SELECT sequence_id, position, status FROM {self._table} "  # noqa: S608
                "WHERE partition_key = ? AND app_id = ? ORDER BY sequence_id, position",
                (app.partition_key, app.app_id),
            ).fetchall()
        except sqlite3.Error as error:
            raise ItemError("UNREADABLE", f"the rows in {self._shown} cannot be read: {error}") from error
        found: list[int] = []
        for sequence_id, position, status in rows:
            where = f"step {sequence_id!r} (position {position!r:.100}) in {self._shown}"
            if type(sequence_id) is not int or not isinstance(position, str):
                raise ItemError("UNREADABLE", f"{where}: the sequence id must be an integer, and the position text")
            if (size := len(position.encode())) > LABEL_BYTES:
                raise ItemError("UNREADABLE", f"{where}: the position has {size} bytes, the limit is {LABEL_BYTES}")
            if status not in _STATUSES:
                raise ItemError("UNREADABLE", f"{where}: the status is {status!r:.100}, expected one of {_STATUSES}")
            if found and found[-1] == sequence_id:
                raise ItemError("UNREADABLE", f"{where}: the step has several positions, and Burr loads any of them")
            found.append(sequence_id)
        return found

    def step(self, app: _Application, sequence_id: int) -> PersistedStateData:
        """Return a step as Burr loads it.

        Raises:
            ItemError: its state cannot be restored.

        """
        where = f"step {sequence_id} in {self._shown}"
        try:
            [text] = self._connection.execute(
                f"SELECT state FROM {self._table} WHERE partition_key = ? AND app_id = ? AND sequence_id = ?",  # noqa: S608
                (app.partition_key, app.app_id, sequence_id),
            ).fetchone()
            # Before Burr calls the functions that the state names.
            self._states.restored(json.loads(text))
            found: PersistedStateData | None = self._persister.load(app.partition_key, app.app_id, sequence_id)
        except (sqlite3.Error, TypeError, ValueError, RecursionError) as error:
            raise ItemError("UNREADABLE", f"{where}: {error}") from error
        if found is None:
            raise ItemError("UNREADABLE", f"{where}: Burr does not find it")
        return found

    def entry(self, app: _Application, sequence_id: int) -> Entry:
        """Return the checkpoint of a step.

        Raises:
            ItemError: its state cannot be restored, or would not be loaded as an equal state.

        """
        step = self.step(app, sequence_id)
        try:
            data = self._states.dumps(step["state"])
        except UnsavableValueError as error:
            raise ItemError("UNREADABLE", f"step {sequence_id} in {self._shown}: {error}") from error
        checkpoint_id = step_id(sequence_id)
        labels = {SEQUENCE: checkpoint_id, POSITION: step["position"], STATUS: step["status"]}
        return Entry(f"step {sequence_id}", {"": data}, FORMAT, labels, checkpoint_id)

    async def entries(self, app: _Application, sequence_ids: Iterable[int]) -> AsyncIterator[Entry]:
        """Iterate over the checkpoints of steps. The errors are those of `entry`."""
        for sequence_id in sequence_ids:
            yield await asyncio.to_thread(self.entry, app, sequence_id)

    def require_equal(self, app: _Application, sequence_id: int, loaded: LoadedCheckpoint) -> None:
        """Load a step from the file and from its checkpoint, and compare them.

        Raises:
            ItemError: they differ, or the checkpoint cannot be read.

        """
        name, step = f"step {sequence_id}", self.step(app, sequence_id)
        try:
            found: Any = self._states.loads(loaded, app.partition_key or "", app.app_id)
        except UNLOADABLE as error:
            raise ItemError("DIFFERENT", f"{name} cannot be loaded from the target: {error}") from error
        for key in ("partition_key", "app_id", "sequence_id", "position", "status"):
            if found[key] != step[key]:
                raise ItemError("DIFFERENT", f"{name}: {key} differs in the target")
        if self._states.dumps(found["state"]) != self._states.dumps(step["state"]):
            raise ItemError("DIFFERENT", f"{name}: the state differs in the target")


async def _verify(source: _Source, app: _Application, sequence_ids: Sequence[int], log: Log, item: Item) -> None:
    """Load the steps from both stores, and compare them.

    Raises:
        ItemError: one differs, or cannot be loaded.

    """
    async for place, loaded in log.newest_first([ACCEPTED]):
        await asyncio.to_thread(source.require_equal, app, sequence_ids[place], loaded)
        item.add(verified=1)


async def _verify_newest(target: AsyncHoldfastPersister, app: _Application, sequence_id: int) -> None:
    """Check that the target continues an application from its newest step.

    Raises:
        ItemError: it does not.

    """
    found = (await _loaded(target, app, None))["sequence_id"]
    if found != sequence_id:
        raise ItemError("DIFFERENT", f"the target continues from step {found}, the source from step {sequence_id}")


async def _loaded(target: AsyncHoldfastPersister, app: _Application, sequence_id: int | None) -> Any:
    try:
        found = await target.load(app.partition_key, app.app_id, sequence_id)
    except UNLOADABLE as error:
        raise ItemError("DIFFERENT", f"step {sequence_id} cannot be loaded from the target: {error}") from error
    if found is None:
        raise ItemError("DIFFERENT", f"step {sequence_id} is missing in the target")
    return found
