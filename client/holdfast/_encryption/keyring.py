"""Keyring: the keys of a tenant, and the data keys that they wrap."""

import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast._core import arguments
from holdfast._core.errors import EncryptionKeyMissingError, KeyServiceUnavailableError, key_missing
from holdfast._encryption import compression
from holdfast._encryption.frames import DataKey
from holdfast._encryption.keys import EncryptionKey, checked_id
from holdfast._encryption.layout import MAX_WRAPPED_BYTES
from holdfast._encryption.rewrapped import WrappedKeys, name_of

_DATA_KEY_BYTES = 32
_INFO = b"holdfast names 1"
# The data keys that are remembered, and for how long: a list or a history opens many small things under few of them.
_REMEMBERED = 1024
_REMEMBERED_SECONDS = 300.0
# Data keys as other keys have wrapped them again: nothing that is secret, and nothing that ends.
_REMEMBERED_REWRAPPED = 8192


class Keyring:
    """The keys of a tenant, for the argument `encryption` of clients and adapters.

    What a client with a keyring saves is encrypted before it leaves the process: payloads, labels and records. Ids,
    part names, the keys of records, the name and version of formats, the producer, sizes and times are not. See
    `docs/guides/encryption.md`.

    A keyring can be used by several clients at a time.

    Args:
        current: the key that encrypts.
        older: further keys, which only decrypt.
        compress: whether to compress before encrypting, if zstd is available. Compressed sizes depend on the content:
            turn it off if secret data is saved together with data that an attacker chooses.

    Raises:
        ValueError: two keys have the same id, or different label keys.

    """

    def __init__(self, current: EncryptionKey, *older: EncryptionKey, compress: bool = True) -> None:
        self._current = current
        self._keys: dict[str, EncryptionKey] = {}
        for key in (current, *older):
            if checked_id(key.id) in self._keys:
                raise ValueError(f"two keys have the id {key.id!r}")
            if key.label_key is not None and key.label_key != current.label_key:
                raise ValueError(
                    f"keys {current.id!r} and {key.id!r} have different label keys, so that labels would not be found: "
                    "make a new key by the old key's successor()"
                )
            self._keys[key.id] = key
        self._compress = arguments.flag("compress", compress) and compression.AVAILABLE
        self._name_key: bytes | None = None
        self._lock = threading.Lock()
        self._unwrapped: OrderedDict[tuple[str, bytes], tuple[bytes, float]] = OrderedDict()
        self._rewrapped: OrderedDict[bytes, dict[str, bytes]] = OrderedDict()

    def __repr__(self) -> str:
        return f"Keyring({', '.join(map(repr, self._keys))})"

    @property
    def blocks(self) -> bool:
        """Whether a key of it may wait for something, such as a network."""
        return any(key.blocks for key in self._keys.values())

    @property
    def label_key(self) -> bytes | None:
        """The secret of the digests by which labels are found; None if they are not found."""
        return self._current.label_key

    def digest(self, data: bytes) -> bytes:
        """Return a digest of 32 bytes that names data and says nothing of it to anybody without the keyring.

        Raises:
            ValueError: the current key has no label key.

        """
        if self.label_key is None:
            raise ValueError(f"key {self._current.id!r} has no label_key, which is needed to name data by its content")
        if self._name_key is None:
            self._name_key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(self.label_key)
        return hmac.digest(self._name_key, data, "sha256")

    @property
    def compresses(self) -> bool:
        """Whether it compresses before it encrypts."""
        return self._compress

    def new_data_key(self) -> DataKey:
        """Return a new data key, wrapped by the current key.

        Raises:
            EncryptionKeyMissingError: the key service does not let this process use the key.
            KeyServiceUnavailableError: the key service cannot be reached.

        """
        key = os.urandom(_DATA_KEY_BYTES)
        wrapped = self.wrapped(key)
        self._remember(self._current.id, wrapped, key)
        return DataKey(self._current.id, wrapped, key)

    @property
    def current_id(self) -> str:
        """The id of the key that encrypts."""
        return self._current.id

    def wrapped(self, data_key: bytes) -> bytes:
        """Return a data key wrapped by the current key. Raise as `new_data_key` does."""
        wrapped = self._current.wrap(data_key)
        if not 0 < len(wrapped) <= MAX_WRAPPED_BYTES:
            raise ValueError(
                f"key {self._current.id!r} wrapped a data key into {len(wrapped)} bytes, not 1 to {MAX_WRAPPED_BYTES}"
            )
        return wrapped

    def data_key(self, key_id: str, wrapped: bytes) -> bytes:
        """Return a data key: as the key that wrapped it unwraps it, or a key that has wrapped it again.

        Args:
            key_id: the key that wrapped it.
            wrapped: the wrapped data key.

        Raises:
            EncryptionKeyMissingError: the keyring has none of these keys, or the key service does not let this process
                use them.
            KeyServiceUnavailableError: the key service cannot be reached.
            ValueError: the key did not wrap it.

        """
        with self._lock:
            known, until = self._unwrapped.get((key_id, wrapped), (b"", 0.0))
            again = dict(self._rewrapped.get(name_of(key_id, wrapped), {})) if until <= time.monotonic() else {}
        if until > time.monotonic():
            return known
        again.pop(key_id, None)
        problem: Exception | None = None
        for each, of_each in ({key_id: wrapped} | again).items():
            key = self._keys.get(each)
            if key is None:
                continue
            try:
                found = key.unwrap(of_each)
            except (EncryptionKeyMissingError, KeyServiceUnavailableError, ValueError) as error:
                # Another key may do. If none does, a service that may be back later counts.
                if problem is None or isinstance(error, KeyServiceUnavailableError):
                    problem = error
                continue
            if len(found) != _DATA_KEY_BYTES:
                raise ValueError("its data key has another length")
            self._remember(key_id, wrapped, found)
            return found
        if problem is not None:
            raise problem
        raise key_missing(key_id, f"the keyring has no key {key_id!r}, only {', '.join(map(repr, self._keys))}")

    def learn(self, found: Iterable[WrappedKeys]) -> None:
        """Remember data keys that keys of this keyring have wrapped again."""
        with self._lock:
            for keys in found:
                if keys.key_id not in self._keys:
                    continue
                for name, wrapped in keys.wrapped.items():
                    self._rewrapped.setdefault(name, {})[keys.key_id] = wrapped
                    self._rewrapped.move_to_end(name)
                    while len(self._rewrapped) > _REMEMBERED_REWRAPPED:
                        self._rewrapped.popitem(last=False)

    def _remember(self, key_id: str, wrapped: bytes, key: bytes) -> None:
        with self._lock:
            self._unwrapped[key_id, wrapped] = (key, time.monotonic() + _REMEMBERED_SECONDS)
            self._unwrapped.move_to_end((key_id, wrapped))
            while len(self._unwrapped) > _REMEMBERED:
                self._unwrapped.popitem(last=False)
