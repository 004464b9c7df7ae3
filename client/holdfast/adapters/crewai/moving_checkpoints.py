"""Import CrewAI's own checkpoints of a SQLite file, in the layout of `HoldfastCheckpointProvider`.

CrewAI's class for the file reads it only with SQLite 3.45 and newer, and returns the text that is read here. Its text
is never restored by CrewAI: that would import modules and open connections that the text names.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast.adapters.crewai.checkpoints import ACCEPTED, workflow_of
from holdfast.adapters.crewai.progress import FORMAT, PART, extract
from holdfast.adapters.crewai.states import read
from holdfast.adapters.entries import Entry
from holdfast.adapters.ids import CHECKPOINT_BYTES, LABEL_BYTES, holdfast_id
from holdfast.adapters.logs import UNLOADABLE, Log, chosen
from holdfast.adapters.plain_json import UnsavableValueError
from holdfast.adapters.sqlite_copy import copied, listed, require_table
from holdfast.adapters.sqlite_jsonb import json_text
from holdfast.moving import Item, ItemError, Progress, Report, SourceError, move_each

TABLE = "checkpoints"
_COLUMNS = frozenset({"id", "parent_id", "branch", "data"})


async def import_checkpoints(
    source: str | PathLike[str],
    client: AsyncClient,
    *,
    namespace: str,
    location: str | None = None,
    branches: Iterable[str] | None = None,
    prefix: str = "",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import the branches of a file that CrewAI's `SqliteProvider` wrote.

    A branch is imported as a whole or not at all: if one of its checkpoints cannot be read, or the target has it with
    other content, nothing of the branch is written, and the other branches are imported. Checkpoints that the target
    has already stay as they are, so a call that was interrupted can be repeated.

    Args:
        source: the file, which is copied to the folder for temporary files and not changed.
        client: an open client of the target.
        namespace: the namespace of the target.
        location: the location from which `HoldfastCheckpointProvider` resumes; None for the file's name without its
            suffix.
        branches: the branches to import; None for all.
        prefix: the text that the names of the branches begin with.
        dry_run: read and compare everything, and write nothing.
        progress: called with the record of a branch as it grows.

    Returns:
        What was imported, and why other branches were not.

    Raises:
        SourceError: the file does not exist, is damaged, or is not a file of CrewAI's checkpoints.
        HoldfastError: a subclass for each reason. What was imported until then stays.

    """
    async with copied(source) as copy:
        return await move_checkpoints(
            copy,
            fspath(source),
            client,
            namespace=namespace,
            location=location,
            branches=branches,
            prefix=prefix,
            dry_run=dry_run,
            progress=progress,
        )


async def move_checkpoints(
    copy: Path,
    shown: str,
    client: AsyncClient,
    *,
    namespace: str,
    location: str | None,
    branches: Iterable[str] | None,
    prefix: str,
    dry_run: bool,
    progress: Progress | None,
) -> Report:
    """Import the branches of a copy of a file. `shown` is the file's name.

    The other arguments, the result and the errors are those of `import_checkpoints`.
    """
    require_table(copy, shown, TABLE, _COLUMNS, "CrewAI")
    location = Path(shown).stem if location is None else location
    with closing(_Source(copy, shown)) as opened:
        found = {branch: branch for branch in await asyncio.to_thread(opened.branches)}

        async def move(item: Item) -> None:
            branch = found.get(item.name)
            if branch is None:
                raise ItemError("NOT_FOUND", f"{shown} has no branch {item.name!r:.200}")
            try:
                workflow = workflow_of(location, branch)
            except ValueError as error:
                raise ItemError(
                    "UNREADABLE", f"invalid location {location!r:.200} or branch {branch!r:.200}: {error}"
                ) from error
            if len(branch.encode()) > LABEL_BYTES:
                raise ItemError("UNREADABLE", f"the name of the branch must have at most {LABEL_BYTES} bytes")
            rows = await asyncio.to_thread(opened.rows, branch)
            log = await Log.of(client, namespace, workflow)
            await log.compare(opened.entries(branch, rows))
            await log.fill(opened.entries(branch, rows), item, dry_run=dry_run)
            if not dry_run:
                await _verify(opened, rows, log, item)

        return await move_each(chosen(found, branches, prefix, str), move, progress)


@dataclass(frozen=True, slots=True)
class _Row:
    """A checkpoint of the file.

    Attributes:
        number: the row's number.
        checkpoint_id: its id in Holdfast.
        parent_id: the parent's id in Holdfast; "" for none.

    """

    number: int
    checkpoint_id: str
    parent_id: str

    @property
    def name(self) -> str:
        return f"row {self.number} of {TABLE}"


