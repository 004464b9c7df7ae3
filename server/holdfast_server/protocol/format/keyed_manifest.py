"""The MAC of a store's manifest. It covers the JSON without the MAC itself, with sorted names and no spaces."""

import hmac
import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from holdfast_server.layout.v1.marker_pb2 import StoreManifest
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.frame import KEYED_VERSION
from holdfast_server.protocol.format.keys import MANIFEST_KEY
from holdfast_server.protocol.format.macs import Flaw, MacKey, Macs, flawed

# Names of StoreManifest's fields in JSON.
_MAC, _KEY_ID, _VERSION, _ADDING = "mac", "macKeyId", "markerVersion", "addingMacs"


def keyed(fields: dict[str, Any], macs: Macs, *, adds_macs: bool = False) -> bytes:
    """Return the manifest of a store with MACs.

    Args:
        fields: the fields of the manifest's JSON.
        macs: the MACs of the store.
        adds_macs: whether objects may still be without one, so that servers must wait.

    """
    kept = {name: value for name, value in fields.items() if name not in (_MAC, _ADDING)}
    kept |= {_VERSION: KEYED_VERSION, _KEY_ID: macs.key_id} | ({_ADDING: True} if adds_macs else {})
    mac = macs.mac(MANIFEST_KEY, _covered(kept))
    return json.dumps(kept | {_MAC: b64encode(mac).decode()}, indent=2).encode()


def is_keyed(found: StoreManifest) -> bool:
    """Return whether a manifest says that its store has MACs, rightly or not."""
    return bool(found.mac or found.mac_key_id or found.adding_macs) or found.marker_version >= KEYED_VERSION


def macs_of(stored: bytes, found: StoreManifest, keys: Sequence[MacKey]) -> Macs | None:
    """Check a manifest, and return the MACs of its store; None if neither the store nor the server has any.

    Args:
        stored: the manifest.
        found: the same, parsed.
        keys: the server's keys; none if it has no MACs.

    Raises:
        HoldfastError: LAYOUT_UNSUPPORTED: the server has no keys, and the store has MACs; CHECKPOINT_CORRUPTED: the
            manifest has no MAC or not the right one, see `Macs.opened`.

    """
    if not keys:
        if is_keyed(found):
            raise HoldfastError(Reason.LAYOUT_UNSUPPORTED, "the store has MACs: this server needs mac_keys_file")
        return None
    if not found.mac:
        raise HoldfastError(
            Reason.CHECKPOINT_CORRUPTED,
            f"{MANIFEST_KEY} has no MAC, and mac_keys_file is given. A store gets its MACs once, by `holdfast-server "
            "add-macs --first`. If it had them already, the manifest was replaced: restore it",
            key=MANIFEST_KEY,
            mac=Flaw.MISSING,
        )
    macs = Macs(keys, found.store_id)
    if not macs.knows(found.mac_key_id):
        raise flawed(MANIFEST_KEY, Flaw.UNKNOWN_KEY, found.mac_key_id)
    right = macs.mac(MANIFEST_KEY, _covered(json.loads(stored)), bytes.fromhex(found.mac_key_id))
    if not hmac.compare_digest(right, found.mac):
        raise flawed(MANIFEST_KEY, Flaw.WRONG, found.mac_key_id)
    return macs


def _covered(fields: dict[str, Any]) -> bytes:
    covered = {name: value for name, value in fields.items() if name != _MAC}
    return json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()
