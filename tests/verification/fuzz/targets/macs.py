"""MACs: an object is opened exactly if a key of the store made its MAC for its place, as independent code computes it.

The same holds for the manifest, whose MAC covers its JSON.
"""

import json
from base64 import b64encode

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import MANIFEST_KEY, WorkflowKeys, has_mac
from holdfast_server.protocol.format.macs import Flaw, Macs
from holdfast_server.protocol.format.manifest import open_layout
from holdfast_server.stores.memory import MemoryStore

from tests.support.inline_loop import run
from tests.support.mac_keys import HEAD_BYTES, KEY, OTHER_KEY, STORE_ID, key_id, keyed, mac_of, namespace_key, with_mac
from tests.verification.fuzz.reader import Reader

_FOREIGN = bytes(range(2, 34))
_SECRETS = (KEY.secret, OTHER_KEY.secret)
_KEYS, _LONG, _BESIDE = WorkflowKeys("n", "w"), WorkflowKeys("n", "w" * 300), WorkflowKeys("größe", "w")
_PATHS = (
    _KEYS.marker(1),
    _KEYS.marker(2),
    _KEYS.claim(1, "c"),
    _KEYS.batch("c", 1, "0" * 32),
    _LONG.marker(1),
    _BESIDE.marker(1),
    f"{_KEYS.prefix}log/\udcff",
    "ns/n/wf/",
    "a/b",
    "",
)
_MANIFEST = {"layoutVersion": 1, "graceSeconds": 5.0, "storeId": STORE_ID, "markerVersion": 3, "macKeyId": KEY.key_id}


def check(data: bytes) -> None:
    reader = Reader(data)
    if reader.below(4) == 3:
        _check_manifest(_manifest(reader))
        return
    path = reader.choice(_PATHS)
    stored = _object(reader)
    _check_opened(path, stored)
    if has_mac(path):
        run(_check_range(path, stored, reader.byte(), reader.byte()))


def _check_opened(path: str, stored: bytes) -> None:
    try:
        frame, used = Macs((KEY, OTHER_KEY), STORE_ID).opened(path, stored)
    except HoldfastError as error:
        assert error.reason is Reason.CHECKPOINT_CORRUPTED
        assert (error.metadata["key"], Flaw(error.metadata["mac"])) == (path, error.metadata["mac"])
        assert not _makers(path, stored)
        return
    assert [used] == [key_id(secret).hex() for secret in _makers(path, stored)]
    assert frame == stored[HEAD_BYTES:]


async def _check_range(path: str, stored: bytes, offset: int, length: int) -> None:
    store = MemoryStore()
    await store.put_if_absent(path, stored)
    try:
        found = await keyed(store, KEY, OTHER_KEY).get(path, offset=offset, length=length)
    except HoldfastError:
        assert not _makers(path, stored)
        return
    frame = stored[HEAD_BYTES:]
    assert (found.data, found.size_bytes) == (frame[offset : offset + length], len(frame))
    assert _makers(path, stored)


def _makers(path: str, stored: bytes) -> list[bytes]:
    """Return the secrets of the store by which the object would have been made."""
    frame = stored[HEAD_BYTES:]
    return [
        secret
        for secret in _SECRETS
        if stored == with_mac(path, frame, namespace_key(_namespace(path), secret), secret)
    ]


def _namespace(path: str) -> str:
    return path.split("/")[1] if path.count("/") > 1 else ""


def _object(reader: Reader) -> bytes:
    """Return any bytes, or an object with a MAC that something was done to."""
    if reader.below(4) == 0:
        return reader.rest()
    frame = reader.raw()
    made_for, secret = reader.choice(_PATHS), reader.choice((*_SECRETS, _FOREIGN))
    namespace = _namespace(reader.choice((made_for, made_for, made_for, *_PATHS)))
    stored = with_mac(made_for, frame, namespace_key(namespace, secret, reader.choice((STORE_ID, "", "t"))), secret)
    kind = reader.below(6)
    if kind in (1, 5):
        place = reader.below(min(256, len(stored)))
        new = bytes([reader.byte()]) if kind == 1 else reader.raw()
        return stored[:place] + new + stored[place + (kind == 1) :]
    if kind == 2:
        return stored[: reader.byte()]
    if kind == 3:
        return stored + reader.raw()
    if kind == 4:
        # The MAC of another object.
        return stored[:HEAD_BYTES] + reader.raw()
    return stored


def _manifest(reader: Reader) -> bytes:
    if reader.below(4) == 0:
        return reader.rest()
    fields: dict[str, object] = dict(_MANIFEST)
    for _ in range(reader.below(3)):
        name = reader.choice((*_MANIFEST, "grace_seconds", "addingMacs", "mac", "other"))
        fields[name] = reader.choice((0, 1, 3, 86_400, True, None, "", "t", OTHER_KEY.key_id, [], {}, reader.text()))
    secret, store_id = reader.choice((*_SECRETS, _FOREIGN)), reader.choice((STORE_ID, "t"))
    covered = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    mac = mac_of(MANIFEST_KEY, covered, namespace_key("", secret, store_id))
    whole: dict[str, object] = fields | {"mac": b64encode(mac[: reader.choice((32, 32, 32, 16, 0))]).decode()}
    for _ in range(reader.below(2)):
        whole[reader.choice(tuple(_MANIFEST))] = reader.integer()
    return json.dumps(whole).encode()


def _check_manifest(stored: bytes) -> None:
    try:
        run(_opened(stored))
    except HoldfastError as error:
        assert error.reason in (Reason.LAYOUT_UNSUPPORTED, Reason.CHECKPOINT_CORRUPTED)
        return
    found = json.loads(stored)
    mac = found.pop("mac")
    covered = json.dumps(found, sort_keys=True, separators=(",", ":")).encode()
    store_id = found.get("storeId", found.get("store_id", ""))
    named = found.get("macKeyId", found.get("mac_key_id"))
    [secret] = [each for each in _SECRETS if key_id(each).hex() == named]
    right = mac_of(MANIFEST_KEY, covered, namespace_key("", secret, store_id))
    assert mac.replace("-", "+").replace("_", "/").rstrip("=") == b64encode(right).decode().rstrip("=")


async def _opened(stored: bytes) -> None:
    store = MemoryStore()
    await store.put_if_absent(MANIFEST_KEY, stored)
    layout = await open_layout(store, mac_keys=(KEY, OTHER_KEY))
    assert layout.macs is not None
