"""Continue a workflow's log with the checkpoints of a source: compare those that it has, append the others."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Self, TypeVar

from holdfast._async.client import AsyncClient
from holdfast._core.checkpoint import AcceptedFormat, LoadedCheckpoint
from holdfast._core.errors import (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointIdReusedError,
    CheckpointNotFoundError,
    FormatIncompatibleError,
    InvalidRequestError,
    PayloadTooLargeError,
    RevisionConflictError,
    WorkflowNotFoundError,
    WriterFencedError,
)
from holdfast.adapters.entries import Entry, Expected, fingerprint_of, fingerprint_of_entry
from holdfast.moving import Item, ItemError

_Found = TypeVar("_Found")

_PAGE = 1000
_VERIFIED_PAGE = 100
# The errors of a load that say something about the checkpoint, and not about the server.
UNLOADABLE = (
    CheckpointCorruptedError,
    CheckpointDeletedError,
    CheckpointNotFoundError,
    FormatIncompatibleError,
    WorkflowNotFoundError,
)
DELETED = "the checkpoint was deleted in the target"
_TAKEN = (CheckpointDeletedError, CheckpointIdReusedError, RevisionConflictError, WriterFencedError)


class Log:
    """The log of a workflow that an import continues.

    Attributes:
        length: how many checkpoints the workflow had when it was read.
        position: how many entries were taken.
        ids: the ids of the workflow's checkpoints, oldest first.

    """

    def __init__(
        self,
        client: AsyncClient,
        namespace: str,
        workflow_id: str,
        stored: list[tuple[str, bytes]],
        head: int,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._workflow_id = workflow_id
        self._stored = stored
        self._head = head
        self.length = len(stored)
        self.position = 0
        self.ids = [checkpoint_id for checkpoint_id, _ in stored]

    @classmethod
    async def of(
        cls,
        client: AsyncClient,
        namespace: str,
        workflow_id: str,
        *,
        compared: frozenset[str] | None = None,
    ) -> Self:
        """Read which checkpoints a workflow has. A workflow that does not exist has none.

        Args:
            client: the client.
            namespace: the namespace.
            workflow_id: the workflow.
            compared: as in the entries that will be put.

        Raises:
            ItemError: damage hides which checkpoints exist.
            HoldfastError: a subclass for each other reason.

        """
        stored: list[tuple[str, bytes]] = []
        head = 0
        try:
            async for info in client.list(namespace, workflow_id, strict=True, page_size=_PAGE):
                head = head or info.revision
                stored.append((info.checkpoint_id, fingerprint_of(info, compared)))
        except WorkflowNotFoundError:
            pass
        except CheckpointCorruptedError as error:
            raise ItemError("OTHER_CONTENT", f"the target is damaged: {error}") from error
        return cls(client, namespace, workflow_id, stored[::-1], head)

    @property
    def has_moved_on(self) -> bool:
        """Whether the workflow has checkpoints after the entries that were taken."""
        return self.position < self.length

    async def compare(self, entries: AsyncIterator[Entry]) -> None:
        """Read all entries, and require that the workflow has the first ones of them, or all and further checkpoints.

        Call it before the first `put`, so that nothing is written of an item that cannot be imported as a whole.

        Raises:
            ItemError: the workflow has another checkpoint at one of these places.
            HoldfastError: a subclass for each other reason.

        """
        position = 0
        # Encrypted parts have other digests than their content.
        unsure: dict[int, Expected] = {}
        async for entry in entries:
            if position < self.length:
                checkpoint_id, found = self._stored[position]
                if entry.checkpoint_id and entry.checkpoint_id != checkpoint_id:
                    message = f"the target has checkpoint {checkpoint_id!r} where the source has {entry.name}"
                    raise ItemError("OTHER_CONTENT", message)
                if found != fingerprint_of_entry(entry):
                    unsure[position] = Expected(entry)
            position += 1
        if unsure:
            await self._require_equal(unsure)

    async def fill(self, entries: AsyncIterator[Entry], item: Item, *, dry_run: bool) -> None:
        """Put all entries, and add them to the item's counts.

        Args:
            entries: the entries that `compare` has read.
            item: the item.
            dry_run: only count what would be written.

        Raises:
            ItemError, HoldfastError: as for `put`.

        """
        deleted: frozenset[str] | None = None
        async for entry in entries:
            item.add(read=1)
            if dry_run:
                is_new = self.position >= self.length
                if is_new and entry.checkpoint_id and not entry.options.get("replace"):
                    if deleted is None:
                        deleted = await deleted_ids(self._client, self._namespace, self._workflow_id)
                    if entry.checkpoint_id in deleted:
                        raise ItemError("OTHER_CONTENT", f"{entry.name}: {DELETED}")
                self.position += 1
            else:
                is_new = await self.put(entry)
            item.add(written=int(is_new), present=int(not is_new))

    async def put(self, entry: Entry) -> bool:
        """Take the next entry, and append it unless the workflow has it.

        Returns:
            Whether it was appended.

        Raises:
            ItemError: another program has saved to the workflow, or Holdfast cannot keep the entry.
            HoldfastError: a subclass for each other reason.

        """
        is_new = self.position >= self.length
        if is_new:
            await self._append(entry)
        self.position += 1
        return is_new

    async def load(
        self, checkpoint_id: str | None, name: str, accepted_formats: Sequence[AcceptedFormat]
    ) -> LoadedCheckpoint:
        """Load a checkpoint of the workflow, to verify it.

        Args:
            checkpoint_id: its id; None for the newest.
            name: its name in errors.
            accepted_formats: the formats that the adapter reads.

        Raises:
            ItemError: it cannot be loaded.
            HoldfastError: a subclass for each other reason.

        """
        try:
            return await self._client.load(
                self._namespace, self._workflow_id, checkpoint_id, accepted_formats=accepted_formats
            )
        except UNLOADABLE as error:
            raise ItemError("DIFFERENT", f"{name} cannot be loaded from the target: {error}") from error

    async def newest_first(
        self, accepted_formats: Sequence[AcceptedFormat]
    ) -> AsyncIterator[tuple[int, LoadedCheckpoint]]:
        """Load the checkpoints of the entries that were taken, to verify them: many per call, each with its place.

        Args:
            accepted_formats: the formats that the adapter reads.

        Raises:
            ItemError: one of them cannot be loaded, or is not there.
            HoldfastError: a subclass for each other reason.

        """
        try:
            async for place, loaded in self._placed(accepted_formats):
                if place < self.position:
                    yield place, loaded
        except UNLOADABLE as error:
            raise ItemError("DIFFERENT", f"the target cannot be loaded: {error}") from error

    async def _append(self, entry: Entry) -> None:
        try:
            saved = await self._client.save(
                self._namespace,
                self._workflow_id,
                entry.parts[""] if entry.parts.keys() == {""} else entry.parts,
                format=entry.format,
                checkpoint_id=entry.checkpoint_id,
                parent_id=entry.parent_id,
                labels=entry.labels,
                expected_revision=self._head,
                **entry.options,
            )
        except _TAKEN as error:
            raise ItemError(
                "OTHER_CONTENT", f"{entry.name}: another program has saved to the target: {error}"
            ) from error
        except (InvalidRequestError, PayloadTooLargeError) as error:
            raise ItemError("UNREADABLE", f"{entry.name} cannot be kept: {error}") from error
        self._head = saved.revision
        self.ids.append(saved.checkpoint_id)

    async def _placed(
        self, accepted_formats: Sequence[AcceptedFormat] = ()
    ) -> AsyncIterator[tuple[int, LoadedCheckpoint]]:
        """Load the checkpoints that the workflow is known to have, newest first: many per call, each with its place."""
        place = len(self.ids) - 1
        async for loaded in self._client.history(
            self._namespace, self._workflow_id, accepted_formats=accepted_formats, page_size=_VERIFIED_PAGE
        ):
            # Others may have saved since.
            if place >= 0 and loaded.checkpoint_id == self.ids[place]:
                yield place, loaded
                place -= 1
        if place >= 0:
            raise ItemError("DIFFERENT", f"checkpoint {self.ids[place]!r} is missing in the target")

    async def _require_equal(self, expected: Mapping[int, Expected]) -> None:
        """Load checkpoints, and require that each has the content that is expected at its place."""
        other: tuple[str, str] | None = None
        try:
            async for place, loaded in self._placed():
                if place in expected and not expected[place].is_content_of(loaded):
                    other = expected[place].name, loaded.checkpoint_id
        except UNLOADABLE as error:
            raise ItemError("OTHER_CONTENT", f"the target cannot be read: {error}") from error
        if other is not None:
            name, checkpoint_id = other
            raise ItemError("OTHER_CONTENT", f"{name} has other content in the target (checkpoint {checkpoint_id!r})")


async def deleted_ids(client: AsyncClient, namespace: str, workflow_id: str) -> frozenset[str]:
    """Return the ids of a workflow's deleted checkpoints, which no save can use. It reads the whole log.

    Raises:
        HoldfastError: a subclass for each reason.

    """
    newest: dict[str, bool] = {}
    try:
        async for entry in client.log(namespace, workflow_id, page_size=_PAGE):
            if entry.checkpoint is not None:
                newest.setdefault(entry.checkpoint.checkpoint_id, entry.deleted)
    except WorkflowNotFoundError:
        pass
    return frozenset(checkpoint_id for checkpoint_id, is_deleted in newest.items() if is_deleted)


async def chosen(
    found: Mapping[str, _Found], wanted: Iterable[str] | None, prefix: str, id_of: Callable[[_Found], str]
) -> AsyncIterator[str]:
    """Iterate over the names of the items to import. Names that are wanted and not found come last.

    Args:
        found: the source's items by name.
        wanted: ids or names of items; None for all.
        prefix: the text that their ids begin with.
        id_of: returns an item's id.

    """
    wanted = None if wanted is None else frozenset(wanted)
    missing = None if wanted is None else set(wanted)
    for name, each in found.items():
        names = {name, id_of(each)}
        if id_of(each).startswith(prefix) and (wanted is None or not names.isdisjoint(wanted)):
            yield name
        if missing is not None:
            missing -= names
    for name in sorted(missing or ()):
        yield name
