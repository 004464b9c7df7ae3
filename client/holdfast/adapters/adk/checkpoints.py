"""The checkpoints of a namespace, as the session service asks for them."""

from dataclasses import dataclass
from typing import Any

from holdfast.checkpoint import AcceptedFormat, Checkpoint, Format, LoadedCheckpoint
from holdfast.client import AsyncClient
from holdfast.errors import CheckpointDeletedError, CheckpointNotFoundError, WorkflowNotFoundError

MISSING = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where sessions and states lie.

    Attributes:
        client: an open client.
        namespace: the namespace.
        fallback: whether damage of a newest checkpoint is answered with an older one.

    """

    client: AsyncClient
    namespace: str
    fallback: bool

    async def find(self, workflow: str, form: Format) -> LoadedCheckpoint | None:
        """The newest checkpoint; None where there is none."""
        try:
            return await self.load(workflow, form, fallback=self.fallback)
        except MISSING:
            return None

    async def load(
        self, workflow: str, form: Format, checkpoint_id: str | None = None, *, fallback: bool = False
    ) -> LoadedCheckpoint:
        """A checkpoint, of a format up to this adapter's version of it."""
        return await self.client.load(
            self.namespace, workflow, checkpoint_id, accepted_formats=accepted(form), fallback=fallback
        )

    async def save(self, workflow: str, data: Any, form: Format, **options: Any) -> Checkpoint:
        """Save a checkpoint."""
        return await self.client.save(self.namespace, workflow, data, format=form, **options)


def accepted(form: Format) -> list[AcceptedFormat]:
    """A format in all of its versions up to this one."""
    return [AcceptedFormat(form.name, 1, form.version)]
