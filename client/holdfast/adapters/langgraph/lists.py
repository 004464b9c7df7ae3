"""Lists of checkpoints, and the ancestors of one."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeAlias

from holdfast._async import runtime
from holdfast._core.checkpoint import LoadedCheckpoint
from holdfast._core.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    FormatIncompatibleError,
    HoldfastError,
    WorkflowNotFoundError,
)
from holdfast.adapters.langgraph import contents
from holdfast.adapters.langgraph.contents import ACCEPTED, PLACE, Wanted
from holdfast.adapters.langgraph.known import is_mixed
from holdfast.adapters.langgraph.lookups import MISSING, AsyncLookups
from holdfast.adapters.langgraph.names import Place, decoded, encoded, place_of

_LARGEST_PAGE = 1000
_UNREADABLE = (CheckpointCorruptedError, FormatIncompatibleError)
# The errors of what could not be read, in the order of the list.
_Errors: TypeAlias = list[HoldfastError]

_log = logging.getLogger(__name__)


class AsyncLists(AsyncLookups):
    """Lists and histories."""

    async def list(self, wanted: Wanted) -> AsyncIterator[Any]:
        """Checkpoints with their writes: a namespace after the other, the largest id first in each.

        One that cannot be read is logged in its place, where it counts towards the limit; its error comes after all
        others.

        Raises:
            CheckpointCorruptedError, FormatIncompatibleError: the first one that cannot be read, at the end; never
                with `fallback`.

        """
        unread: list[HoldfastError] = []
        told = 0
        if wanted.limit is not None and wanted.limit <= 0:
            return
        async for place, loaded in self._candidates(wanted, unread):
            if wanted.limit is not None and told + len(unread) >= wanted.limit:
                break
            try:
                metadata = await runtime.in_thread(contents.unpack_metadata, self.serde, loaded)
                if not contents.matches(metadata, wanted.metadata):
                    continue
                found = await runtime.in_thread(contents.unpack, self.serde, place, loaded)
            except _UNREADABLE as error:
                _pass_over(unread, error)
                continue
            yield found
            told += 1
            if told == wanted.limit:
                break
        if unread and not self.fallback:
            raise unread[0]

    async def delta_history(self, place: Place, checkpoint_id: str, channels: Sequence[str]) -> Mapping[str, Any]:
        """What the ancestors of a checkpoint hold of channels, as LangGraph's `get_delta_channel_history` has it."""
        found: dict[str, list[Any]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        async for ancestor in self._ancestors(place, checkpoint_id):
            left = [channel for channel in channels if channel not in seeds]
            unpacked = await runtime.in_thread(contents.unpack, self.serde, place, ancestor)
            for write in reversed(unpacked.pending_writes):
                if write[1] in left:
                    found[write[1]].append(write)
            values = unpacked.checkpoint["channel_values"]
            seeds |= {channel: values[channel] for channel in left if channel in values}
            if len(seeds) == len(found):
                break
        return {
            channel: {"writes": found[channel][::-1], **({"seed": seeds[channel]} if channel in seeds else {})}
            for channel in channels
        }

    async def _candidates(self, wanted: Wanted, unread: _Errors) -> AsyncIterator[tuple[Place, LoadedCheckpoint]]:
        """The checkpoints of a list, and those that only their metadata keeps out; damage is entered in `unread`."""
        if wanted.thread_id is None:
            async for place, loaded in self._everywhere(wanted, unread):
                yield place, loaded
            return
        if wanted.checkpoint_ns is not None:
            places: Sequence[Place] = [Place(wanted.thread_id, wanted.checkpoint_ns)]
        else:
            places = await self.places(wanted.thread_id)
        for place in places:
            try:
                async for loaded in self._within(place, wanted, unread):
                    yield place, loaded
            except WorkflowNotFoundError:
                continue

    async def _everywhere(self, wanted: Wanted, unread: _Errors) -> AsyncIterator[tuple[Place, LoadedCheckpoint]]:
        async for loaded in self._sorted(self._history("", wanted, "", unread)):
            place = place_of(loaded.info.workflow_id, loaded.parts.get(PLACE))
            if place is not None and _is_wanted(loaded, wanted):
                yield place, loaded

    async def _within(self, place: Place, wanted: Wanted, unread: _Errors) -> AsyncIterator[LoadedCheckpoint]:
        if wanted.checkpoint_id:
            try:
                loaded = await self.load(place, wanted.checkpoint_id)
            except MISSING:
                return
            if _is_wanted(loaded, wanted):
                yield loaded
            return
        before = await self._before(place.workflow_id, wanted.before) if wanted.before else ""
        async for loaded in self._sorted(self._history(place.workflow_id, wanted, before, unread)):
            if _is_wanted(loaded, wanted):
                yield loaded

    async def _before(self, workflow_id: str, wanted: str) -> str:
        """What the server may leave out: all that is newer than a checkpoint, if it exists and ids have their order."""
        try:
            newest = await self.newest(workflow_id)
            is_ordered = newest is not None and not is_mixed(newest.labels)
            return encoded(wanted) if is_ordered and await self.exists(workflow_id, wanted) else ""
        except CheckpointCorruptedError:
            return ""

    async def _history(
        self, workflow_id: str, wanted: Wanted, before: str, unread: _Errors
    ) -> AsyncIterator[LoadedCheckpoint]:
        """The checkpoints of a workflow, or with "" of all, the newest first; damage is entered in `unread`."""
        chosen: Any = {"labels": contents.labels_of(wanted.metadata), "formats": ACCEPTED, "before": before}
        # What only a look at the metadata can tell, or at ids, is asked for in larger pages than are wanted.
        is_exact = not wanted.metadata and (before or not wanted.before)
        page_size = min(wanted.limit or 0, _LARGEST_PAGE) if is_exact else 0
        begun: dict[str, int] = {}
        latest = ""
        try:
            async for loaded in self.client.history(
                self.namespace, workflow_id, **chosen, records=True, page_size=page_size
            ):
                latest = loaded.info.workflow_id
                begun[latest] = loaded.revision
                yield loaded
            return
        except CheckpointCorruptedError as error:
            damage = error
        # Those that are left, one by one, so that the damaged one is met alone.
        met = len(unread)
        async for info in self.client.list(self.namespace, workflow_id, **chosen, page_size=_LARGEST_PAGE):
            is_told = info.workflow_id in begun and (info.workflow_id != latest or info.revision >= begun[latest])
            try:
                if not is_told:
                    yield await self.client.load(
                        self.namespace, info.workflow_id, info.checkpoint_id, accepted_formats=ACCEPTED, records=True
                    )
            except CheckpointCorruptedError as error:
                _pass_over(unread, error)
            except MISSING:
                continue
        if len(unread) == met:
            # A commit marker, which a list passes over, since nobody knows what it told.
            _pass_over(unread, damage)

    async def _sorted(self, found: AsyncIterator[LoadedCheckpoint]) -> AsyncIterator[LoadedCheckpoint]:
        """By descending ids in each workflow: only those behind a labelled one have to be waited for."""
        held: list[LoadedCheckpoint] = []
        async for loaded in found:
            if held and loaded.info.workflow_id != held[0].info.workflow_id:
                for each in sorted(held, key=_id, reverse=True):
                    yield each
                held = []
            if held or is_mixed(loaded.info.labels):
                held.append(loaded)
            else:
                yield loaded
        for each in sorted(held, key=_id, reverse=True):
            yield each

    async def _ancestors(self, place: Place, checkpoint_id: str) -> AsyncIterator[LoadedCheckpoint]:
        """The ancestors of a checkpoint, or with "" of the latest, nearest first."""
        try:
            target = await self.load(place, checkpoint_id)
        except MISSING:
            return
        parent_id = target.info.parent_id
        if not parent_id:
            return
        try:
            async for loaded in self.client.history(
                self.namespace, place.workflow_id, formats=ACCEPTED, before=target.checkpoint_id, records=True
            ):
                if loaded.checkpoint_id == parent_id:
                    yield loaded
                    parent_id = loaded.info.parent_id
                    if not parent_id:
                        return
        except CheckpointDeletedError:
            # One of them, not always an ancestor.
            pass
        # One that was saved anew after its child; or there is none.
        while parent_id:
            try:
                loaded = await self.load(place, decoded(parent_id))
            except MISSING:
                return
            yield loaded
            parent_id = loaded.info.parent_id


def _pass_over(unread: _Errors, error: HoldfastError) -> None:
    _log.warning("left out of a list: %s", error)
    unread.append(error)


def _id(loaded: LoadedCheckpoint) -> str:
    return decoded(loaded.checkpoint_id)


def _is_wanted(loaded: LoadedCheckpoint, wanted: Wanted) -> bool:
    """Whether its id is one of those that a list holds."""
    own = _id(loaded)
    return wanted.checkpoint_id in ("", own) and (not wanted.before or own < wanted.before)
