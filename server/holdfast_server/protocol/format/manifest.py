"""What a store as a whole says of itself: the layout of its keys, and the grace that all its servers go by.

What cannot be understood is refused: by a wrong grace a collection would remove what is still counted on.
"""

import logging
import uuid

from google.protobuf import json_format

from holdfast_server.layout.v1.marker_pb2 import StoreManifest
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.keys import LAYOUT_VERSION, MANIFEST_KEY
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, StoreError

_LOG = logging.getLogger("holdfast.server")

# The grace of a store whose manifest names none.
GRACE_SECONDS = 24 * 3600.0
MAX_GRACE_SECONDS = 366 * 86_400.0

_MAX_MANIFEST_BYTES = 64 << 10


class NoStoreError(StoreError):
    """No store lies where one must exist."""

    def __init__(self) -> None:
        super().__init__(f"no store of Holdfast lies there: {MANIFEST_KEY} is missing")


async def open_layout(store: ObjectStore, *, grace_seconds: float | None = None, must_exist: bool = False) -> float:
    """Mark a new store with the layout that this server writes, or check the mark of an old one.

    Args:
        store: the store.
        grace_seconds: how long what is dead stays in a new store; None for a day. Another one than an old store has is
            reported in the log.
        must_exist: refuse a place without a mark, and write nothing.

    Returns:
        The store's grace in seconds; an old store keeps the one that it was made with.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        NoStoreError: the place has no mark, and must have one.
        StoreError: the store cannot be used.

    """
    try:
        stored = await _read(store)
    except ObjectNotFoundError:
        if must_exist:
            raise NoStoreError from None
        wanted = GRACE_SECONDS if grace_seconds is None else grace_seconds
        manifest = StoreManifest(layout_version=LAYOUT_VERSION, grace_seconds=wanted, store_id=uuid.uuid4().hex)
        if await store.put_if_absent(MANIFEST_KEY, json_format.MessageToJson(manifest).encode()):
            return wanted
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
    if grace_seconds is not None and grace_seconds != grace:
        _LOG.warning(
            "the store keeps the grace that it was made with; grace_seconds has no effect",
            extra={"grace_seconds": grace, "given_grace_seconds": grace_seconds},
        )
    return grace


async def identify(store: ObjectStore) -> bytes:
    """Return what tells a store from any other one: its manifest, as it lies there.

    Raises:
        ObjectNotFoundError: the manifest is gone.
        HoldfastError: LAYOUT_UNSUPPORTED: the manifest cannot be read.
        StoreError: the store cannot be used.

    """
    return await _read(store)


async def _read(store: ObjectStore) -> bytes:
    try:
        return await read_whole(store, MANIFEST_KEY, _MAX_MANIFEST_BYTES)
    except HoldfastError:
        raise _unreadable() from None


def _unreadable() -> HoldfastError:
    return HoldfastError(Reason.LAYOUT_UNSUPPORTED, f"{MANIFEST_KEY} of the store cannot be read")