class _Source:
    """The checkpoints in a copy of a file. Methods that are not asynchronous block.

    Args:
        copy: the copy.
        shown: the file's name in errors.

    """

    def __init__(self, copy: Path, shown: str) -> None:
        self._copy = copy
        self._shown = shown
        # One thread at a time uses it.
        self._connection = sqlite3.connect(copy, check_same_thread=False)

    def close(self) -> None:
        self._connection.close()

    def branches(self) -> Sequence[str]:
        """Return the names of the branches, the one that was saved last at the end.

        Raises:
            SourceError: the table cannot be read.

        """
        try:
            rows = listed(
                self._copy,
                f"SELECT CAST(branch AS TEXT) FROM {TABLE} GROUP BY 1 ORDER BY max(rowid)",  # noqa: S608
            )
        except sqlite3.Error as error:
            raise SourceError(f"{self._shown} cannot be read: {error}") from error
        return [str(branch) for (branch,) in rows]

    def rows(self, branch: str) -> Sequence[_Row]:
        """Return the checkpoints of a branch in the order in which CrewAI wrote them.

        Raises:
            ItemError: a row cannot be read, or has no usable id.

        """
        try:
            found = self._connection.execute(
                f"SELECT rowid, id, parent_id FROM {TABLE} WHERE CAST(branch AS TEXT) = ? ORDER BY rowid",  # noqa: S608
                (branch,),
            ).fetchall()
        except (sqlite3.Error, UnicodeError) as error:
            raise ItemError("UNREADABLE", f"the rows in {self._shown} cannot be read: {error}") from error
        if not found:
            raise ItemError("UNREADABLE", f"the branch has no name in {self._shown}")
        return [self._row(*each) for each in found]

    async def entries(self, branch: str, rows: Iterable[_Row]) -> AsyncIterator[Entry]:
        """Iterate over the checkpoints of rows.

        Raises:
            ItemError: a row cannot be read, or its progress would not be loaded as equal progress.

        """
        for row in rows:
            data = await asyncio.to_thread(self.progress, row)
            yield Entry(row.name, {PART: data}, FORMAT, {"branch": branch}, row.checkpoint_id, row.parent_id)

    def progress(self, row: _Row) -> bytes:
        """Return the payload of a row.

        Raises:
            ItemError: it is not a checkpoint of CrewAI, or its progress would not be loaded as equal progress.

        """
        try:
            [data] = self._connection.execute(
                f"SELECT data FROM {TABLE} WHERE rowid = ?",  # noqa: S608
                (row.number,),
            ).fetchone()
            return extract(json_text(data) if isinstance(data, bytes) else data)[0]
        except (sqlite3.Error, UnsavableValueError, ValueError) as error:
            raise self._unreadable(row.number, error) from error

    def _row(self, number: int, checkpoint_id: str, parent_id: str | None) -> _Row:
        try:
            parent = holdfast_id(parent_id, CHECKPOINT_BYTES) if parent_id else ""
            return _Row(number, holdfast_id(checkpoint_id, CHECKPOINT_BYTES), parent)
        except (TypeError, ValueError) as error:
            raise self._unreadable(number, error) from error

    def _unreadable(self, number: int, problem: object) -> ItemError:
        return ItemError("UNREADABLE", f"row {number} of {TABLE} in {self._shown}: {problem}")


async def _verify(source: _Source, rows: Sequence[_Row], log: Log, item: Item) -> None:
    """Load each checkpoint from both stores, and what each store continues from, and compare them.

    Raises:
        ItemError: they differ, or the target cannot be loaded.

    """
    async for index, checkpoint in log.newest_first(ACCEPTED):
        await _require_equal(source, rows[index], checkpoint)
        item.add(verified=1)
    if rows and not log.has_moved_on:
        await _require_equal(source, rows[-1], await log.load(None, "the newest checkpoint", ACCEPTED))


async def _require_equal(source: _Source, row: _Row, checkpoint: LoadedCheckpoint) -> None:
    try:
        found = read(checkpoint, PART)
    except UNLOADABLE as error:
        raise ItemError("DIFFERENT", f"{row.name} cannot be loaded from the target: {error}") from error
    if found != json.loads(await asyncio.to_thread(source.progress, row)):
        raise ItemError("DIFFERENT", f"{row.name}: the progress differs in the target")
