"""Import flows of CrewAI's `SQLiteFlowPersistence`, in the layout of `HoldfastFlowPersistence`.

CrewAI's own class opens a private copy of the file. It returns only the newest state of a flow, so the older ones are
read from its table.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from crewai.flow.async_feedback.types import PendingFeedbackContext
from crewai.flow.persistence.sqlite import SQLiteFlowPersistence

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast.adapters.crewai.persistence import QUESTION_ID, asked_labels, saved_labels, workflow_of
from holdfast.adapters.crewai.questions import FEEDBACK_PART, question, question_json
from holdfast.adapters.crewai.states import ACCEPTED, FORMAT, STATE_PART, read, state_json
from holdfast.adapters.entries import Entry
from holdfast.adapters.ids import LABEL_BYTES
from holdfast.adapters.logs import UNLOADABLE, Log, chosen
from holdfast.adapters.plain_json import UnsavableValueError
from holdfast.adapters.sqlite_copy import copied, listed, require_table
from holdfast.moving import Item, ItemError, Progress, Report, SourceError, move_each

TABLE = "flow_states"
_STATES = frozenset({"id", "flow_uuid", "method_name", "timestamp", "state_json"})
_QUESTIONS = frozenset({"flow_uuid", "context_json", "state_json", "created_at"})


async def import_flows(
    source: str | PathLike[str],
    client: AsyncClient,
    *,
    namespace: str,
    flows: Iterable[str] | None = None,
    prefix: str = "",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import flows, with the questions that wait for a human, from a file of CrewAI's `SQLiteFlowPersistence`.

    A flow is imported as a whole or not at all: if one of its states cannot be read, or the target has it with other
    content, nothing of the flow is written, and the other flows are imported. States that the target has already stay
    as they are, so a call that was interrupted can be repeated.

    Args:
        source: the file, which is copied to the folder for temporary files and not changed.
        client: an open client of the target.
        namespace: the namespace of the target.
        flows: the ids of the flows to import; None for all.
        prefix: the text that the ids begin with.
        dry_run: read and compare everything, and write nothing.
        progress: called with the record of a flow as it grows.

    Returns:
        What was imported, and why other flows were not.

    Raises:
        SourceError: the file does not exist, is damaged, or is not a file of CrewAI's flows.
        HoldfastError: a subclass for each reason. What was imported until then stays.

    """
    async with copied(source) as copy:
        return await move_flows(
            copy,
            fspath(source),
            client,
            namespace=namespace,
            flows=flows,
            prefix=prefix,
            dry_run=dry_run,
            progress=progress,
        )


async def move_flows(
    copy: Path,
    shown: str,
    client: AsyncClient,
    *,
    namespace: str,
    flows: Iterable[str] | None,
    prefix: str,
    dry_run: bool,
    progress: Progress | None,
) -> Report:
    """Import the flows of a copy of a file. `shown` is the file's name.

    The other arguments, the result and the errors are those of `import_flows`.
    """
    require_table(copy, shown, TABLE, _STATES, "CrewAI")
    with closing(await asyncio.to_thread(_Source, copy, shown)) as opened:
        found = {flow: flow for flow in await asyncio.to_thread(opened.flows)}

        async def move(item: Item) -> None:
            flow = found.get(item.name)
            if flow is None:
                raise ItemError("NOT_FOUND", f"{shown} has no flow {item.name!r:.200}")
            workflow = _workflow(flow)
            places = await asyncio.to_thread(opened.places, flow)
            log = await Log.of(client, namespace, workflow)
            await log.compare(opened.entries(places))
            await log.fill(opened.entries(places), item, dry_run=dry_run)
            if not dry_run:
                await _verify(opened, flow, places, log, item)

        names = chosen(found, flows, prefix, str)
        return await move_each(names, move, progress)


@dataclass(frozen=True, slots=True)
class _Place:
    """A checkpoint of a flow: a row of `flow_states`, or the question that waits, with the state that it was asked in.

    Attributes:
        flow: the flow's id.
        row: the row's id; None if only the question exists.
        has_question: whether it is the question.

    """

    flow: str
    row: int | None
    has_question: bool = False

    @property
    def name(self) -> str:
        return "the question that waits" if self.has_question else f"row {self.row} of flow_states"


