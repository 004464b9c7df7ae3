"""The head that an operation on checkpoints begins with, and what it does once that head is out of date."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import revisions
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log

_Found = TypeVar("_Found")

_MOST_LOOKS = 100


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that was passed over, and why."""

    revision: int
    checkpoint_id: str
    error: HoldfastError


class OvertakenError(HoldfastError):
    """What a head has was deleted and collected since it was read; another look at the log tells what is there now."""


async def looked_at(look: Callable[[], Awaitable[_Found]]) -> _Found:
    """What a look at the log finds; where it was overtaken another one looks, which is enough but for a broken store.

    Raises:
        OvertakenError: all of many were overtaken.

    """
    for _ in range(_MOST_LOOKS - 1):
        with suppress(OvertakenError):
            return await look()
    return await look()


async def read_head(log: Log, keys: WorkflowKeys) -> Entry:
    """The head.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.

    """
    head = await log.head(keys)
    if head is None:
        raise no_workflow(keys)
    return head


async def head_or_skip(log: Log, keys: WorkflowKeys, skipped: list[Skipped]) -> Entry | None:
    """The head; where the newest marker is damaged, the newest older one that can be read.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, LAYOUT_UNSUPPORTED.

    """
    try:
        return await read_head(log, keys)
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
    # The newest one again: another writer may have gone on behind the damage.
    async for _, revision in revisions.listed(log.store, keys.log):
        try:
            entry = await log.read_unbounded(keys, revision)
        except HoldfastError as error:
            if error.reason is not Reason.CHECKPOINT_CORRUPTED:
                raise
            skipped.append(Skipped(revision, "", error))
            continue
        if entry is not None:
            return entry
    return None


def no_workflow(keys: WorkflowKeys) -> HoldfastError:
    """The error of a workflow without a log."""
    return HoldfastError(
        Reason.WORKFLOW_NOT_FOUND,
        f"nothing was ever saved for workflow {keys.workflow_id!r} in namespace {keys.namespace!r}",
    )


def deleted(checkpoint_id: str, kind: type[HoldfastError] = HoldfastError) -> HoldfastError:
    """The error of a checkpoint that was deleted."""
    return kind(Reason.CHECKPOINT_DELETED, f"checkpoint {checkpoint_id!r} was deleted", checkpoint_id=checkpoint_id)
