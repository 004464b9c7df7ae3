"""The manifest of a store: the layout of its keys, and the grace that all of its servers apply.

A manifest that cannot be understood is refused: with a wrong grace a collection would remove objects that are in use.
"""

import logging

from google.protobuf import json_format

from holdfast_server.layout.v1.marker_pb2 import StoreManifest
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.ids import unique
from holdfast_server.protocol.format.keys import LAYOUT_VERSION, MANIFEST_KEY
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, StoreError

_LOG = logging.getLogger("holdfast.server")

# The grace of a store whose manifest has none.
GRACE_SECONDS = 24 * 3600.0
MAX_GRACE_SECONDS = 366 * 86_400.0

_MAX_MANIFEST_BYTES = 64 << 10


class NoStoreError(StoreError):
    """There is no store in a place that must have one."""

    def __init__(self) -> None:
        super().__init__(f"not a store of Holdfast: {MANIFEST_KEY} is missing")


async def open_layout(store: ObjectStore, *, grace_seconds: float | None = None, must_exist: bool = False) -> float:
    """Write the manifest of a new store, or check that of an existing one.

    Args:
        store: the store.
        grace_seconds: how long a new store keeps dead objects; None for a day. If an existing store has a different
            grace, a warning is logged.
        must_exist: whether to refuse a place without a manifest, and write nothing.

    Returns:
        The store's grace in seconds. An existing store keeps the grace that it was created with.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        NoStoreError: the place has no manifest, and must have one.
        StoreError: the store cannot be used.

    """
    try:
        stored = await _read(store)
    except ObjectNotFoundError:
        if must_exist:
            raise NoStoreError from None
        grace = GRACE_SECONDS if grace_seconds is None else grace_seconds
        manifest = StoreManifest(layout_version=LAYOUT_VERSION, grace_seconds=grace, store_id=unique())
        if await store.put_if_absent(MANIFEST_KEY, json_format.MessageToJson(manifest).encode()):
            return grace
        stored = await _read(store)
    try:
        found = json_format.Parse(stored.decode(), StoreManifest(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError):
        raise _unreadable() from None
    if found.layout_version > LAYOUT_VERSION:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"the store has layout {found.layout_version}, this server reads layouts up to {LAYOUT_VERSION}",
            layout_version=found.layout_version,
        )
    grace = found.grace_seconds if found.HasField("grace_seconds") else GRACE_SECONDS
    if found.layout_version < 1 or not 0 <= grace <= MAX_GRACE_SECONDS:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"invalid {MANIFEST_KEY}: expected a layout of 1 or more and a grace of 0 to {MAX_GRACE_SECONDS} s, "
            f"found layout {found.layout_version} and a grace of {grace} s",
        )
    if grace_seconds is not None and grace_seconds != grace:
        _LOG.warning(
            "the store keeps the grace that it was created with; grace_seconds has no effect",
            extra={"grace_seconds": grace, "given_grace_seconds": grace_seconds},
        )
    return grace


async def identify(store: ObjectStore) -> bytes:
    """Return the bytes of a store's manifest, which distinguish it from every other store.

    Raises:
        ObjectNotFoundError: the manifest is missing.
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
