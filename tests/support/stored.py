"""Checkpoints as a server has them: what somebody sees, and can change, who reaches the store but has no key."""

from typing import Any

import holdfast
from holdfast._core.messages import to_checkpoint
from holdfast._core.protection import Unprotected


class _Blind(Unprotected):
    """Takes what is encrypted for ordinary data."""

    def loaded(self, message):
        return to_checkpoint(message)

    def open_records(self, namespace, workflow_id, checkpoint_id, records, max_bytes):
        return records


def blind(target: str) -> holdfast.AsyncClient:
    """Return a client that returns what is encrypted as it is stored."""
    client = holdfast.AsyncClient(target, timeout=20)
    client._opening.protection = _Blind()
    return client


class Stored:
    """The stored checkpoints of namespace `n` behind a target.

    Args:
        target: the server, or the folder of an embedded one.

    """

    def __init__(self, target: str) -> None:
        self._client = blind(target)

    async def __aenter__(self) -> "Stored":
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.close()

    async def load(
        self, workflow_id: str, checkpoint_id: str | None = None
    ) -> tuple[holdfast.Checkpoint, dict[str, bytes]]:
        """Return a checkpoint and the stored bytes of its parts."""
        loaded = await self._client.load("n", workflow_id, checkpoint_id)
        return loaded.info, dict(loaded.parts)

    async def save(self, like: holdfast.Checkpoint, parts: dict[str, bytes], **changes: Any) -> None:
        """Save parts in place of a checkpoint, or as another one: with its names, format and labels, except changes."""
        names = ("namespace", "workflow_id", "checkpoint_id", "parent_id", "format", "labels")
        fields = {name: getattr(like, name) for name in names} | changes
        await self._client.save(data=parts, replace=True, **fields)

    async def records(self, workflow_id: str, checkpoint_id: str) -> dict[str, bytes]:
        """Return the stored records of a checkpoint."""
        return {record.key: record.data for record in await self._client.records("n", workflow_id, checkpoint_id)}

    async def attach(self, workflow_id: str, checkpoint_id: str, records: dict[str, bytes]) -> None:
        """Put records in place of those with the same keys."""
        given = [holdfast.Record(key, data, replace=True) for key, data in records.items()]
        await self._client.attach("n", workflow_id, checkpoint_id, given)
