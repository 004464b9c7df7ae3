"""The parts of a save whose bytes are in memory: what they rest on depends on the head that the save follows.

A part may rest only on the newest live checkpoint according to that head, or on that checkpoint's own bases. So at each
head every base is needed by a live checkpoint or will never be needed again, which is what collections rely on. If
another entry is committed first, the parts are stored again according to the new head.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast_server.layout.v1.marker_pb2 import Marker, PartBase, StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.ids import unique
from holdfast_server.protocol.format.invariants import BASE_DIGEST_BYTES, MAX_BASES
from holdfast_server.protocol.format.keys import WorkflowKeys, new_blob
from holdfast_server.protocol.payload import frames, policy
from holdfast_server.protocol.payload.bases import Bases
from holdfast_server.protocol.payload.digests import BLOCK_BYTES, Digests
from holdfast_server.protocol.payload.policy import Choice, DeltaRules
from holdfast_server.stores.base import ObjectStore

INLINE_LIMIT_BYTES = 64 << 10
# A base that is not in memory is read only if the part that it replaces is larger than this when stored alone.
_WORTH_READING_BYTES = 2 << 10


@dataclass(frozen=True, slots=True)
class HeldPart:
    """A part in memory.

    Attributes:
        name: the part's name.
        data: its bytes.
        sha256: their SHA-256.
        crc32c: their CRC-32C.
        block_crc32c: the CRC-32C of each block.

    """

    name: str
    data: bytes
    sha256: bytes
    crc32c: int
    block_crc32c: Sequence[int]

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        return len(self.data)

    @classmethod
    async def of(cls, name: str, data: bytes, checksum: int | None = None) -> "HeldPart":
        """Compute the digests of a part.

        Args:
            name: the part's name.
            data: its bytes.
            checksum: their CRC-32C, if it was computed from these bytes before.

        """
        digests = Digests()
        await digests.update(data, checksum)
        return cls(name, data, digests.sha256, digests.crc32c, digests.block_crc32c)


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The checkpoint that the parts of the next one may rest on: its revision and its parts by name."""

    revision: int
    parts: Mapping[str, StoredPart]

    @classmethod
    def of(cls, marker: Marker) -> "Predecessor":
        """Return the checkpoint in a marker."""
        return cls(marker.revision, {part.name: part for part in marker.parts})


class PartEncoder:
    """Stores parts that are in memory, encoded if that makes them smaller.

    Args:
        store: the store.
        rules: the rules for what is encoded.
        bases: the content of recent bases.
        inline_limit_bytes: how many bytes of payload a commit marker may hold.

    """

    def __init__(
        self,
        store: ObjectStore,
        rules: DeltaRules = DeltaRules(is_on=False),  # noqa: B008 - it is frozen
        bases: Bases | None = None,
        *,
        inline_limit_bytes: int = INLINE_LIMIT_BYTES,
    ) -> None:
        self.store = store
        self.rules = rules
        self.bases = bases or Bases(0)
        self.inline_limit_bytes = inline_limit_bytes

    async def choose(self, keys: WorkflowKeys, part: HeldPart, before: Predecessor | None) -> Choice:
        """Choose how a part is stored.

        Raises:
            StoreError: the store cannot be used.

        """
        if not self.rules.apply_to(keys.namespace):
            return Choice()
        earlier = None if before is None else before.parts.get(part.name)
        chain: Sequence[PartBase] = ()
        if before is not None and earlier is not None:
            chain = policy.chain_of(earlier, before.revision)
            if chain and not self._is_worth_reading(keys, part, chain):
                chain = ()

        async def encode(depth: int, *, thoroughly: bool = False) -> bytes | None:
            if not depth:
                return await frames.encode(part.data, thoroughly=thoroughly)
            try:
                base = await self.bases.base(self.store, keys, part.name, chain[:depth])
            except HoldfastError as error:
                if error.reason not in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED):
                    raise
                # Nothing new may rest on a damaged base.
                return None
            return await frames.encode(part.data, base, thoroughly=thoroughly)

        plain_saves = 0 if earlier is None else earlier.plain_saves
        async with self.bases.room(part.size_bytes):
            return await policy.choose(part.size_bytes, chain, plain_saves, encode, self.rules)

    def _is_worth_reading(self, keys: WorkflowKeys, part: HeldPart, chain: Sequence[PartBase]) -> bool:
        last = chain[-1]
        if self.bases.get(keys, part.name, last.digest) is not None:
            return True
        return chain[0].stored_bytes * part.size_bytes // chain[0].size_bytes > _WORTH_READING_BYTES

    def keep(self, keys: WorkflowKeys, part: HeldPart, stored: StoredPart) -> None:
        """Keep the content of a committed part in memory if the next version may rest on it."""
        is_base = policy.is_encodable(part.size_bytes) and len(stored.bases) < MAX_BASES
        if is_base and self.rules.apply_to(keys.namespace) and policy.is_tried(stored.plain_saves):
            self.bases.keep(keys, part.name, part.sha256[:BASE_DIGEST_BYTES], part.data)


