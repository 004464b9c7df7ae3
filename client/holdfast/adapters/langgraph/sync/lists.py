# Generated from holdfast/adapters/langgraph/lists.py by tools/async_to_sync.py; do not edit.
"""List checkpoints, and read the ancestors of one."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast._core.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    FormatIncompatibleError,
    HoldfastError,
    WorkflowNotFoundError,
)
from holdfast._sync import blocking
from holdfast.adapters.langgraph import contents
from holdfast.adapters.langgraph.arguments import ListQuery
from holdfast.adapters.langgraph.contents import ACCEPTED, PLACE
from holdfast.adapters.langgraph.names import Place, decoded, encoded, place_of
from holdfast.adapters.langgraph.order import is_mixed
from holdfast.adapters.langgraph.sync.lookups import MISSING, Lookups
from holdfast.adapters.lineage import Lineage

_MAX_PAGE = 1000
_UNREADABLE = (CheckpointCorruptedError, FormatIncompatibleError)
# The errors of checkpoints that could not be read, in the order of the list.
_Errors: TypeAlias = list[HoldfastError]

_log = logging.getLogger(__name__)


class Lists:
    """Lists and histories of threads."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self._client = lookups.client
        self._namespace = lookups.namespace

    def list(self, query: ListQuery) -> Iterator[Any]:
        """List checkpoints with their writes: one namespace after another, in each the largest id first.

        A checkpoint that cannot be read is logged in its place and counts towards the limit. Its error is raised after
        all other checkpoints.

        Raises:
            CheckpointCorruptedError, FormatIncompatibleError: the error of the first checkpoint that could not be read,
                at the end; never with `fallback`.

        """
        unread: _Errors = []
        yielded = 0
        if query.limit is not None and query.limit <= 0:
            return
        serde = self._lookups.serde
        for place, loaded in self._candidates(query, unread):
            if query.limit is not None and yielded + len(unread) >= query.limit:
                break
            data = contents.stored(loaded)
            try:
                metadata = blocking.in_thread_if_large(data, contents.unpack_metadata, serde, loaded)
                if not contents.matches(metadata, query.metadata):
                    continue
                found = blocking.in_thread_if_large(data, contents.unpack, serde, place, loaded)
            except _UNREADABLE as error:
                _skip(unread, error)
                continue
            yield found
            yielded += 1
            if yielded == query.limit:
                break
        if unread and not self._lookups.fallback:
            raise unread[0]

    def delta_history(self, place: Place, checkpoint_id: str, channels: Sequence[str]) -> Mapping[str, Any]:
        """Return the writes and seeds of channels in a checkpoint's ancestors, for `get_delta_channel_history`."""
        writes: dict[str, list[Any]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        for ancestor in self._ancestors(place, checkpoint_id):
            left = [channel for channel in channels if channel not in seeds]
            unpacked = blocking.in_thread_if_large(
                contents.stored(ancestor), contents.unpack, self._lookups.serde, place, ancestor
            )
            for write in reversed(unpacked.pending_writes):
                if write[1] in left:
                    writes[write[1]].append(write)
            values = unpacked.checkpoint["channel_values"]
            seeds |= {channel: values[channel] for channel in left if channel in values}
            if len(seeds) == len(writes):
                break
        return {
            channel: {"writes": writes[channel][::-1], **({"seed": seeds[channel]} if channel in seeds else {})}
            for channel in channels
        }

    def _candidates(self, query: ListQuery, unread: _Errors) -> Iterator[tuple[Place, LoadedCheckpoint]]:
        """Load the checkpoints of a list before the filter by metadata. Errors of damage are added to `unread`."""
        if query.thread_id is None:
            for place, loaded in self._in_all_threads(query, unread):
                yield place, loaded
            return
        if query.checkpoint_ns is not None:
            places: Sequence[Place] = [Place(query.thread_id, query.checkpoint_ns)]
        else:
            places = self._lookups.places(query.thread_id)
        for place in places:
            try:
                for loaded in self._in_place(place, query, unread):
                    yield place, loaded
            except WorkflowNotFoundError:
                continue

    def _in_all_threads(self, query: ListQuery, unread: _Errors) -> Iterator[tuple[Place, LoadedCheckpoint]]:
        for loaded in self._sorted(self._history("", query, "", unread)):
            place = place_of(loaded.info.workflow_id, loaded.parts.get(PLACE))
            if place is not None and _has_id(loaded, query):
                yield place, loaded

    def _in_place(self, place: Place, query: ListQuery, unread: _Errors) -> Iterator[LoadedCheckpoint]:
        if query.checkpoint_id:
            try:
                loaded = self._lookups.load(place, query.checkpoint_id)
            except MISSING:
                return
            if _has_id(loaded, query):
                yield loaded
            return
        before = self._server_before(place.workflow_id, query.before) if query.before else ""
        for loaded in self._sorted(self._history(place.workflow_id, query, before, unread)):
            if _has_id(loaded, query):
                yield loaded

    def _server_before(self, workflow_id: str, checkpoint_id: str) -> str:
        """Return the id before which the server can begin its list; "" if it cannot.

        It can if the checkpoint exists and the saves of the workflow are in the order of their ids.
        """
        try:
            newest = self._lookups.newest(workflow_id)
            is_ordered = newest is not None and not is_mixed(newest.labels)
            can_begin = is_ordered and self._lookups.exists(workflow_id, checkpoint_id)
            return encoded(checkpoint_id) if can_begin else ""
        except CheckpointCorruptedError:
            return ""

    def _history(self, workflow_id: str, query: ListQuery, before: str, unread: _Errors) -> Iterator[LoadedCheckpoint]:
        """Load the checkpoints of a workflow, or of all if its id is "", newest first.

        Errors of damage are added to `unread`.
        """
        options: Any = {"labels": contents.labels_of(query.metadata), "formats": ACCEPTED, "before": before}
        # Pages are as small as the limit only if no checkpoint will be left out here, by its metadata or its id.
        is_exact = not query.metadata and (before or not query.before)
        page_size = min(query.limit or 0, _MAX_PAGE) if is_exact else 0
        lowest: dict[str, int] = {}
        current = ""
        try:
            for loaded in self._client.history(
                self._namespace, workflow_id, **options, records=True, page_size=page_size
            ):
                current = loaded.info.workflow_id
                lowest[current] = loaded.revision
                yield loaded
            return
        except CheckpointCorruptedError as error:
            damage = error
        # Load the remaining checkpoints one by one, so that only the damaged one fails.
        unread_before = len(unread)
        for info in self._client.list(self._namespace, workflow_id, **options, page_size=_MAX_PAGE):
            is_done = info.workflow_id in lowest and (info.workflow_id != current or info.revision >= lowest[current])
            try:
                if not is_done:
                    yield self._client.load(
                        self._namespace, info.workflow_id, info.checkpoint_id, accepted_formats=ACCEPTED, records=True
                    )
            except CheckpointCorruptedError as error:
                _skip(unread, error)
            except MISSING:
                continue
        if len(unread) == unread_before:
            # A marker is damaged: the list leaves it out, since its content is lost.
            _skip(unread, damage)

    def _sorted(self, found: Iterator[LoadedCheckpoint]) -> Iterator[LoadedCheckpoint]:
        """Sort the checkpoints of each workflow by descending id.

        Only checkpoints after one with the label of a mixed order are held back until all of the workflow are known.
        """
        held: list[LoadedCheckpoint] = []
        for loaded in found:
            if held and loaded.info.workflow_id != held[0].info.workflow_id:
                for sorted_one in sorted(held, key=_id, reverse=True):
                    yield sorted_one
                held = []
            if held or is_mixed(loaded.info.labels):
                held.append(loaded)
            else:
                yield loaded
        for sorted_one in sorted(held, key=_id, reverse=True):
            yield sorted_one

    def _ancestors(self, place: Place, checkpoint_id: str) -> Iterator[LoadedCheckpoint]:
        """Load the ancestors of a checkpoint, or of the latest one if the id is "", nearest first."""
        try:
            target = self._lookups.load(place, checkpoint_id)
        except MISSING:
            return
        parent_id = target.info.parent_id
        if not parent_id:
            return
        try:
            for loaded in self._client.history(
                self._namespace, place.workflow_id, formats=ACCEPTED, before=target.checkpoint_id, records=True
            ):
                if loaded.checkpoint_id == parent_id:
                    yield loaded
                    parent_id = loaded.info.parent_id
                    if not parent_id:
                        return
        except CheckpointDeletedError:
            # Any checkpoint of the history may have been deleted, not only an ancestor.
            pass
        # The history does not contain the parent: it was saved again after its child, or it does not exist.
        lineage = Lineage()
        while parent_id:
            lineage.require_new(parent_id)
            try:
                loaded = self._lookups.load(place, decoded(parent_id))
            except MISSING:
                return
            yield loaded
            parent_id = loaded.info.parent_id


def _skip(unread: _Errors, error: HoldfastError) -> None:
    _log.warning("left out of a list: %s", error)
    unread.append(error)


def _id(loaded: LoadedCheckpoint) -> str:
    return decoded(loaded.checkpoint_id)


def _has_id(loaded: LoadedCheckpoint, query: ListQuery) -> bool:
    """Return whether a checkpoint's id is one that the query asks for."""
    own = _id(loaded)
    return query.checkpoint_id in ("", own) and (not query.before or own < query.before)
