"""Validation: whether a workflow can be resumed, the problems if it cannot, and its last good checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.checkpoints.heads import (
    NO_HEAD,
    NamedHead,
    OvertakenError,
    Skipped,
    head_or_skip,
    retry_overtaken,
)
from holdfast_server.protocol.checkpoints.load import AcceptedFormat, Depth
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.bases import Bases

_FINDINGS = frozenset(
    {
        Reason.CHECKPOINT_CORRUPTED,
        Reason.FORMAT_INCOMPATIBLE,
        Reason.CHECKPOINT_NOT_FOUND,
        Reason.CHECKPOINT_DELETED,
        Reason.WORKFLOW_NOT_FOUND,
        Reason.LAYOUT_UNSUPPORTED,
    }
)


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """The result of a validation.

    Attributes:
        resumable: whether the requested checkpoint can be loaded.
        findings: the problems of the checkpoints that were checked, the requested one first.
        entry: the requested checkpoint; None if its marker cannot be read or does not exist.
        last_good: the newest good checkpoint at or before the requested one; None if there is none.
        head: the head of the log.

    """

    resumable: bool
    findings: tuple[Skipped, ...]
    entry: Entry | None
    last_good: Entry | None
    head: NamedHead


async def validate(
    log: Log, keys: WorkflowKeys, checkpoint_id: str, depth: Depth, accepted: Sequence[AcceptedFormat]
) -> ValidationResult:
    """Check the checkpoint that a load would return. If it is not good, find the last good one.

    Args:
        log: the log.
        keys: the workflow.
        checkpoint_id: the checkpoint, or "" for the newest.
        depth: how much of a checkpoint is checked.
        accepted: the formats that the caller accepts; none: any.

    Raises:
        HoldfastError: only for reasons that are not about the workflow, such as STORE_UNAVAILABLE.

    """
    return await retry_overtaken(lambda: _validate(log, keys, checkpoint_id, depth, accepted))


async def _validate(
    log: Log, keys: WorkflowKeys, checkpoint_id: str, depth: Depth, accepted: Sequence[AcceptedFormat]
) -> ValidationResult:
    findings: list[Skipped] = []
    first: Entry | None = None
    named = NO_HEAD
    # What is in memory may be damaged in the store: only what this call has read counts.
    check = load.Check(log, keys, Bases())
    try:
        head = await head_or_skip(log, keys, findings)
        named = NamedHead.of(head, findings)
        async for entry in load.candidates(log, keys, head, checkpoint_id, findings):
            first = first or (entry if not findings else None)
            try:
                load.require_accepted(entry, accepted)
                await check.require(entry, depth)
            except HoldfastError as error:
                findings.append(_finding(error, entry.revision, entry.marker.checkpoint_id))
                continue
            return ValidationResult(not findings, tuple(findings), first, entry, named)
    except HoldfastError as error:
        findings.append(_finding(error, 0, checkpoint_id))
    return ValidationResult(False, tuple(findings), first, None, named)


def _finding(error: HoldfastError, revision: int, checkpoint_id: str) -> Skipped:
    if error.reason not in _FINDINGS or isinstance(error, OvertakenError):
        raise error
    return Skipped(revision, checkpoint_id, error)
