"""Keys for MACs, and the MACs of objects computed without the server's code."""

import hashlib
import hmac
import struct

from holdfast_server.protocol.format.keyed_store import KeyedStore
from holdfast_server.protocol.format.macs import MacKey, Macs
from holdfast_server.stores.base import ObjectStore

STORE_ID = "s"
KEY, OTHER_KEY = MacKey(bytes(range(32))), MacKey(bytes(range(1, 33)))
HEAD_BYTES = 44


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """Derive at most 32 bytes by HKDF-SHA256 (RFC 5869)."""
    pseudorandom = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(pseudorandom, info + b"\x01", "sha256")[:length]


def key_id(secret: bytes) -> bytes:
    """Return the id of a key."""
    return hkdf(secret, b"", b"holdfast mac key id", 4)


def namespace_key(namespace: str, secret: bytes = KEY.secret, store_id: str = STORE_ID) -> bytes:
    """Return the key of a namespace, encoded as in key paths."""
    return hkdf(secret, store_id.encode(), b"holdfast mac\0" + namespace.encode())


def with_mac(path: str, frame: bytes, key: bytes, secret: bytes = KEY.secret) -> bytes:
    """Return a keyed object whose MAC is made with a derived key."""
    return b"HFMK" + struct.pack(">HH", 3, 0) + key_id(secret) + mac_of(path, frame, key) + frame


def mac_of(path: str, content: bytes, key: bytes) -> bytes:
    """Return the MAC of some content in a place, made with a derived key."""
    place = path.encode(errors="surrogatepass")
    return hmac.new(key, struct.pack(">I", len(place)) + place + content, hashlib.sha256).digest()


def frame_in(data: bytes) -> bytes:
    """Return the frame in an object, whether it has a MAC or not."""
    return data[HEAD_BYTES:] if data[:6] == b"HFMK\0\3" else data


def keyed(store: ObjectStore, *keys: MacKey, store_id: str = STORE_ID) -> KeyedStore:
    """Return a store that makes and checks MACs."""
    return KeyedStore(store, Macs(keys or (KEY,), store_id))
