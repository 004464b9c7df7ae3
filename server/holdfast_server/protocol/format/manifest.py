"""The manifest of a store: the layout of its keys, the grace that all of its servers apply, and the version of markers.

A manifest that cannot be understood is refused: with a wrong grace a collection would remove objects that are in use.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import json_format

from holdfast_server.layout.v1.marker_pb2 import StoreManifest
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import keyed_manifest
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.frame import KEYED_VERSION
from holdfast_server.protocol.format.ids import unique
from holdfast_server.protocol.format.keys import LAYOUT_VERSION, MANIFEST_KEY
from holdfast_server.protocol.format.macs import MacKey, Macs
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
        marker_version: the version of the frames of new markers and records.
        macs: the MACs of the store's objects; None if they have none.
        store_id: the id of the store, which a copy of it has too; "" for an old store, which has none.

    """

    grace_seconds: float
    marker_version: int
    macs: Macs | None = None
    store_id: str = ""


class NoStoreError(StoreError):
    """There is no store in a place that must have one."""

    def __init__(self) -> None:
        super().__init__(f"not a store of Holdfast: {MANIFEST_KEY} is missing")


async def open_layout(
    store: ObjectStore,
    *,
    grace_seconds: float | None = None,
    must_exist: bool = False,
    mac_keys: Sequence[MacKey] = (),
) -> Layout:
    """Write the manifest of a new store, or check that of an existing one.

    Args:
        store: the store.
        grace_seconds: how long a new store keeps dead objects; None for a day. If an existing store has a different
            grace, a warning is logged.
        must_exist: whether to refuse a place without a manifest, and write nothing.
        mac_keys: the server's keys for MACs; none if it makes none. A new store gets MACs if there are keys.

    Returns:
        The store's layout. An existing store keeps the grace that it was created with, and its version of markers.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED; also if the store has MACs and the server no keys, or if not all objects have
            one yet; CHECKPOINT_CORRUPTED: the server has keys, and the MAC of the manifest is not valid.
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
        macs = Macs(mac_keys, manifest.store_id) if mac_keys else None
        new = json_format.MessageToJson(manifest).encode()
        if macs is not None:
            new = keyed_manifest.keyed(json.loads(new), macs)
        if await store.put_if_absent(MANIFEST_KEY, new):
            return Layout(grace, MARKER_VERSION, macs, manifest.store_id)
        stored = await _read(store)
    found = _understood(stored)
    macs = keyed_manifest.macs_of(stored, found, mac_keys)
    if found.adding_macs:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            "not all objects of the store have a MAC yet: let `holdfast-server add-macs --first` finish",
        )
    grace = _grace_of(found)
    if grace_seconds is not None and grace_seconds != grace:
        _LOG.warning(
            "the store keeps the grace that it was created with; grace_seconds has no effect",
            extra={"grace_seconds": grace, "given_grace_seconds": grace_seconds},
        )
    return Layout(grace, min(found.marker_version or 1, MARKER_VERSION), macs, found.store_id)


async def read_manifest(store: ObjectStore) -> tuple[bytes, StoreManifest]:
    """Return the manifest of a store, as it is stored and parsed. Its MAC is not checked.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.
        NoStoreError: there is no store.
        StoreError: the store cannot be used.

    """
    try:
        stored = await _read(store)
    except ObjectNotFoundError:
        raise NoStoreError from None
    return stored, _understood(stored)


async def upgrade(store: ObjectStore, mac_keys: Sequence[MacKey] = ()) -> bool:
    """Let new markers and records have the newest version; return whether they had an older one.

    Servers that do not know that version cannot use the store from then on.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED, CHECKPOINT_CORRUPTED.
        NoStoreError: there is no store.
        StoreError: the store cannot be used.

    """
    layout = await open_layout(store, must_exist=True, mac_keys=mac_keys)
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


def _understood(stored: bytes) -> StoreManifest:
    """Parse a manifest.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED.

    """
    found = _parsed(stored)
    if found.layout_version > LAYOUT_VERSION:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"the store has layout {found.layout_version}, this server reads layouts up to {LAYOUT_VERSION}",
            layout_version=found.layout_version,
        )
    grace = _grace_of(found)
    if found.layout_version < 1 or not 0 <= grace <= MAX_GRACE_SECONDS:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"invalid {MANIFEST_KEY}: expected a layout of 1 or more and a grace of 0 to {MAX_GRACE_SECONDS} s, "
            f"found layout {found.layout_version} and a grace of {grace} s",
        )
    version = found.marker_version or 1
    if not 1 <= version <= KEYED_VERSION:
        raise HoldfastError(
            Reason.LAYOUT_UNSUPPORTED,
            f"the store's markers have version {version}, this server writes versions 1 to {KEYED_VERSION}",
            marker_version=version,
            supported_marker_version=KEYED_VERSION,
        )
    return found


def _grace_of(found: StoreManifest) -> float:
    return found.grace_seconds if found.HasField("grace_seconds") else GRACE_SECONDS


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
