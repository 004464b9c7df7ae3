"""Iterate over a workflow's checkpoints with their payloads, many per call, past checkpoints that cannot be read."""

from collections.abc import AsyncIterator, Mapping, Sequence

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import AcceptedFormat, Checkpoint, LoadedCheckpoint
from holdfast._core.errors import CheckpointCorruptedError, FormatIncompatibleError, WorkflowNotFoundError


async def newest_first(
    client: AsyncClient,
    namespace: str,
    workflow_id: str,
    *,
    labels: Mapping[str, str],
    accepted_formats: Sequence[AcceptedFormat],
    strict: bool,
) -> AsyncIterator[tuple[Checkpoint, LoadedCheckpoint | None]]:
    """Iterate over the checkpoints of a workflow, newest first, with their payloads.

    From the first checkpoint that cannot be read, and for all of them if not `strict`, the payload is None: the caller
    loads it by itself and learns why it cannot be read. A workflow that does not exist has no checkpoints.

    Args:
        client: the client.
        namespace: the namespace.
        workflow_id: the workflow.
        labels: the labels that each checkpoint must have.
        accepted_formats: the formats that the caller reads.
        strict: raise if damage hides which checkpoints exist; otherwise leave those out.

    Raises:
        CheckpointCorruptedError: `strict` is set, and damage hides which checkpoints exist.
        HoldfastError: a subclass for each other reason.

    """
    lowest = None
    try:
        if strict:
            try:
                async for loaded in client.history(
                    namespace, workflow_id, labels=labels, accepted_formats=accepted_formats, page_size=1000
                ):
                    yield loaded.info, loaded
                    lowest = loaded.info.revision
            except (CheckpointCorruptedError, FormatIncompatibleError):
                pass
            else:
                return
        async for info in client.list(namespace, workflow_id, labels=labels, strict=strict, page_size=1000):
            if lowest is None or info.revision < lowest:
                yield info, None
    except WorkflowNotFoundError:
        return
