"""MACs: how markers, claims, records, indexes and the manifest show that a server of the store has written them.

A keyed object is the magic "HFMK", the version 3 (u16), two zero bytes, the id of a key (4 bytes), a MAC (32 bytes) and
a frame (`frame`) without any change. The MAC is HMAC-SHA256 over the length of the object's key path (u32), that path
and the frame. Its key is derived by HKDF-SHA256 from a secret of the servers, with the store's id as salt and the
encoded namespace as info. So an object is valid in one place of one store, and no namespace's key fits another. The
frame of a marker contains the digest of the marker before it, so its MAC covers the chain.

Digests of markers are those of the frames alone: they do not depend on the MAC, and a new key changes none of them.
"""

import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.frame import KEYED_VERSION, MAGIC

SECRET_BYTES = 32
OVERHEAD_BYTES = 44

_HEADER = struct.Struct(">4sHH4s32s")
_LENGTH = struct.Struct(">I")
_ID_BYTES = 4
_DERIVED_BYTES = 32
# Derived keys that are kept; each takes about 10 µs to derive.
_KEPT_KEYS = 4096


class Flaw(StrEnum):
    """What is wrong with the MAC of an object, as the metadata of errors names it."""

    MISSING = "missing"
    UNKNOWN_KEY = "unknown_key"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class MacKey:
    """A secret of the servers from which the keys of namespaces are derived.

    Attributes:
        secret: 32 random bytes.

    """

    secret: bytes

    @property
    def key_id(self) -> str:
        """Its id, 8 hex digits, which objects carry. It is derived from the secret."""
        return _derived(self.secret, b"", b"holdfast mac key id", _ID_BYTES).hex()

    def __repr__(self) -> str:
        """Return a text without the secret, since values may be logged."""
        return f"MacKey({self.key_id})"


class Macs:
    """Makes and checks the MACs of one store.

    Args:
        keys: the secrets. The first one makes MACs, all of them check.
        store_id: the id of the store.

    Attributes:
        key_id: the id of the key that makes MACs.

    """

    def __init__(self, keys: Sequence[MacKey], store_id: str) -> None:
        self._secrets = {bytes.fromhex(key.key_id): key.secret for key in keys}
        self._active = next(iter(self._secrets))
        self._salt = store_id.encode()
        self._key_of = lru_cache(_KEPT_KEYS)(self._derive)
        self.key_id = self._active.hex()

    def keyed(self, path: str, frame: bytes) -> bytes:
        """Return the keyed object of a frame.

        Args:
            path: the key path of the object.
            frame: the frame.

        """
        return _HEADER.pack(MAGIC, KEYED_VERSION, 0, self._active, self.mac(path, frame, self._active)) + frame

    def opened(self, path: str, data: bytes) -> tuple[bytes, str]:
        """Return the frame in a keyed object, and the id of the key of its MAC.

        Raises:
            HoldfastError: CHECKPOINT_CORRUPTED: the MAC is missing or wrong, or its key is unknown. `mac` in the
                metadata says which, as a `Flaw`.

        """
        if len(data) < OVERHEAD_BYTES:
            raise flawed(path, Flaw.MISSING)
        magic, version, flags, key_id, mac = _HEADER.unpack_from(data)
        if (magic, version, flags) != (MAGIC, KEYED_VERSION, 0):
            raise flawed(path, Flaw.MISSING)
        if key_id not in self._secrets:
            raise flawed(path, Flaw.UNKNOWN_KEY, key_id.hex())
        frame = data[OVERHEAD_BYTES:]
        if not hmac.compare_digest(mac, self.mac(path, frame, key_id)):
            raise flawed(path, Flaw.WRONG, key_id.hex())
        return frame, key_id.hex()

    def mac(self, path: str, content: bytes, key_id: bytes | None = None) -> bytes:
        """Return the MAC of some content under a key path.

        Args:
            path: the key path.
            content: the content.
            key_id: the id of the key; None for the one that makes MACs.

        """
        place = path.encode(errors="surrogatepass")
        key = self._key_of(self._active if key_id is None else key_id, _namespace_of(path))
        return hmac.digest(key, _LENGTH.pack(len(place)) + place + content, "sha256")

    def knows(self, key_id: str) -> bool:
        """Return whether there is a key with an id."""
        return any(known.hex() == key_id for known in self._secrets)

    def _derive(self, key_id: bytes, namespace: str) -> bytes:
        return _derived(self._secrets[key_id], self._salt, b"holdfast mac\0" + namespace.encode(), _DERIVED_BYTES)


def flawed(path: str, flaw: Flaw, key_id: str = "") -> HoldfastError:
    """Return the error for an object whose MAC has a flaw."""
    why = {
        Flaw.MISSING: "it has no MAC",
        Flaw.UNKNOWN_KEY: f"its MAC has the unknown key {key_id}",
        Flaw.WRONG: f"its MAC of key {key_id} is wrong",
    }[flaw]
    named = {"mac_key_id": key_id} if key_id else {}
    message = f"an object was not written by a server of this store as it is, and where it is: {why}"
    return HoldfastError(Reason.CHECKPOINT_CORRUPTED, message, key=path, mac=flaw, **named)


def _namespace_of(path: str) -> str:
    """Return the namespace in a key path, encoded; "" for the manifest."""
    steps = path.split("/", 2)
    return steps[1] if len(steps) == 3 else ""


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    # Imported only where keys are in use: the library takes longer to load than the rest of this package.
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)
