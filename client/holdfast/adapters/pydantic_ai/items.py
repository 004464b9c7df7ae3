"""Save, find and list the items of a store, each of which is a checkpoint."""

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
        client: an open client.
        namespace: the namespace.
        fallback: skip damaged items.

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
        """Save an item.

        Args:
            workflow: the workflow.
            form: the item's format.
            data: the payload.
            checkpoint_id: the checkpoint id; "" lets the server choose.
            labels: the labels; those that are None are left out.
            pinned: keep it when retention or a prune would remove it.
            epoch: the writer's epoch; None if ownership is shared.

        Raises:
            HoldfastError: a subclass for each reason.

        """
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
        """Load an item.

        Args:
            workflow: the workflow.
            form: the item's format.
            checkpoint_id: the checkpoint id; None for the newest item.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        return await self._client.load(
            self._namespace,
            workflow,
            checkpoint_id,
            accepted_formats=[AcceptedFormat(form.name, 1, form.version)],
            fallback=self._fallback and checkpoint_id is None,
        )

    async def newest(self, workflow: str, form: Format, **labels: str | None) -> LoadedCheckpoint | None:
        """Load the newest item with these labels; None if none exists.

        Raises:
            CheckpointCorruptedError: it is damaged, and `fallback` is not set or finds no older one.
            HoldfastError: a subclass for each other reason.

        """
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
                # It was deleted since it was listed.
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
        """Return the items with these labels, oldest first.

        An `Unreadable` takes the place of an item that cannot be read. With `fallback`, damaged ones are left out.

        Args:
            workflow: the workflow.
            form: the format of the items.
            cls: the class of the items.
            labels: the labels; a label that is None is ignored.
            known: returns the fields that are known of an item that cannot be read.

        Raises:
            CheckpointCorruptedError: damage hides which items exist, and `fallback` is not set.
            HoldfastError: a subclass for each other reason.

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
        """Return a list with the item of a listed checkpoint.

        The list is empty if the checkpoint is deleted by now, or if it is damaged and `fallback` is set. It contains an
        `Unreadable` if the item cannot be read.

        Args:
            cls: the item's class.
            form: the item's format.
            info: the checkpoint.
            loaded: the checkpoint with its payload, if it is loaded.
            known: the fields that are known without the payload.

        Raises:
            HoldfastError: a subclass for each reason other than damage and an incompatible format.

        """
        try:
            return [contents.read(cls, loaded or await self.load(info.workflow_id, form, info.checkpoint_id))]
        except _ABSENT:
            return []
        except CheckpointCorruptedError as error:
            if self._fallback:
                _logger.warning("left out of a list: %s", error)
                return []
            return [unreadable(cls, error, **known)]
        except FormatIncompatibleError as error:
            return [unreadable(cls, error, **known)]

    async def listed(self, workflow: str, labels: dict[str, str | None], page_size: int) -> AsyncIterator[Checkpoint]:
        """Iterate over the checkpoints with these labels, newest first.

        Raises:
            HoldfastError: a subclass for each reason other than a missing workflow.

        """
        try:
            async for info in self._client.list(
                self._namespace, workflow, labels=names.labels(labels), strict=not self._fallback, page_size=page_size
            ):
                yield info
        except WorkflowNotFoundError:
            return