class Payload:
    """The parts of one save: stored ones, and held ones that are stored according to a head.

    Args:
        encoder: stores the held parts.
        keys: the workflow.
        parts: the parts, in order.

    Attributes:
        blobs: how many blobs were written, including those that are not needed any more.

    """

    def __init__(self, encoder: PartEncoder, keys: WorkflowKeys, parts: Sequence[StoredPart | HeldPart]) -> None:
        self.parts = parts
        self.blobs = sum(1 for part in parts if isinstance(part, StoredPart) and part.blob)
        self._encoder = encoder
        self._keys = keys
        self._stored: list[StoredPart] = []
        # What the stored parts depend on: the checkpoint that they may rest on, and its marker's floor of bases.
        self._depends_on: tuple[int, int, bool] | None = None
        self._base_revision = 0

    @property
    def is_encodable(self) -> bool:
        """Whether a held part may rest on an earlier checkpoint."""
        return self._encoder.rules.apply_to(self._keys.namespace) and any(
            isinstance(part, HeldPart) and policy.is_encodable(part.size_bytes) for part in self.parts
        )

    @property
    def needs_blobs(self) -> bool:
        """Whether the held parts are too large for a marker as they are."""
        held = sum(part.size_bytes for part in self.parts if isinstance(part, HeldPart))
        return held > self._encoder.inline_limit_bytes

    async def stored(
        self, before: Predecessor | None, *, base_floor: int, base_revision: int, low_water_mark: int, encodes: bool
    ) -> Sequence[StoredPart]:
        """Store the held parts according to a head, unless that is done already. Return all parts.

        Args:
            before: the checkpoint that they may rest on.
            base_floor: the head's floor of bases.
            base_revision: the head's revision.
            low_water_mark: the head's low-water mark.
            encodes: whether parts may be encoded: not in logs that older servers may append to, since they do not know
                the floor of bases.

        Raises:
            StoreError: the store cannot be used.

        """
        depends_on = (0 if before is None else before.revision, base_floor, encodes)
        is_too_old = self._base_revision < low_water_mark and any(part.blob for part in self._stored)
        if depends_on != self._depends_on or is_too_old:
            self._stored = await self._store_all(before, base_revision, encodes=encodes)
            self._depends_on, self._base_revision = depends_on, base_revision
        return self._stored

    def keep(self) -> None:
        """Keep the content of the committed parts that the next checkpoint may rest on."""
        for part, stored in zip(self.parts, self._stored, strict=False):
            if isinstance(part, HeldPart):
                self._encoder.keep(self._keys, part, stored)

    async def _store_all(self, before: Predecessor | None, base_revision: int, *, encodes: bool) -> list[StoredPart]:
        room = self._encoder.inline_limit_bytes
        room -= sum(len(part.inline) for part in self.parts if isinstance(part, StoredPart))
        found: list[StoredPart] = []
        for part in self.parts:
            if isinstance(part, HeldPart):
                choice = await self._encoder.choose(self._keys, part, before) if encodes else Choice()
                found.append(await self._store(part, choice, room, base_revision))
                room -= len(found[-1].inline)
            else:
                found.append(part)
        return found

    async def _store(self, part: HeldPart, choice: Choice, room: int, base_revision: int) -> StoredPart:
        data = part.data if choice.frame is None else choice.frame
        stored = describe(part, choice)
        if len(data) <= room:
            stored.inline = data
            return stored
        stored.blob = new_blob(base_revision, unique())
        if choice.frame is None:
            stored.block_bytes = BLOCK_BYTES
            stored.block_crc32c.extend(part.block_crc32c)
        self.blobs += 1
        async with self._encoder.store.put(self._keys.blob(stored.blob)) as writer:
            await writer.write(data)
            await writer.finish()
        return stored


def describe(part: HeldPart, choice: Choice) -> StoredPart:
    """Return the description of a part that is stored in a chosen way, without its location."""
    stored = StoredPart(
        name=part.name,
        size_bytes=part.size_bytes,
        sha256=part.sha256,
        crc32c=part.crc32c,
        encoding=choice.encoding,
        bases=choice.bases,
        plain_saves=choice.plain_saves,
    )
    if choice.frame is not None:
        stored.stored_bytes = len(choice.frame)
    return stored
