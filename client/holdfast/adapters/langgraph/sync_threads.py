# Generated from holdfast/adapters/langgraph/threads.py by tools/async_to_sync.py; do not edit.
"""The threads of LangGraph in Holdfast: what the saver's methods come to in calls of the client."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast import _sync as runtime
from holdfast.adapters.langgraph import contents
from holdfast.adapters.langgraph.contents import ACCEPTED, FORMAT, MIXED, NEEDS_PARENT, Wanted
from holdfast.adapters.langgraph.known import Known, Order
from holdfast.adapters.langgraph.names import Place, decoded, encoded, index_of, names_of, place_of
from holdfast.checkpoint import AcceptedFormat, Checkpoint, Format, LoadedCheckpoint
from holdfast.errors import CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError, of_reason
from holdfast.sync.client import Client

_NAMES_FORMAT = Format("langgraph-names", 1)
_NAMES_ACCEPTED = (AcceptedFormat(_NAMES_FORMAT.name, 1, _NAMES_FORMAT.version),)
_MISSING = (CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError)
_LARGEST_PAGE = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Threads:
    """The threads of a namespace.

    Attributes:
        client: an open client.
        namespace: the namespace.
        serde: the serializer.
        known: the orders of workflows.
        fallback: whether damage of a latest checkpoint is answered with an older one.

    """

    client: Client
    namespace: str
    serde: Any
    known: Known
    fallback: bool

    def get(self, place: Place, checkpoint_id: str) -> Any:
        """A checkpoint, or with "" the latest; None where it does not exist."""
        try:
            loaded = self._load(place, checkpoint_id) if checkpoint_id else self._load_latest(place)
        except _MISSING:
            if not checkpoint_id:
                self.known.put(place.workflow_id, Order())
            return None
        return runtime.in_thread(contents.unpack, self.serde, place, loaded)

    def list(self, wanted: Wanted) -> Iterator[Any]:
        """Checkpoints with their writes: a namespace after the other, the largest id first in each."""
        left = wanted.limit
        if left is not None and left <= 0:
            return
        for place, loaded in self._candidates(wanted):
            metadata = runtime.in_thread(contents.unpack_metadata, self.serde, loaded)
            if not contents.matches(metadata, wanted.metadata):
                continue
            yield runtime.in_thread(contents.unpack, self.serde, place, loaded)
            if left is not None:
                left -= 1
                if not left:
                    return

    def put(self, place: Place, config: Any, checkpoint: Any, metadata: Any) -> None:
        """Save a checkpoint."""
        packed = runtime.in_thread(contents.pack, self.serde, config, checkpoint, metadata)
        workflow_id, checkpoint_id = place.workflow_id, checkpoint["id"]
        order = self._order(workflow_id)
        if not order.largest_id:
            self._introduce(place)
        labels = {**packed.labels, MIXED: "1"} if order.mixes(checkpoint_id) else packed.labels
        try:
            self._save(workflow_id, packed, labels, needs_parent=packed.needs_parent)
        except (CheckpointDeletedError, CheckpointNotFoundError):
            # Its parent was deleted, which nothing can bring back.
            self._save(workflow_id, packed, labels, needs_parent=False)
        self.known.put(workflow_id, order.with_id(checkpoint_id))

    def put_writes(
        self, place: Place, checkpoint_id: str, given: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        """Attach a task's writes to a checkpoint."""
        if not given:
            return
        packed = runtime.in_thread(contents.pack_writes, self.serde, given, task_id, task_path)
        workflow_id, name = place.workflow_id, encoded(checkpoint_id)
        if packed.chunks:
            self.client.attach(self.namespace, workflow_id, name, packed.chunks)
        self.client.attach(self.namespace, workflow_id, name, packed.heads)

    def delete_thread(self, thread_id: str) -> None:
        """Delete all that there is of a thread."""
        for place in self._places(thread_id):
            self._delete(place.workflow_id)
            names = names_of(place.workflow_id)
            if names is not None:
                self._delete(names)
        # Last, so that who goes on with a deletion that broke still finds the namespaces.
        self._delete(index_of(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, in every thread."""
        for run_id in run_ids:
            labels = contents.labels_of({"run_id": run_id})
            self.client.delete_checkpoints(self.namespace, labels=labels, formats=ACCEPTED)

    def copy_thread(self, source_id: str, target_id: str) -> None:
        """Copy all that there is of a thread to one that has nothing.

        Raises:
            RevisionConflictError: it has something.

        """
        for place in self._places(target_id):
            if self._newest(place.workflow_id) is not None:
                raise of_reason("REVISION_CONFLICT", f"thread {target_id!r} has checkpoints")
        for place in self._places(source_id):
            target = place._replace(thread_id=target_id)
            if self._newest(place.workflow_id) is None:
                continue
            self._introduce(target)
            self.client.copy_workflow(self.namespace, place.workflow_id, target.workflow_id)
            self.known.forget(target.workflow_id)

    def prune(self, thread_id: str) -> None:
        """Delete all but the latest checkpoint of each namespace, and what it needs."""
        for place in self._places(thread_id):
            newest = self._newest(place.workflow_id)
            if newest is None:
                continue
            if MIXED in newest.labels:
                self._prune_mixed(place.workflow_id)
            else:
                self.client.prune(self.namespace, place.workflow_id, keep_last=1)

    def delta_history(self, place: Place, checkpoint_id: str, channels: Sequence[str]) -> Mapping[str, Any]:
        """What the ancestors of a checkpoint hold of channels, as LangGraph's `get_delta_channel_history` has it."""
        found: dict[str, list[Any]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        for ancestor in self._ancestors(place, checkpoint_id):
            left = [channel for channel in channels if channel not in seeds]
            unpacked = runtime.in_thread(contents.unpack, self.serde, place, ancestor)
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

    def _load(self, place: Place, checkpoint_id: str) -> LoadedCheckpoint:
        return self.client.load(
            self.namespace, place.workflow_id, encoded(checkpoint_id), accepted_formats=ACCEPTED, records=True
        )

    def _load_latest(self, place: Place, checkpoint_id: str | None = None) -> LoadedCheckpoint:
        """The latest checkpoint; where its id is known, that one, or with fallback an older one."""
        loaded = self.client.load(
            self.namespace,
            place.workflow_id,
            checkpoint_id,
            accepted_formats=ACCEPTED,
            fallback=self.fallback,
            records=True,
        )
        if loaded.fell_back:
            reasons = ", ".join(f"{each.checkpoint_id or each.revision}: {each.reason}" for each in loaded.skipped)
            _log.warning("thread %r: fell back to checkpoint %s (%s)", place.thread_id, loaded.checkpoint_id, reasons)
        if checkpoint_id is not None:
            return loaded
        order = Order(decoded(loaded.checkpoint_id), MIXED in loaded.info.labels)
        if order.is_mixed:
            largest = self._largest(place.workflow_id)
            if largest != loaded.checkpoint_id and not loaded.fell_back:
                loaded = self._load_latest(place, largest)
        self.known.put(place.workflow_id, order)
        return loaded

    def _largest(self, workflow_id: str) -> str:
        largest = ""
        for each in self.client.list(self.namespace, workflow_id, formats=ACCEPTED, ids_only=True):
            if decoded(each.checkpoint_id) >= decoded(largest):
                largest = each.checkpoint_id
        return largest

    def _newest(self, workflow_id: str) -> Checkpoint | None:
        """The checkpoint that was saved last; None where there is none."""
        try:
            for newest in self.client.list(self.namespace, workflow_id, page_size=1):
                return newest
        except WorkflowNotFoundError:
            pass
        return None

    def _order(self, workflow_id: str) -> Order:
        known = self.known.get(workflow_id)
        if known is not None:
            return known
        newest = self._newest(workflow_id)
        return Order() if newest is None else Order(decoded(newest.checkpoint_id), MIXED in newest.labels)

    def _save(
        self, workflow_id: str, packed: contents.Contents, labels: Mapping[str, str], *, needs_parent: bool
    ) -> None:
        self.client.save(
            self.namespace,
            workflow_id,
            packed.parts,
            format=FORMAT,
            checkpoint_id=packed.checkpoint_id,
            parent_id=packed.parent_id,
            labels=labels,
            replace=True,
            needs_parent=needs_parent,
        )

    def _introduce(self, place: Place) -> None:
        """See to it that a namespace is found from its thread, and its names from its workflow."""
        names = names_of(place.workflow_id)
        told = [(index_of(place.thread_id), place.index_id)] if place.checkpoint_ns else []
        for workflow_id, checkpoint_id in [*told, (names, "names")] if names is not None else told:
            self.client.save(
                self.namespace,
                workflow_id,
                json.dumps(place).encode(),
                format=_NAMES_FORMAT,
                checkpoint_id=checkpoint_id,
                replace=True,
            )

    def _places(self, thread_id: str) -> Sequence[Place]:
        """The namespaces of a thread, "" first, which need not hold anything."""
        found = {Place(thread_id, "")}
        try:
            for each in self.client.history(self.namespace, index_of(thread_id), formats=_NAMES_ACCEPTED):
                found.add(Place(thread_id, json.loads(each.data)[1]))
        except WorkflowNotFoundError:
            pass
        return sorted(found)

    def _place(self, workflow_id: str) -> Place | None:
        """The place of a workflow; None where it was deleted in the meantime."""
        names = names_of(workflow_id)
        if names is None:
            return place_of(workflow_id)
        try:
            return Place(*json.loads((self.client.load(self.namespace, names)).data))
        except _MISSING:
            return None

    def _candidates(self, wanted: Wanted) -> Iterator[tuple[Place, LoadedCheckpoint]]:
        """The checkpoints of a list, and those that only their metadata keeps out."""
        if wanted.thread_id is None:
            for place, loaded in self._everywhere(wanted):
                yield place, loaded
            return
        if wanted.checkpoint_ns is not None:
            places: Sequence[Place] = [Place(wanted.thread_id, wanted.checkpoint_ns)]
        else:
            places = self._places(wanted.thread_id)
        for place in places:
            try:
                for loaded in self._within(place, wanted):
                    yield place, loaded
            except WorkflowNotFoundError:
                continue

    def _everywhere(self, wanted: Wanted) -> Iterator[tuple[Place, LoadedCheckpoint]]:
        place: Place | None = None
        workflow_id = ""
        for loaded in self._sorted(self._history("", wanted, "")):
            if loaded.info.workflow_id != workflow_id:
                workflow_id = loaded.info.workflow_id
                place = self._place(workflow_id)
            if place is not None and wanted.checkpoint_ns in (None, place.checkpoint_ns) and _is_wanted(loaded, wanted):
                yield place, loaded

    def _within(self, place: Place, wanted: Wanted) -> Iterator[LoadedCheckpoint]:
        if wanted.checkpoint_id:
            try:
                loaded = self._load(place, wanted.checkpoint_id)
            except _MISSING:
                return
            if _is_wanted(loaded, wanted):
                yield loaded
            return
        before = self._before(place.workflow_id, wanted.before) if wanted.before else ""
        for loaded in self._sorted(self._history(place.workflow_id, wanted, before)):
            if _is_wanted(loaded, wanted):
                yield loaded

    def _before(self, workflow_id: str, wanted: str) -> str:
        """What the server may leave out: all that is newer than a checkpoint, if it exists and ids have their order."""
        newest = self._newest(workflow_id)
        if newest is None or MIXED in newest.labels:
            return ""
        try:
            for _ in self.client.list(self.namespace, workflow_id, before=encoded(wanted), ids_only=True, page_size=1):
                break
        except _MISSING:
            return ""
        return encoded(wanted)

    def _history(self, workflow_id: str, wanted: Wanted, before: str) -> Iterator[LoadedCheckpoint]:
        labels = contents.labels_of(wanted.metadata)
        # What only a look at the metadata can tell, or at ids, is asked for in larger pages than are wanted.
        is_exact = not wanted.metadata and (before or not wanted.before)
        return self.client.history(
            self.namespace,
            workflow_id,
            labels=labels,
            formats=ACCEPTED,
            before=before,
            records=True,
            page_size=min(wanted.limit or 0, _LARGEST_PAGE) if is_exact else 0,
        )

    def _sorted(self, found: Iterator[LoadedCheckpoint]) -> Iterator[LoadedCheckpoint]:
        """By descending ids in each workflow: only those behind a labelled one have to be waited for."""
        held: list[LoadedCheckpoint] = []
        for loaded in found:
            if held and loaded.info.workflow_id != held[0].info.workflow_id:
                for each in sorted(held, key=_id, reverse=True):
                    yield each
                held = []
            if held or MIXED in loaded.info.labels:
                held.append(loaded)
            else:
                yield loaded
        for each in sorted(held, key=_id, reverse=True):
            yield each

    def _ancestors(self, place: Place, checkpoint_id: str) -> Iterator[LoadedCheckpoint]:
        """The ancestors of a checkpoint, or with "" of the latest, nearest first."""
        try:
            target = self._load(place, checkpoint_id) if checkpoint_id else self._load_latest(place)
        except _MISSING:
            return
        parent_id = target.info.parent_id
        if not parent_id:
            return
        try:
            for loaded in self.client.history(
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
                loaded = self._load(place, decoded(parent_id))
            except _MISSING:
                return
            yield loaded
            parent_id = loaded.info.parent_id

    def _prune_mixed(self, workflow_id: str) -> None:
        """As the server prunes, but for the order of ids."""
        found = {each.checkpoint_id: each for each in self.client.list(self.namespace, workflow_id)}
        kept = self._largest(workflow_id)
        stays = {kept}
        while kept in found and NEEDS_PARENT in found[kept].labels:
            kept = found[kept].parent_id
            stays.add(kept)
        for checkpoint_id in found.keys() - stays:
            self.client.delete(self.namespace, workflow_id, checkpoint_id)

    def _delete(self, workflow_id: str) -> None:
        self.known.forget(workflow_id)
        try:
            self.client.delete_workflow(self.namespace, workflow_id)
        except _MISSING:
            return


def _id(loaded: LoadedCheckpoint) -> str:
    return decoded(loaded.checkpoint_id)


def _is_wanted(loaded: LoadedCheckpoint, wanted: Wanted) -> bool:
    """Whether its id is one of those that a list holds."""
    own = _id(loaded)
    return wanted.checkpoint_id in ("", own) and (not wanted.before or own < wanted.before)
