"""The workflows of a namespace or of the whole store, found by skipping from one to the next in key order."""

import base64
import binascii
from collections.abc import AsyncGenerator, Callable, Sequence, Set
from contextlib import aclosing
from dataclasses import dataclass

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import (
    AFTER_ALL,
    WorkflowKeys,
    is_workflow_step,
    namespace_prefix,
    prefixes_of,
    workflow_of,
    workflow_prefix,
)
from holdfast_server.protocol.log import next_marker, revisions
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.base import ObjectStore, ObjectSummary, StoreDamagedError

_PAGE_ENTRIES = 1000
# For one page: if few of the ids replaced by digests have a prefix, one call must not read all of them.
_MAX_EXAMINED = 2000
# A name in a key has at most 200 letters; base64 makes 4 of 3.
_LONGEST_TOKEN = 280


# Called with a workflow's prefix, the revision of a marker, and why the marker cannot be read.
Unreadable = Callable[[str, int, HoldfastError], None]


def _pass_over(prefix: str, revision: int, error: HoldfastError) -> None:
    """Ignore a marker that cannot be read."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some workflows.

    Attributes:
        heads: the newest entry of each that can be read.
        next_token: the token of the next page; "" if there is none.
        damaged: the prefixes of those whose newest entry cannot be read, and of workflows without any.

    """

    heads: tuple[Entry, ...]
    next_token: str
    damaged: Set[str]


async def page(log: Log, namespace: str, token: str, size: int, id_prefix: str = "") -> Page:
    """Return a page of the workflows of a namespace that have a log.

    The remains of a save that was never committed are not a log. A workflow with a head that is damaged, or written by
    a newer server, is listed by the newest entry that can be read; if there is none, it is left out.

    Args:
        log: the log.
        namespace: the namespace.
        token: the token of the page; "" for the first one.
        size: how many workflows at most; fewer if many others were examined.
        id_prefix: what the ids of the workflows begin with.

    Raises:
        HoldfastError: INVALID_REQUEST: the token was not issued by a server.

    """
    heads: list[Entry] = []
    damaged: set[str] = set()
    examined = 0

    def note(prefix: str, revision: int, error: HoldfastError) -> None:
        damaged.add(prefix)

    walked = walk(log, namespace, token, includes_it=False, id_prefix=id_prefix, on_unreadable=note)
    async with aclosing(walked) as found:
        async for position, head in found:
            examined += 1
            if head.keys.workflow_id.startswith(id_prefix):
                heads.append(head)
            if len(heads) == size or examined == _MAX_EXAMINED:
                return Page(tuple(heads), position, damaged)
    return Page(tuple(heads), "", damaged)


async def walk(
    log: Log,
    namespace: str,
    token: str = "",
    *,
    includes_it: bool = True,
    id_prefix: str = "",
    on_unreadable: Unreadable = _pass_over,
) -> AsyncGenerator[tuple[str, Entry]]:
    """Yield the heads of the workflows that have a log, as in `page`, each with the token of its place.

    Args:
        log: the log.
        namespace: the namespace.
        token: where to begin; "" for the start.
        includes_it: whether to begin with the workflow of the token or with the next one.
        id_prefix: what the ids of the workflows begin with. Ids that are replaced by digests are not checked.
        on_unreadable: called with each marker that is skipped because it cannot be read.

    Raises:
        HoldfastError: INVALID_REQUEST: the token was not issued by a server.

    """
    first = prefix_of(namespace, token) if token else ""
    async with aclosing(_from(log.store, first, includes_it, prefixes_of(namespace, id_prefix))) as found:
        async for prefix in found:
            head = await newest_readable(log, prefix, on_unreadable)
            if head is not None and not next_marker.is_unborn(head):
                yield token_of(prefix), head


async def _from(store: ObjectStore, first: str, includes_it: bool, places: Sequence[str]) -> AsyncGenerator[str]:
    if first and includes_it:
        yield first
    for place in places:
        async with aclosing(prefixes(store, place, after=first)) as found:
            async for prefix in found:
                yield prefix


