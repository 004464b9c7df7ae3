"""Import threads from a saver, and export them to one."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from holdfast.adapters.langgraph.lookups import AsyncLookups
from holdfast.adapters.langgraph.moving.exact import exact
from holdfast.adapters.langgraph.moving.holdfast import HoldfastSide
from holdfast.adapters.langgraph.moving.savers import SaverSide
from holdfast.adapters.langgraph.moving.threads import Source, Target, move
from holdfast.moving import Item, Progress, Report, move_each

if TYPE_CHECKING:
    from holdfast.adapters.langgraph.saver import HoldfastSaver


async def import_threads(
    source: Any,
    saver: "HoldfastSaver",
    *,
    threads: Iterable[str] | None = None,
    prefix: str = "",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import threads of another saver: checkpoints of all namespaces, forks, pending writes and metadata.

    Each checkpoint is loaded again from both savers and compared. A repeated import continues where the one before has
    ended, and brings what the source has got since. A thread that fails is reported, and the next one follows.

    Args:
        source: the saver to read, open. It is only read.
        saver: the saver to write to, opened with `async with`.
        threads: the ids of the threads; None for all.
        prefix: only threads whose ids begin with this.
        dry_run: read, check and count, but write nothing.
        progress: called as a thread grows, and once when it is finished.

    Returns:
        The counts of checkpoints, and the threads that were not imported, each with the reason.

    Raises:
        SourceError: the source cannot be listed.
        HoldfastError: a subclass for each reason, if the server cannot be used. Problems of one thread are reported.

    """
    return await moved(SaverSide(source), _side(saver), threads, prefix, is_dry_run=dry_run, progress=progress)


async def export_threads(
    saver: "HoldfastSaver",
    target: Any,
    *,
    threads: Iterable[str] | None = None,
    prefix: str = "",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Export threads to another saver, as `import_threads` imports them.

    Args:
        saver: the saver to read, opened with `async with`.
        target: the saver to write to, open and set up.
        threads: the ids of the threads; None for all.
        prefix: only threads whose ids begin with this.
        dry_run: read, check and count, but write nothing.
        progress: called as a thread grows, and once when it is finished.

    Returns:
        The counts of checkpoints, and the threads that were not exported, each with the reason.

    Raises:
        SourceError: the target cannot be listed.
        HoldfastError: a subclass for each reason, if the server cannot be used. Problems of one thread are reported.

    """
    return await moved(_side(saver), SaverSide(target), threads, prefix, is_dry_run=dry_run, progress=progress)


async def moved(
    source: Source,
    target: Target,
    threads: Iterable[str] | None,
    prefix: str,
    *,
    is_dry_run: bool,
    progress: Progress | None,
) -> Report:
    """Move threads from one side to the other.

    Args:
        source: the side to read.
        target: the side to write to.
        threads: the ids of the threads; None for all.
        prefix: only threads whose ids begin with this.
        is_dry_run: whether to write nothing.
        progress: called as a thread grows, and once when it is finished.

    Raises:
        SourceError: the other store cannot be listed.
        HoldfastError: a call failed for another reason than the thread's.

    """

    async def move_one(item: Item) -> None:
        await move(item, source, target, is_dry_run=is_dry_run)

    names = source.threads(prefix) if threads is None else _given(threads, prefix)
    return await move_each(names, move_one, progress)


def side_of(lookups: AsyncLookups) -> HoldfastSide:
    """Return a namespace of Holdfast as one side of a move, whose values are kept as they are."""
    return HoldfastSide(replace(lookups, serde=exact(lookups.serde), fallback=False, is_exclusive=False))


def _side(saver: "HoldfastSaver") -> HoldfastSide:
    return side_of(saver._async_lookups)  # noqa: SLF001 - a part of the same package


async def _given(threads: Iterable[str], prefix: str) -> AsyncIterator[str]:
    for thread_id in dict.fromkeys(threads):
        if thread_id.startswith(prefix):
            yield thread_id
