"""Gives every object of a store a MAC of the newest key. No server may use the store in that time.

A first run accepts objects that have no MAC. It begins by saying so in the manifest, which no server opens until the
run has ended: from then on no server accepts an object without a MAC. Every later run only replaces MACs of older keys,
and leaves an object alone whose MAC is not valid. A run that was cut off is begun again: finished objects are kept.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import keyed_manifest
from holdfast_server.protocol.format.bounded_read import MAX_MARKER_BYTES, read_whole
from holdfast_server.protocol.format.ids import unique
from holdfast_server.protocol.format.keys import MANIFEST_KEY, REPORTS, has_mac, is_ours
from holdfast_server.protocol.format.macs import OVERHEAD_BYTES, Flaw, MacKey, Macs
from holdfast_server.protocol.format.manifest import read_manifest
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, ObjectSummary
from holdfast_server.stores.listing import list_all
from holdfast_server.stores.retried import RetriedStore

_ALL = "ns/"
_AT_ONCE = 16
# Larger objects are read one at a time.
_LARGE_BYTES = 1 << 20


class HasMacsError(Exception):
    """A first run is for stores that have no MACs."""

    def __init__(self) -> None:
        super().__init__("the store has its MACs already: an object without one is not from a server")


@dataclass(slots=True)
class Added:
    """What a run has done.

    Attributes:
        objects: the objects that have a valid MAC now.
        added: those that had none.
        renewed: those whose MAC was one of an older key.
        flawed: the objects whose MAC is missing or not valid, and which were left as they are.

    """

    objects: int = 0
    added: int = 0
    renewed: int = 0
    flawed: int = 0


async def add_macs(
    store: ObjectStore,
    keys: Sequence[MacKey],
    *,
    first: bool,
    on_flawed: Callable[[str, str], None] = lambda key, what: None,
    on_progress: Callable[[str, int], None] = lambda key, objects: None,
) -> Added:
    """Give every object of a store a MAC of the first key.

    Args:
        store: the store, without MACs.
        keys: the keys, at least one.
        first: whether to accept objects that have no MAC.
        on_flawed: called with the key path of each object that is left as it is, and why.
        on_progress: called with the key path that was reached, and the number of objects so far.

    Raises:
        HasMacsError: a run accepts objects without a MAC, but one before it has finished.
        HoldfastError: LAYOUT_UNSUPPORTED; CHECKPOINT_CORRUPTED of the manifest.
        NoStoreError: there is no store.
        StoreError: the store cannot be used.

    """
    store = RetriedStore(store)
    stored, found = await read_manifest(store)
    fields = json.loads(stored)
    if first and not keyed_manifest.is_keyed(found):
        # A part of every MAC. Manifests of older servers have none.
        fields["storeId"] = found.store_id or unique()
        macs = Macs(keys, fields["storeId"])
        await store.replace(MANIFEST_KEY, keyed_manifest.keyed(fields, macs, adds_macs=True))
    else:
        known = keyed_manifest.macs_of(stored, found, keys)
        assert known is not None
        macs = known
        if first and not found.adding_macs:
            raise HasMacsError
        if not first and found.adding_macs:
            raise HoldfastError(Reason.LAYOUT_UNSUPPORTED, "the first run did not finish: begin it again, with --first")
        if found.mac_key_id != macs.key_id:
            # Servers that still run see that the manifest is another one, and stop.
            await store.replace(MANIFEST_KEY, keyed_manifest.keyed(fields, macs, adds_macs=first))
    run = _Run(store, macs, accepts_missing=first, on_flawed=on_flawed)
    async for some in _batches(list_all(store, _ALL)):
        await asyncio.gather(*map(run.add, some))
        on_progress(some[-1], run.added.objects)
    await asyncio.gather(*map(run.add, REPORTS))
    if first:
        await store.replace(MANIFEST_KEY, keyed_manifest.keyed(fields, macs))
    return run.added


class _Run:
    def __init__(
        self, store: ObjectStore, macs: Macs, *, accepts_missing: bool, on_flawed: Callable[[str, str], None]
    ) -> None:
        self.added = Added()
        self._store = store
        self._macs = macs
        self._accepts_missing = accepts_missing
        self._on_flawed = on_flawed

    async def add(self, key: str) -> None:
        """Give an object a MAC of the newest key, if it has none or one of another key."""
        try:
            data = await read_whole(self._store, key, MAX_MARKER_BYTES + OVERHEAD_BYTES)
            frame, key_id = self._macs.opened(key, data)
        except ObjectNotFoundError:
            return
        except HoldfastError as error:
            if not self._accepts_missing or error.metadata.get("mac") != Flaw.MISSING:
                self.added.flawed += 1
                self._on_flawed(key, error.message)
                return
            frame, key_id = data, ""
        if key_id != self._macs.key_id:
            await self._store.replace(key, self._macs.keyed(key, frame))
            self.added.renewed += bool(key_id)
            self.added.added += not key_id
        self.added.objects += 1


async def _batches(listed: AsyncIterator[ObjectSummary]) -> AsyncIterator[Sequence[str]]:
    """Yield the key paths of objects that have a MAC, several at a time unless one is large."""
    batch: list[str] = []
    async for each in listed:
        if not has_mac(each.key) or not is_ours(each.key):
            continue
        if each.size_bytes > _LARGE_BYTES:
            yield [each.key]
            continue
        batch.append(each.key)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
