"""The workflows of a namespace or of the whole store, found by skipping from one to the next in key order."""

import base64
import binascii
from collections.abc import AsyncGenerator, Callable, Sequence
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
from holdfast_server.stores.base import ObjectStore

_PAGE_ENTRIES = 1000
# For one page: a prefix that few ids behind digests have must not have a call read them all.
_LOOKED_AT_MOST = 2000
# A name in a key has at most 200 letters; base64 makes 4 of 3.
_LONGEST_TOKEN = 280


# Told a workflow's prefix, the revision of a marker, and why that cannot be read.
Unreadable = Callable[[str, int, HoldfastError], None]


def _pass_over(prefix: str, revision: int, error: HoldfastError) -> None:
    """Nobody asks."""


@dataclass(frozen=True, slots=True)
class Page:
    """Heads of workflows, and the token of the next page, "" for none."""

    heads: tuple[Entry, ...]
    next_token: str


async def page(log: Log, namespace: str, token: str, size: int, id_prefix: str = "") -> Page:
    """A page of workflows that have a log. What a save that never committed left behind is none.

    A workflow whose newest marker is damaged, or a newer server's, is told by the newest one that can be read, without
    any not at all.

    Args:
        log: the log.
        namespace: the namespace.
        token: that of the page before, "" for the first.
        size: how many workflows at most; fewer where many others were passed over.
        id_prefix: what the ids of the workflows begin with.

    Raises:
        HoldfastError: INVALID_REQUEST for a token that is none.

    """
    heads: list[Entry] = []
    looked_at = 0
    async with aclosing(walk(log, namespace, token, includes_it=False, id_prefix=id_prefix)) as found:
        async for position, head in found:
            looked_at += 1
            if head.keys.workflow_id.startswith(id_prefix):
                heads.append(head)
            if len(heads) == size or looked_at == _LOOKED_AT_MOST:
                return Page(tuple(heads), position)
    return Page(tuple(heads), "")


async def walk(
    log: Log,
    namespace: str,
    token: str = "",
    *,
    includes_it: bool = True,
    id_prefix: str = "",
    on_unreadable: Unreadable = _pass_over,
) -> AsyncGenerator[tuple[str, Entry]]:
    """The heads of the workflows that have a log, as `page` tells them, each with the token of its place.

    Args:
        log: the log.
        namespace: the namespace.
        token: where to begin, "" for the start.
        includes_it: whether the workflow of the token is one of them.
        id_prefix: what the ids of the workflows begin with; those behind digests may have others too.
        on_unreadable: told the markers that were passed over because they cannot be read.

    Raises:
        HoldfastError: INVALID_REQUEST for a token that is none.

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
            async for each in found:
                yield each


async def prefixes(
    store: ObjectStore, below: str, *, after: str = "", on_foreign: Callable[[str], None] = lambda key: None
) -> AsyncGenerator[str]:
    """The prefixes of workflows, in key order, each once.

    Args:
        store: where they lie.
        below: where to look, a prefix of theirs.
        after: the one behind which to begin, "" for the start.
        on_foreign: told the key of each object that belongs to no workflow.

    """
    position = f"{after}{AFTER_ALL}" if after else ""
    last, limit = after, 1
    while listed := await store.list(below, start_after=position, limit=limit):
        # Where foreign objects lie, so do others.
        limit = _PAGE_ENTRIES
        for each in listed:
            position = each.key
            prefix = workflow_prefix(each.key)
            if prefix is None:
                on_foreign(each.key)
            # A foreign object may lie even behind what is behind all of ours.
            elif prefix != last:
                yield prefix
                position, last, limit = f"{prefix}{AFTER_ALL}", prefix, 1
                break


async def owner_of(log: Log, prefix: str) -> WorkflowKeys | None:
    """The workflow with a prefix, by its keys or by any marker that can be read.

    None where nothing tells its name: it is a long one, and no marker of the log can be read.
    """
    known = workflow_of(prefix)
    if known is not None:
        return known
    readable = await newest_readable(log, prefix)
    return None if readable is None else readable.keys


async def newest_readable(log: Log, prefix: str, on_unreadable: Unreadable = _pass_over) -> Entry | None:
    """The newest entry that can be read of the workflow with a prefix; None where there is none.

    Args:
        log: the log.
        prefix: the prefix.
        on_unreadable: told the markers above it, which are damaged or a newer server's.

    """
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
                # Collected since it was listed, so a newer one exists; else it can be listed but not read.
                if revision != collected:
                    collected = revision
                    break
            else:
                return None


def token_of(prefix: str) -> str:
    """The token of the place of a workflow, by its prefix."""
    return _encode_token(prefix.rstrip("/").rpartition("/")[2] + "/")


def prefix_of(namespace: str, token: str) -> str:
    """The prefix of the workflow that a token tells.

    Raises:
        HoldfastError: INVALID_REQUEST: the token is none.

    """
    return namespace_prefix(namespace) + _decode_token(token)


def _encode_token(step: str) -> str:
    return base64.urlsafe_b64encode(f"{step}{AFTER_ALL}".encode()).decode()


def _decode_token(token: str) -> str:
    """What stands behind the prefix of a namespace in that of the workflow that the page before ended with."""
    try:
        position = base64.b64decode(token[: _LONGEST_TOKEN + 1].encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        position = ""
    step = position.removesuffix(AFTER_ALL)
    if len(token) > _LONGEST_TOKEN or step == position or not is_workflow_step(step):
        raise HoldfastError(Reason.INVALID_REQUEST, "page_token: is none that this server gave", field="page_token")
    return step