class _Source:
    """The flows in a copy of a file. Methods that are not asynchronous block.

    Args:
        copy: the copy.
        shown: the file's name in errors.

    Raises:
        SourceError: CrewAI cannot open it.

    """

    def __init__(self, copy: Path, shown: str) -> None:
        self._copy = copy
        self._shown = shown
        try:
            # Adds the table of questions to a file of an older version.
            self._engine = SQLiteFlowPersistence(str(copy))
        except Exception as error:
            raise SourceError(f"CrewAI cannot open {shown}: {error}") from error
        require_table(copy, shown, "pending_feedback", _QUESTIONS, "CrewAI")
        # One thread at a time uses it.
        self._connection = sqlite3.connect(copy, check_same_thread=False)

    def close(self) -> None:
        self._connection.close()

    def flows(self) -> Sequence[str]:
        """Return the ids of the flows, the one that was saved last at the end.

        Raises:
            SourceError: the tables cannot be read.

        """
        try:
            rows = listed(
                self._copy,
                "SELECT CAST(flow_uuid AS TEXT) FROM ("
                "SELECT flow_uuid, max(id) AS newest FROM flow_states GROUP BY flow_uuid "
                "UNION ALL SELECT flow_uuid, 0 FROM pending_feedback) GROUP BY 1 ORDER BY max(newest)",
            )
        except sqlite3.Error as error:
            raise SourceError(f"{self._shown} cannot be read: {error}") from error
        return [str(flow) for (flow,) in rows]

    def places(self, flow: str) -> Sequence[_Place]:
        """Return the checkpoints that a flow has in Holdfast, in their order.

        CrewAI saves a question and a row with the state in one transaction. In Holdfast the question takes the place
        of that row. States that were saved since come after it.

        Raises:
            ItemError: a row cannot be read.

        """
        try:
            rows = self._connection.execute(
                "SELECT id, method_name, timestamp, state_json FROM flow_states WHERE flow_uuid = ? ORDER BY id",
                (flow,),
            )
            asked = self._connection.execute(
                "SELECT context_json, state_json, created_at FROM pending_feedback WHERE flow_uuid = ?", (flow,)
            ).fetchone()
            if asked is None:
                if unasked := [_Place(flow, row) for row, *_ in rows]:
                    return unasked
                raise ItemError("UNREADABLE", f"the id is not text in {self._shown}, and CrewAI loads no such rows")
            method = self._context(asked[0]).get("method_name")
            found, with_question, before = [], None, 0
            for index, (row, method_name, moment, state) in enumerate(rows):
                found.append(_Place(flow, row))
                if str(moment) <= str(asked[2]):
                    before = index + 1
                    if method_name == method and state == asked[1]:
                        with_question = index
        except (sqlite3.Error, UnicodeError) as error:
            raise ItemError("UNREADABLE", f"the rows in {self._shown} cannot be read: {error}") from error
        if with_question is None:
            found.insert(before, _Place(flow, None, has_question=True))
        else:
            found[with_question] = _Place(flow, found[with_question].row, has_question=True)
        return found

    async def entries(self, places: Iterable[_Place]) -> AsyncIterator[Entry]:
        """Iterate over the checkpoints of places.

        Raises:
            ItemError: a row cannot be read, or its state would not be loaded as an equal state.

        """
        for place in places:
            yield await asyncio.to_thread(self._entry, place)

    def state(self, place: _Place) -> dict[str, Any]:
        """Return the state of a place.

        Raises:
            ItemError: it is not a state.

        """
        table, column, key = (
            ("pending_feedback", "flow_uuid", place.flow) if place.has_question else ("flow_states", "id", place.row)
        )
        try:
            [text] = self._connection.execute(
                f"SELECT state_json FROM {table} WHERE {column} = ?",  # noqa: S608
                (key,),
            ).fetchone()
        except (sqlite3.Error, UnicodeError) as error:
            raise self._unreadable(place, error) from error
        return self._object(text, place)

    def newest_state(self, flow: str) -> dict[str, Any] | None:
        """Return the state that CrewAI loads for a flow."""
        state: dict[str, Any] | None = self._engine.load_state(flow)
        return state

    def question(self, flow: str) -> tuple[dict[str, Any], PendingFeedbackContext] | None:
        """Return the state and the question that CrewAI loads for a flow; None if no question waits.

        Raises:
            ItemError: CrewAI cannot load it.

        """
        try:
            found: tuple[dict[str, Any], PendingFeedbackContext] | None = self._engine.load_pending_feedback(flow)
        except Exception as error:
            raise ItemError(
                "UNREADABLE", f"the question in {self._shown} cannot be loaded by CrewAI: {error!r}"
            ) from error
        return found

    def _entry(self, place: _Place) -> Entry:
        try:
            state = state_json(self.state(place))
            if place.has_question:
                return self._question_entry(place, state)
            [method] = self._connection.execute(
                "SELECT method_name FROM flow_states WHERE id = ?", (place.row,)
            ).fetchone()
            return Entry(place.name, {STATE_PART: state}, FORMAT, saved_labels(self._method(method, place)))
        except (sqlite3.Error, UnsavableValueError) as error:
            raise self._unreadable(place, error) from error

    def _question_entry(self, place: _Place, state: bytes) -> Entry:
        found = self.question(place.flow)
        if found is None:
            raise ItemError("UNREADABLE", f"{place.name} in {self._shown}: CrewAI does not find it")
        context = found[1]
        return Entry(
            place.name,
            {STATE_PART: state, FEEDBACK_PART: question_json(context)},
            FORMAT,
            asked_labels(self._method(context.method_name, place)),
            QUESTION_ID,
            options={"replace": True, "pinned": True},
        )

    def _method(self, method: object, place: _Place) -> str:
        if not isinstance(method, str) or len(method.encode()) > LABEL_BYTES:
            problem = f"the method's name must be text of at most {LABEL_BYTES} bytes, not {method!r:.100}"
            raise self._unreadable(place, problem)
        return method

    def _context(self, text: object) -> dict[str, Any]:
        return self._object(text, _Place("", None, has_question=True))

    def _object(self, text: object, place: _Place) -> dict[str, Any]:
        try:
            found = json.loads(text)  # type: ignore[arg-type]
        except (TypeError, ValueError, RecursionError) as error:
            raise self._unreadable(place, error) from error
        if not isinstance(found, dict):
            raise self._unreadable(place, f"expected a JSON object, not {type(found).__name__}")
        return found

    def _unreadable(self, place: _Place, problem: object) -> ItemError:
        return ItemError("UNREADABLE", f"{place.name} in {self._shown}: {problem}")


