"""Items of the store as checkpoints: how they are saved, found and listed."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import AcceptedFormat, Checkpoint, Format, LoadedCheckpoint
from holdfast._core.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointNotFoundError,
    FormatIncompatibleError,
    WorkflowNotFoundError,
)
from holdfast.adapters.histories import newest_first
from holdfast.adapters.pydantic_ai import contents, names
from holdfast.adapters.unreadable import unreadable

T = TypeVar("T")

_ABSENT = (WorkflowNotFoundError, CheckpointNotFoundError, CheckpointDeletedError)

_logger = logging.getLogger(__name__)


class Items:
    """The items of a namespace.

    Args:
        client: the client.
        namespace: the namespace.
        fallback: pass over what is damaged.

    """

    def __init__(self, client: AsyncClient, namespace: str, *, fallback: bool) -> None:
        self._client = client
        self._namespace = namespace
        self._fallback = fallback

    async def save(
        self,
        workflow: str,
        form: Format,
        data: Any,
        checkpoint_id: str,
        labels: dict[str, Any],
        *,
        pinned: bool,
        epoch: int | None = None,
    ) -> Checkpoint:
        """Save an item."""
        return await self._client.save(
            self._namespace,
            workflow,
            data,
            format=form,
            checkpoint_id=checkpoint_id,
            labels=names.labels(labels),
            pinned=pinned,
            epoch=epoch,
        )

    async def load(self, workflow: str, form: Format, checkpoint_id: str | None) -> LoadedCheckpoint:
        """Load an item; None: the newest one."""
        return await self._client.load(
            self._namespace,
            workflow,
            checkpoint_id,
            accepted_formats=[AcceptedFormat(form.name, 1, form.version)],
            fallback=self._fallback and checkpoint_id is None,
        )

    async def newest(self, workflow: str, form: Format, **labels: str | None) -> LoadedCheckpoint | None:
        """Load the newest item with labels; None where there is none."""
        if not names.labels(labels):
            try:
                return await self.load(workflow, form, None)
            except _ABSENT:
                return None
        damage: CheckpointCorruptedError | None = None
        async for info in self.listed(workflow, labels, page_size=1):
            try:
                return await self.load(workflow, form, info.checkpoint_id)
            except _ABSENT:
                # Deleted since it was listed.
                continue
            except CheckpointCorruptedError as error:
                if not self._fallback:
                    raise
                damage = damage or error
        if damage is not None:
            raise damage
        return None

    async def all(
        self,
        workflow: str,
        form: Format,
        cls: type[T],
        labels: dict[str, str | None],
        known: Callable[[Checkpoint], dict[str, Any]],
    ) -> list[T]:
        """List the items with labels, oldest first.

        Args:
            workflow: the workflow.
            form: their format.
            cls: their class.
            labels: the labels; None: any.
            known: returns the fields that are known of an item that cannot be read.

        """
        found: list[T] = []
        async for info, loaded in newest_first(
            self._client,
            self._namespace,
            workflow,
            labels=names.labels(labels),
            accepted_formats=[AcceptedFormat(form.name, 1, form.version)],
            strict=not self._fallback,
        ):
            found += await self.read(cls, form, info, loaded, known(info))
        return found[::-1]

    async def read(
        self, cls: type[T], form: Format, info: Checkpoint, loaded: LoadedCheckpoint | None, known: dict[str, Any]
    ) -> list[T]:
        """Read an item of a list: none if it is deleted by now, or damaged and that is passed over."""
        try:
            return [contents.read(cls, loaded or await self.load(info.workflow_id, form, info.checkpoint_id))]
        except _ABSENT:
            return []
        except CheckpointCorruptedError as error:
            if self._fallback:
                _logger.warning("left out: %s", error)
                return []
            return [unreadable(cls, error, **known)]
        except FormatIncompatibleError as error:
            return [unreadable(cls, error, **known)]

    async def listed(self, workflow: str, labels: dict[str, str | None], page_size: int) -> AsyncIterator[Checkpoint]:
        """List checkpoints with labels, newest first; none where there is no workflow."""
        try:
            async for each in self._client.list(
                self._namespace, workflow, labels=names.labels(labels), strict=not self._fallback, page_size=page_size
            ):
                yield each
        except WorkflowNotFoundError:
            return
