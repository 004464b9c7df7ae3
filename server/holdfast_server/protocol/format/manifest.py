"""The manifest of a store: the layout of its keys, the grace that all of its servers apply, and the version of markers.

A manifest that cannot be understood is refused: with a wrong grace a collection would remove objects that are in use.
"""

import json
import logging
from dataclasses import dataclass

from google.protobuf import json_format

from holdfast_server.layout.v1.marker_pb2 import StoreManifest
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.ids import unique
from holdfast_server.protocol.format.keys import LAYOUT_VERSION, MANIFEST_KEY
from holdfast_server.protocol.format.marker import MARKER_VERSION
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, StoreError

_LOG = logging.getLogger("holdfast.server")

# The grace of a store whose manifest has none.
GRACE_SECONDS = 24 * 3600.0
MAX_GRACE_SECONDS = 366 * 86_400.0

_MAX_MANIFEST_BYTES = 64 << 10
# The name of StoreManifest.marker_version in JSON.
_VERSION = "markerVersion"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the servers of a store have in common.

    Attributes:
        grace_seconds: how long dead objects are kept.
        marker_version: the version of new markers and records.

    """

    grace_seconds: float
    marker_version: int


class NoStoreError(StoreError):
    """There is no store in a place that must have one."""

    def __init__(self) -> None:
        super().__init__(f"not a store of Holdfast: {MANIFEST_KEY} is missing")


async def open_layout(store: ObjectStore, *, grace_seconds: float | None = None, must_exist: bool = False) -> Layout:
    """Write the manifest of a new store, or check that of an existing one.

    Args:
        store: the store.
        grace_seconds: how long a new store keeps dead objects; None for a day. If an existing store has a different
            grace, a warning is logged.
        must_exist: whether to refuse a place without a manifest, and write nothing.

    Returns:
        The store's layout. An existing store keeps the grace that it was created with, and its version of markers.

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
        manifest = StoreManifest(
            layout_version=LAYOUT_VERSION, grace_seconds=grace, store_id=unique(), marker_version=MARKER_VERSION
        )
        if await store.put_if_absent(MANIFEST_KEY, json_format.MessageToJson(manifest).encode()):
            return Layout(grace, MARKER_VERSION)
        stored = await _read(store)
    found = _parsed(stored)
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
    version = found.marker_version or 1
    if not 1 <= version <= MARKER_VERSION:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"the store's markers have version {version}, this server writes versions 1 to {MARKER_VERSION}",
            marker_version=version,
            supported_marker_version=MARKER_VERSION,
        )
    if grace_seconds is not None and grace_seconds != grace:
        _LOG.warning(
            "the store keeps the grace that it was created with; grace_seconds has no effect",
            extra={"grace_seconds": grace, "given_grace_seconds": grace_seconds},
        )
    return Layout(grace, version)


async def upgrade(store: ObjectStore) -> bool:
    """Let new markers and records have the newest version; return whether they had an older one.

    Servers that do not know that version cannot use the store from then on.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        NoStoreError: there is no store.
        StoreError: the store cannot be used.

    """
    layout = await open_layout(store, must_exist=True)
    if layout.marker_version == MARKER_VERSION:
        return False
    fields = json.loads(await _read(store)) | {_VERSION: MARKER_VERSION}
    await store.replace(MANIFEST_KEY, json.dumps(fields, indent=2).encode())
    return True


async def identify(store: ObjectStore) -> bytes:
    """Return a store's manifest without its version of markers, which distinguishes it from every other store.

    Raises:
        ObjectNotFoundError: the manifest is missing.
        HoldfastError: LAYOUT_UNSUPPORTED: the manifest cannot be read.
        StoreError: the store cannot be used.

    """
    stored = await _read(store)
    try:
        fields = json.loads(stored)
    except (ValueError, RecursionError):
        return stored
    if isinstance(fields, dict):
        # An upgrade changes it.
        fields.pop(_VERSION, None)
    return json.dumps(fields).encode()


def _parsed(stored: bytes) -> StoreManifest:
    try:
        return json_format.Parse(stored.decode(), StoreManifest(), ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError):
        raise _unreadable() from None


async def _read(store: ObjectStore) -> bytes:
    try:
        return await read_whole(store, MANIFEST_KEY, _MAX_MANIFEST_BYTES)
    except HoldfastError:
        raise _unreadable() from None


def _unreadable() -> HoldfastError:
    return HoldfastError(Reason.LAYOUT_UNSUPPORTED, f"{MANIFEST_KEY} of the store cannot be read")
