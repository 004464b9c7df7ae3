"""Checkpoint ids that callers choose. They are claimed before the commit; the log decides whether they are unique.

An id that its caller promises to be new is not claimed (`fresh_ids`), but noticed by every claimed one of its name.

A claim contains the revision after which to search for its id, so that no call reads the whole log for it. A claim
belongs to a generation: a collection that removes dead claims begins a new generation and copies the claims of live ids
into it, so that no key is used again after it may have been removed.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from holdfast_server.layout.v1.marker_pb2 import Claim
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.ids import revision_in
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.log import fresh_ids, next_marker, recent
from holdfast_server.protocol.log.append_once import Replay, Request
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.put_if_absent import put_if_absent
from holdfast_server.protocol.log.walks import walk_back
from holdfast_server.stores.base import ObjectNotFoundError

_TAKEN_OVER_AT_ONCE = 32


class ChosenId:
    """A checkpoint id that a caller chose: it is claimed, then searched for above the claim's base revision.

    Each revision is searched once, also if the commit is attempted several times.

    Args:
        log: the log.
        request: the request that claims it.
        checkpoint_id: the id.
        deadline: when to give up, in the event loop's time.

    """

    def __init__(self, log: Log, request: Request, checkpoint_id: str, deadline: float) -> None:
        self._log = log
        self._request = request
        self._checkpoint_id = checkpoint_id
        self._deadline = deadline
        # None before it is claimed.
        self._generation: int | None = None
        # The checkpoint with the id is above this revision, or not claimed.
        self._base = 0
        # No checkpoint up to this revision has the id.
        self._searched_to = 0

    async def claim(self, head: Entry | None) -> None:
        """Claim the id in the generation of a head, or take the base revision from the claim that exists.

        Raises:
            HoldfastError: COMMIT_UNKNOWN.

        """
        self._generation = 0 if head is None else head.marker.claim_generation
        self._base = await put_claim(
            self._log,
            self._request,
            self._checkpoint_id,
            generation=self._generation,
            base_revision=0 if head is None else head.revision,
            deadline=self._deadline,
        )

    async def find_replaced(
        self, head: Entry | None, fingerprint: bytes, *, replaces: bool, is_fresh: bool = False
    ) -> int:
        """Check that no checkpoint has the id, or that this save may replace the one that has it.

        Args:
            head: the head; None for an empty log.
            fingerprint: the digest of the save's content.
            replaces: whether it may replace a checkpoint.
            is_fresh: whether the caller's promise that the id is new is believed: it is not claimed, and searched for
                only among the recent entries of the head.

        Returns:
            The revision of the checkpoint that is replaced; 0 if there is none.

        Raises:
            Replay: a save with the same content has the id.
            HoldfastError: CHECKPOINT_ID_REUSED, CHECKPOINT_CORRUPTED.

        """
        if not is_fresh and self._generation != (0 if head is None else head.marker.claim_generation):
            await self.claim(head)
        if head is None:
            return 0
        found = await self._find_recent(head)
        if found is None and not is_fresh:
            found = await self._find(head)
            if found is None:
                self._searched_to = head.revision
        if found is None:
            return 0
        is_deleted = head.gone.is_deleted(found.revision)
        if replaces:
            # Also if the content is the same: the replaced checkpoint may be damaged.
            return 0 if is_deleted else found.revision
        if found.is_of_content(fingerprint) and not is_deleted:
            raise Replay(found)
        raise HoldfastError(
            Reason.CHECKPOINT_ID_REUSED,
            f"checkpoint id {self._checkpoint_id!r} belongs to revision {found.revision}, "
            "which has other content or was deleted",
            checkpoint_id=self._checkpoint_id,
            revision=found.revision,
        )

    async def _find_recent(self, head: Entry) -> Entry | None:
        for revision in recent.with_checkpoint(head.marker, self._checkpoint_id):
            entry = await self._log.read(self._request.keys, revision, head)
            if entry is not None and entry.is_save_of(self._checkpoint_id):
                return entry
        return None

    async def _find(self, head: Entry) -> Entry | None:
        """Find the id among the entries that the head does not remember."""
        keys, remembered = self._request.keys, recent.revisions(head.marker)
        above = self._searched_to or self._base
        is_known = bool(remembered) and remembered[-1] <= above + 1
        found = None
        if not self._searched_to and fresh_ids.has_any(head):
            found = await find_chosen(self._log, keys, head, self._checkpoint_id, self._base)
        elif not is_known:
            found = await search(self._log, keys, head, self._checkpoint_id, above)
        return found or await self._find_server_made(head)

    async def _find_server_made(self, head: Entry) -> Entry | None:
        """Return the checkpoint that got the id from a server before a caller chose the same id."""
        revision = revision_in(self._checkpoint_id) or 0
        entry = await self._log.read(self._request.keys, revision, head) if revision else None
        return entry if entry is not None and entry.marker.checkpoint_id == self._checkpoint_id else None


async def put_claim(
    log: Log, request: Request, checkpoint_id: str, *, generation: int, base_revision: int, deadline: float
) -> int:
    """Claim an id.

    Args:
        log: the log.
        request: the request that claims it.
        checkpoint_id: the id.
        generation: the generation that the claim belongs to.
        base_revision: the revision after which a checkpoint with the id can be found.
        deadline: when to give up, in the event loop's time.

    Returns:
        The base revision of the claim that is in place, which may be an earlier one.

    Raises:
        HoldfastError: COMMIT_UNKNOWN, LAYOUT_UNSUPPORTED.

    """
    claim = Claim(checkpoint_id=checkpoint_id, request_id=request.request_id, base_revision=base_revision)
    key = request.keys.claim(generation, checkpoint_id)
    frame = marker_codec.encode_claim(claim, key)
    try:
        found = await put_if_absent(log.store, key, frame, is_mine=lambda data: data == frame, deadline=deadline)
        return base_revision if found is None else marker_codec.decode_claim(found, key).base_revision
    except HoldfastError as error:
        return _base_of_damaged(error)


async def take_over(log: Log, request: Request, revisions: Iterable[int], *, generation: int, deadline: float) -> None:
    """Copy the claims of live checkpoints into a new generation, before the marker that begins it commits.

    Raises:
        HoldfastError: COMMIT_UNKNOWN, CHECKPOINT_CORRUPTED.

    """

    async def copy(revision: int) -> None:
        entry = await log.read_unbounded(request.keys, revision)
        if entry is not None:
            await put_claim(
                log,
                request,
                entry.marker.checkpoint_id,
                generation=generation,
                base_revision=revision - 1,
                deadline=deadline,
            )

    remaining = iter(revisions)
    while batch := list(islice(remaining, _TAKEN_OVER_AT_ONCE)):
        await asyncio.gather(*map(copy, batch))


async def read_claim(log: Log, keys: WorkflowKeys, checkpoint_id: str, *, generation: int) -> int | None:
    """Return the base revision in the claim of an id; None if the id is not claimed.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.

    """
    return await base_at(log, keys.claim(generation, checkpoint_id))


async def base_at(log: Log, key: str) -> int | None:
    """Return the base revision in the claim with a key; None if there is none. Raise as `read_claim` does."""
    try:
        return marker_codec.decode_claim(await read_whole(log.store, key), key).base_revision
    except ObjectNotFoundError:
        return None
    except HoldfastError as error:
        return _base_of_damaged(error)


async def check_claim(log: Log, key: str) -> None:
    """Check that a claim can be read, unless it does not exist.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    with suppress(ObjectNotFoundError):
        marker_codec.decode_claim(await read_whole(log.retried_store, key), key)


