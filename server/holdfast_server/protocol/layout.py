"""What a store as a whole says of itself: the layout of its keys, and the grace that all its servers go by.

What cannot be understood is refused: by a wrong grace a collection would remove what is still counted on.
"""

from google.protobuf import json_format

from holdfast_server.protocol.bounded_read import read_whole
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.keys import LAYOUT_VERSION, MANIFEST_KEY
from holdfast_server.protocol.log import GRACE_SECONDS
from holdfast_server.storage.v1.marker_pb2 import StoreManifest
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore

MAX_GRACE_SECONDS = 366 * 86_400.0

_MAX_MANIFEST_BYTES = 64 << 10


async def open_layout(store: ObjectStore, *, grace_seconds: float = GRACE_SECONDS) -> float:
    """Mark a new store with the layout that this server writes, or check the mark of an old one.

    Args:
        store: the store.
        grace_seconds: how long what is dead stays in a new store.

    Returns:
        The store's grace in seconds; an old store keeps the one that it was made with.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.

    """
    try:
        stored = await _read(store)
    except ObjectNotFoundError:
        manifest = StoreManifest(layout_version=LAYOUT_VERSION, grace_seconds=grace_seconds)
        if await store.put_if_absent(MANIFEST_KEY, json_format.MessageToJson(manifest).encode()):
            return grace_seconds
        stored = await _read(store)
    try:
        found = json_format.Parse(stored.decode(), StoreManifest(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError):
        raise _unreadable() from None
    if found.layout_version > LAYOUT_VERSION:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"the store has layout {found.layout_version}, this server knows up to {LAYOUT_VERSION}",
            layout_version=found.layout_version,
        )
    grace = found.grace_seconds if found.HasField("grace_seconds") else GRACE_SECONDS
    if found.layout_version < 1 or not 0 <= grace <= MAX_GRACE_SECONDS:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"{MANIFEST_KEY} of the store makes no sense: layout {found.layout_version}, a grace of {grace} s",
        )
    return grace


async def _read(store: ObjectStore) -> bytes:
    try:
        return await read_whole(store, MANIFEST_KEY, _MAX_MANIFEST_BYTES)
    except HoldfastError:
        raise _unreadable() from None


def _unreadable() -> HoldfastError:
    return HoldfastError(Reason.LAYOUT_UNSUPPORTED, f"{MANIFEST_KEY} of the store cannot be read")