async def prefixes(
    store: ObjectStore, below: str, *, after: str = "", on_foreign: Callable[[str], None] = lambda key: None
) -> AsyncGenerator[str]:
    """Yield the prefixes of workflows, in key order, each once.

    Args:
        store: the store.
        below: what the prefixes begin with.
        after: the prefix after which to begin; "" for the start.
        on_foreign: called with the key of each object that belongs to no workflow.

    """
    position = f"{after}{AFTER_ALL}" if after else ""
    last, limit = after, 1
    while found := await listed(store, below, position, limit):
        # A foreign object is mostly not the only one.
        limit = _PAGE_ENTRIES
        for each in found:
            position = each.key
            prefix = workflow_prefix(each.key)
            if prefix is None:
                on_foreign(each.key)
            # The key of a foreign object may sort even after AFTER_ALL.
            elif prefix != last:
                yield prefix
                position, last, limit = f"{prefix}{AFTER_ALL}", prefix, 1
                break


async def listed(store: ObjectStore, below: str, position: str, limit: int) -> Sequence[ObjectSummary]:
    """List objects after a position. Objects that a damaged page hides are left out.

    A workflow without a readable marker is left out as well.
    """
    try:
        return await store.list(below, start_after=position, limit=limit)
    except StoreDamagedError as error:
        if error.listed or error.resume_at is None:
            return error.listed
        # A workflow may have more objects in the damaged page, but none before it.
        return [ObjectSummary(error.resume_at, 0, 0.0)]


async def owner_of(log: Log, prefix: str) -> WorkflowKeys | None:
    """Return the workflow with a prefix, by its keys or by any marker that can be read.

    Return None if its name is not known: a digest replaces it in the keys, and no marker of the log can be read.
    """
    known = workflow_of(prefix)
    if known is not None:
        return known
    readable = await newest_readable(log, prefix)
    return None if readable is None else readable.keys


async def newest_readable(log: Log, prefix: str, on_unreadable: Unreadable = _pass_over) -> Entry | None:
    """Return the newest entry that can be read of the workflow with a prefix; None if there is none.

    Args:
        log: the log.
        prefix: the prefix.
        on_unreadable: called with the markers above it, which are damaged or written by a newer server; with revision
            0 if the store cannot list them.

    """
    try:
        return await _newest_readable(log, prefix, on_unreadable)
    except HoldfastError as error:
        # Of a listing, whose error has the key of the log. Damaged markers do not end the search.
        if error.metadata.get("key") != f"{prefix}log/":
            raise
        on_unreadable(prefix, 0, error)
        return None


async def _newest_readable(log: Log, prefix: str, on_unreadable: Unreadable) -> Entry | None:
    collected = 0
    while True:
        async with aclosing(revisions.listed(log.store, f"{prefix}log/", first_page=1)) as found:
            async for each, revision in found:
                try:
                    entry = await log.read_at(each.key)
                except HoldfastError as error:
                    if error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED):
                        raise
                    on_unreadable(prefix, revision, error)
                    continue
                if entry is not None:
                    return entry
                # It was collected after the listing, so that a newer one exists. If listed again, it is damaged.
                if revision != collected:
                    collected = revision
                    break
            else:
                return None


def token_of(prefix: str) -> str:
    """Return the page token for the workflow with a prefix."""
    return _encode_token(prefix.rstrip("/").rpartition("/")[2] + "/")


def prefix_of(namespace: str, token: str) -> str:
    """Return the prefix of the workflow that a page token stands for.

    Raises:
        HoldfastError: INVALID_REQUEST: the token was not issued by a server.

    """
    return namespace_prefix(namespace) + _decode_token(token)


def _encode_token(step: str) -> str:
    return base64.urlsafe_b64encode(f"{step}{AFTER_ALL}".encode()).decode()


def _decode_token(token: str) -> str:
    """Return the last step of the prefix of the workflow that the previous page ended with."""
    try:
        position = base64.b64decode(token[: _LONGEST_TOKEN + 1].encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        position = ""
    step = position.removesuffix(AFTER_ALL)
    if len(token) > _LONGEST_TOKEN or step == position or not is_workflow_step(step):
        raise HoldfastError(Reason.INVALID_REQUEST, "page_token: not issued by this server", field="page_token")
    return step