async def find_chosen(log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, base: int | None) -> Entry | None:
    """Return the newest checkpoint with an id that a caller chose, according to a head; None if there is none.

    Args:
        log: the log.
        keys: the workflow.
        head: the head.
        checkpoint_id: the id.
        base: the base revision of its claim; None if it is not claimed.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: a damaged marker may be the one with the id; LAYOUT_UNSUPPORTED.

    """
    marker = head.marker
    if not fresh_ids.has_any(head):
        return None if base is None else await search(log, keys, head, checkpoint_id, base)
    found = None
    if base is not None:
        found = await search(log, keys, head, checkpoint_id, max(base, marker.last_fresh_revision))
    found = found or await fresh_ids.find(log, keys, head, checkpoint_id)
    if found is None and base is not None:
        found = await search(log, keys, head, checkpoint_id, base, start=marker.indexed_from)
    return found


async def search(
    log: Log, keys: WorkflowKeys, head: Entry, checkpoint_id: str, base: int, *, start: int = MAX_REVISION
) -> Entry | None:
    """Return the newest checkpoint with an id above a base revision, according to a head; None if there is none.

    Args:
        log: the log.
        keys: the workflow.
        head: the head.
        checkpoint_id: the id.
        base: the base revision.
        start: the revision to start from, downwards, if it is below the head.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: a damaged marker may be the one with the id.

    """
    damage: HoldfastError | None = None
    async for (first, last), entry in walk_back(log, keys, head, base, start=start):
        if isinstance(entry, HoldfastError):
            if not await next_marker.is_gone_by_now(log, keys, last, head, first=first):
                damage = entry
        elif entry.is_save_of(checkpoint_id):
            return entry
    if damage is not None:
        raise damage
    return None


def _base_of_damaged(error: HoldfastError) -> int:
    """Return the base revision of a claim that is damaged: 0, since the id may be at any revision. Raise other errors.

    Raises:
        HoldfastError: the claim is not damaged.

    """
    if error.reason is not Reason.CHECKPOINT_CORRUPTED:
        raise error
    return 0