@dataclass(frozen=True, slots=True)
class _Loaded:
    checkpoint: LoadedCheckpoint
    state: dict[str, Any]


def _workflow(flow: str) -> str:
    try:
        return workflow_of(flow)
    except ValueError as error:
        raise ItemError("UNREADABLE", str(error)) from error


async def _verify(source: _Source, flow: str, places: Sequence[_Place], log: Log, item: Item) -> None:
    """Load each state and the question from both stores, and what each store continues from, and compare them.

    Raises:
        ItemError: they differ, or the target cannot be loaded.

    """
    async for index, checkpoint in log.newest_first(ACCEPTED):
        place = places[index]
        loaded = _read(checkpoint, place.name)
        if loaded.state != await asyncio.to_thread(source.state, place):
            raise ItemError("DIFFERENT", f"{place.name}: the state differs in the target")
        if place.has_question:
            _require_equal(loaded, await asyncio.to_thread(source.question, flow))
        item.add(verified=1)
    newest = await asyncio.to_thread(source.newest_state, flow)
    if newest is not None and not log.has_moved_on:
        name = "the newest state"
        if _read(await log.load(None, name, ACCEPTED), name).state != newest:
            raise ItemError("DIFFERENT", "the target continues from another state")


def _read(loaded: LoadedCheckpoint, name: str) -> _Loaded:
    try:
        return _Loaded(loaded, read(loaded, STATE_PART))
    except UNLOADABLE as error:
        raise ItemError("DIFFERENT", f"{name} cannot be loaded from the target: {error}") from error


def _require_equal(loaded: _Loaded, asked: tuple[dict[str, Any], PendingFeedbackContext] | None) -> None:
    """Compare the question in a checkpoint with that of the source.

    The settings of its model that Holdfast does not keep come from the flow's code, which need not be loaded here.

    Raises:
        ItemError: they differ, or the one in the checkpoint cannot be loaded.

    """
    try:
        found = question(loaded.checkpoint, feedback_llm="none")
    except UNLOADABLE as error:
        raise ItemError("DIFFERENT", f"the question cannot be loaded from the target: {error}") from error
    if asked is None or loaded.state != asked[0] or replace(found, llm=None) != replace(asked[1], llm=None):
        raise ItemError("DIFFERENT", "the question differs in the target")
