"""The head that an operation on checkpoints begins with, and what it does once that head is out of date."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log import revisions
from holdfast_server.protocol.log.entry import Entry, name_head
from holdfast_server.protocol.log.log import Log

_Found = TypeVar("_Found")

_MOST_LOOKS = 100


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that was skipped, and why.

    Attributes:
        revision: its revision.
        checkpoint_id: its id; "" if it is not known.
        error: why it was skipped.

    """

    revision: int
    checkpoint_id: str
    error: HoldfastError


@dataclass(frozen=True, slots=True)
class NamedHead:
    """The head of a log, as an answer names it.

    Attributes:
        revision: its revision; 0 if the log is empty.
        digest: its digest; b"" if the log is empty or the head is damaged.

    """

    revision: int = 0
    digest: bytes = b""

    @classmethod
    def of(cls, readable: Entry | None, damaged: Sequence[Skipped] = ()) -> "NamedHead":
        """Return the head of a log.

        Args:
            readable: the newest entry that can be read; None if there is none.
            damaged: the damaged markers above it, newest first.

        """
        if damaged:
            return cls(damaged[0].revision)
        return NO_HEAD if readable is None else cls(readable.revision, readable.digest)


NO_HEAD = NamedHead()


class OvertakenError(HoldfastError):
    """An entry that was live according to a head was deleted since then; the call must begin again with a new head."""


async def retry_overtaken(look: Callable[[], Awaitable[_Found]]) -> _Found:
    """Return the result of `look`, which reads a head and depends on it. Call it again while it is overtaken.

    Raises:
        OvertakenError: a hundred calls were overtaken, which happens only with a broken store.

    """
    for _ in range(_MOST_LOOKS - 1):
        try:
            return await look()
        except OvertakenError:
            continue
    return await look()


class Looks:
    """How often a walk began again from one head. Whatever overtakes it has a newer head, or changes a marker once."""

    def __init__(self) -> None:
        self._revision = 0
        self._count = 0

    def again(self, head: Entry, overtaken: OvertakenError) -> None:
        """Note that the walk begins again, with a head that was read since.

        Raises:
            OvertakenError: the given one, if a hundred walks from this head were overtaken.

        """
        self._count = self._count + 1 if head.revision == self._revision else 1
        self._revision = head.revision
        if self._count == _MOST_LOOKS:
            raise overtaken


async def read_head(log: Log, keys: WorkflowKeys) -> Entry:
    """Return the head of a workflow.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, CHECKPOINT_CORRUPTED, LAYOUT_UNSUPPORTED.

    """
    head = await log.head(keys)
    if head is None:
        raise no_workflow(keys)
    return head


async def head_or_skip(log: Log, keys: WorkflowKeys, skipped: list[Skipped]) -> Entry | None:
    """Return the head, or the newest older entry if the head is damaged; None if no marker can be read.

    Args:
        log: the log.
        keys: the workflow.
        skipped: gets the damaged markers above the entry that is returned.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND, LAYOUT_UNSUPPORTED.

    """
    try:
        return await read_head(log, keys)
    except HoldfastError as error:
        if error.reason is not Reason.CHECKPOINT_CORRUPTED:
            raise
    # Including the newest marker: another server may have appended after the damaged one.
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
    """Return the error for a workflow without a log."""
    error = HoldfastError(
        Reason.WORKFLOW_NOT_FOUND,
        f"nothing was ever saved for workflow {keys.workflow_id!r} in namespace {keys.namespace!r}",
    )
    name_head(error, None)
    return error


@contextmanager
def naming_head(head: Entry) -> Iterator[None]:
    """Name a head that was read during the call in the errors that depend on it."""
    try:
        yield
    except HoldfastError as error:
        name_head(error, head)
        raise


def deleted(checkpoint_id: str, kind: type[HoldfastError] = HoldfastError) -> HoldfastError:
    """Return the error for a checkpoint that was deleted."""
    return kind(Reason.CHECKPOINT_DELETED, f"checkpoint {checkpoint_id!r} was deleted", checkpoint_id=checkpoint_id)
