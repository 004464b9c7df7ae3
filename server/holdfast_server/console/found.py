"""One checkpoint as the console finds it: its metadata, also if it was deleted, and what stands against a load."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast import AsyncClient, Checkpoint, LogEntry, Skipped, UnimplementedError

from holdfast_server.console.preview import READ_BYTES
from holdfast_server.console.preview.sealed import is_sealed, own_labels

# How many entries after a checkpoint are searched for its children.
CHILDREN_WITHIN = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint.

    Attributes:
        checkpoint: its metadata; None if nothing is known but the id.
        findings: why it cannot be loaded, as far as its marker shows; empty if nothing stands against that.
        entry: its entry of the log, if it was looked for.

    """

    checkpoint: Checkpoint | None
    findings: Sequence[Skipped]
    entry: LogEntry | None = None

    @property
    def is_loadable(self) -> bool:
        """Whether its parts can be read, as far as its marker shows."""
        return self.checkpoint is not None and not self.findings

    @property
    def is_encrypted(self) -> bool:
        """Whether a client has encrypted it."""
        return self.checkpoint is not None and is_sealed(self.checkpoint.labels)

    @property
    def labels(self) -> dict[str, str]:
        """The labels for people to read: without those that hold an encrypted checkpoint's own."""
        return {} if self.checkpoint is None else own_labels(self.checkpoint.labels)


async def find(
    client: AsyncClient, namespace: str, workflow_id: str, checkpoint_id: str, revision: int | None = None
) -> Found:
    """Return a checkpoint.

    Args:
        client: the client.
        namespace: the namespace.
        workflow_id: the workflow.
        checkpoint_id: the checkpoint.
        revision: its revision, by which it is found once it is deleted or replaced; None if it is not known.

    Raises:
        HoldfastError: a subclass for each reason.

    """
    entry = await _entry(client, namespace, workflow_id, checkpoint_id, revision) if revision is not None else None
    validation = await client.validate(namespace, workflow_id, checkpoint_id, depth="marker")
    if entry is not None and (validation.checkpoint is None or validation.checkpoint.revision != entry.revision):
        gone = Skipped(checkpoint_id, entry.revision, "CHECKPOINT_DELETED", "")
        return Found(entry.checkpoint, (gone,), entry)
    findings = [each for each in validation.findings if each.checkpoint_id == checkpoint_id or not each.revision]
    return Found(validation.checkpoint, () if validation.resumable else findings[:1] or validation.findings[:1], entry)


async def _entry(
    client: AsyncClient, namespace: str, workflow_id: str, checkpoint_id: str, revision: int
) -> LogEntry | None:
    try:
        page = await client.log_page(namespace, workflow_id, before_revision=revision + 1, page_size=1)
    except UnimplementedError:
        return None
    for entry in page.items:
        if entry.revision == revision and entry.checkpoint and entry.checkpoint.checkpoint_id == checkpoint_id:
            return entry
    return None


async def previous_id(client: AsyncClient, namespace: str, workflow_id: str, checkpoint_id: str) -> str:
    """Return the id of the checkpoint before another one; "" if there is none.

    Raises:
        HoldfastError: a subclass for each reason.

    """
    async for checkpoint in client.list(namespace, workflow_id, before=checkpoint_id, ids_only=True, page_size=1):
        return checkpoint.checkpoint_id
    return ""


async def children_of(client: AsyncClient, checkpoint: Checkpoint) -> Sequence[Checkpoint] | None:
    """Return the children of a checkpoint among the next entries of the log, oldest first; None if it cannot be read.

    Raises:
        HoldfastError: a subclass for each reason but UNIMPLEMENTED.

    """
    try:
        page = await client.log_page(
            checkpoint.namespace,
            checkpoint.workflow_id,
            before_revision=checkpoint.revision + CHILDREN_WITHIN + 1,
            after_revision=checkpoint.revision,
            page_size=CHILDREN_WITHIN,
        )
    except UnimplementedError:
        return None
    found = [entry.checkpoint for entry in page.items if entry.checkpoint is not None]
    return [each for each in reversed(found) if each.parent_id == checkpoint.checkpoint_id]


async def beginning(client: AsyncClient, checkpoint: Checkpoint, part: str) -> bytes:
    """Return the first bytes of a part, as many as a preview reads.

    Raises:
        HoldfastError: a subclass for each reason.

    """
    pieces = client.read_part(
        checkpoint.namespace, checkpoint.workflow_id, checkpoint.checkpoint_id, part=part, length=READ_BYTES
    )
    return b"".join([piece async for piece in pieces])
