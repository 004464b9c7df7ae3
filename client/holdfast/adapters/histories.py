"""A workflow's checkpoints with their payloads, many in a call, of which one that cannot be read hides no other."""

from collections.abc import AsyncIterator, Mapping, Sequence

from holdfast.checkpoint import AcceptedFormat, Checkpoint, LoadedCheckpoint
from holdfast.client import AsyncClient
from holdfast.errors import CheckpointCorruptedError, FormatIncompatibleError, WorkflowNotFoundError


async def newest_first(
    client: AsyncClient,
    namespace: str,
    workflow_id: str,
    *,
    labels: Mapping[str, str],
    accepted_formats: Sequence[AcceptedFormat],
    strict: bool,
) -> AsyncIterator[tuple[Checkpoint, LoadedCheckpoint | None]]:
    """Iterate over the checkpoints with labels; none where there is no workflow.

    From the first one that cannot be read, the payloads are None, and are to be loaded one by one.

    Args:
        client: the client.
        namespace: the namespace.
        workflow_id: the workflow.
        labels: the labels that they must have.
        accepted_formats: the formats that the caller reads.
        strict: end where damage hides which checkpoints there are; else leave that out.

    Raises:
        CheckpointCorruptedError: `strict`, and damage hides which checkpoints there are.
        HoldfastError: a subclass for each other reason.

    """
    lowest = None
    try:
        if strict:
            try:
                async for each in client.history(
                    namespace, workflow_id, labels=labels, accepted_formats=accepted_formats, page_size=1000
                ):
                    yield each.info, each
                    lowest = each.info.revision
            except (CheckpointCorruptedError, FormatIncompatibleError):
                pass
            else:
                return
        async for info in client.list(namespace, workflow_id, labels=labels, strict=strict, page_size=1000):
            if lowest is None or info.revision < lowest:
                yield info, None
    except WorkflowNotFoundError:
        return
