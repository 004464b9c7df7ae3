"""Validation: whether a workflow can be resumed, what stands against it, and what is good before it."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast_server.protocol.checkpoints import load
from holdfast_server.protocol.checkpoints.heads import OvertakenError, Skipped, head_or_skip, looked_at
from holdfast_server.protocol.checkpoints.load import AcceptedFormat, Depth
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log

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
    """What a validation found: the checkpoint asked for, what stands against it, and the last good one."""

    resumable: bool
    findings: tuple[Skipped, ...]
    entry: Entry | None
    last_good: Entry | None


async def validate(
    log: Log, keys: WorkflowKeys, checkpoint_id: str, depth: Depth, accepted: Sequence[AcceptedFormat]
) -> ValidationResult:
    """Check the checkpoint that a load would give, and where it fails look for the last good one.

    Raises:
        HoldfastError: only what says nothing of the workflow, such as STORE_UNAVAILABLE.

    """
    return await looked_at(lambda: _validate(log, keys, checkpoint_id, depth, accepted))


async def _validate(
    log: Log, keys: WorkflowKeys, checkpoint_id: str, depth: Depth, accepted: Sequence[AcceptedFormat]
) -> ValidationResult:
    findings: list[Skipped] = []
    first: Entry | None = None
    try:
        head = await head_or_skip(log, keys, findings)
        async for entry in load.candidates(log, keys, head, checkpoint_id, findings):
            first = first or (entry if not findings else None)
            try:
                load.require_accepted(entry, accepted)
                await load.check(log, keys, entry, depth)
            except HoldfastError as error:
                findings.append(_finding(error, entry.revision, entry.marker.checkpoint_id))
                continue
            return ValidationResult(not findings, tuple(findings), first, entry)
    except HoldfastError as error:
        findings.append(_finding(error, 0, checkpoint_id))
    return ValidationResult(False, tuple(findings), first, None)


def _finding(error: HoldfastError, revision: int, checkpoint_id: str) -> Skipped:
    if error.reason not in _FINDINGS or isinstance(error, OvertakenError):
        raise error
    return Skipped(revision, checkpoint_id, error)
