"""Keys of a tenant: what a key of any kind must be able to do, and keys that are kept in files."""

import json
import os
import secrets
import stat
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, Self

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from holdfast._core import arguments
from holdfast._encryption.layout import MAX_KEY_ID_BYTES

_KEY_BYTES = 32
_VERSION = 1
_FIELDS = frozenset({"holdfast_key", "id", "key", "label_key"})
# A key file has some 200 bytes.
_MAX_FILE_BYTES = 64 << 10


class EncryptionKey(Protocol):
    """A key of a tenant, which wraps data keys: a `LocalKey`, or one that a key service keeps.

    Its methods are called in threads, several at a time, unless `blocks` is False.

    Attributes:
        id: names the key, 1 to 256 bytes. It is stored with all that the key encrypts.
        label_key: 32 secret bytes that make the digests by which labels are found; None if labels need not be found.
            They must stay the same when the key is replaced.
        blocks: whether a call may wait for something, such as a network.

    """

    @property
    def id(self) -> str: ...
    @property
    def label_key(self) -> bytes | None: ...
    @property
    def blocks(self) -> bool: ...

    def wrap(self, data_key: bytes) -> bytes:
        """Encrypt a data key of 32 bytes. Return at most 4096 bytes.

        Raises:
            HoldfastError: the key service refuses, or cannot be reached: make it by `key_missing` or
                `key_service_unavailable`.

        """

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return the data key that `wrap` encrypted.

        Raises:
            ValueError: this key did not wrap it, or it was changed.
            HoldfastError: as for `wrap`.

        """


@dataclass(frozen=True, slots=True)
class LocalKey:
    """A key whose bytes this process knows. `generate` makes one, `read` reads one from a file.

    Attributes:
        id: names the key, 1 to 256 bytes.
        key: 32 random bytes. Wraps data keys by AES key wrap (RFC 3394).
        label_key: 32 random bytes, which make the digests by which labels are found; None if they need not be found.

    Raises:
        ValueError: the id or a key has another length.

    """

    id: str
    key: bytes = field(repr=False)
    label_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checked_id(self.id)
        for name, value in (("key", self.key), ("label_key", self.label_key)):
            if name == "label_key" and value is None:
                continue
            if len(arguments.octets(name, value)) != _KEY_BYTES:
                raise ValueError(f"{name} must have {_KEY_BYTES} bytes, not {len(value or b'')}")

    @classmethod
    def generate(cls, id: str = "") -> Self:  # noqa: A002 - the attribute's name
        """Return a new key.

        Args:
            id: its id; "" for one of the date and random digits.

        """
        return cls(id or _new_id(), secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_KEY_BYTES))

    def successor(self, id: str = "") -> Self:  # noqa: A002 - the attribute's name
        """Return a new key that finds the labels of this one. Use it to replace this key.

        Args:
            id: its id; "" for one of the date and random digits.

        """
        return type(self)(id or _new_id(), secrets.token_bytes(_KEY_BYTES), self.label_key)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a key from a file that `write` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file holds something else, or users outside of its group can read or write it; the message
                does not show its content.

        """
        data, mode = _read(path)
        try:
            found: Any = json.loads(data)
            if found["holdfast_key"] != _VERSION or set(found) - _FIELDS:
                raise ValueError
            label_key = found.get("label_key")
            key = cls(
                found["id"],
                b64decode(found["key"], validate=True),
                None if label_key is None else b64decode(label_key, validate=True),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError(f"{os.fspath(path)!r} does not hold a key of Holdfast, version {_VERSION}") from None
        # A pipe has no name by which others could open it.
        if os.name == "posix" and stat.S_ISREG(mode) and mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise ValueError(
                f"{os.fspath(path)!r}: others can read or write it: expected mode 400 to 640, "
                f"got {stat.S_IMODE(mode):o}"
            )
        return key

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the key to a new file that only this user can read. Keep a copy: nothing is readable without it.

        Raises:
            FileExistsError: the file exists. A key is never overwritten.
            OSError: the file cannot be written.

        """
        content: dict[str, Any] = {"holdfast_key": _VERSION, "id": self.id, "key": b64encode(self.key).decode()}
        if self.label_key is not None:
            content["label_key"] = b64encode(self.label_key).decode()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(content, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @property
    def blocks(self) -> bool:
        """False: nothing is waited for."""
        return False

    def wrap(self, data_key: bytes) -> bytes:
        return aes_key_wrap(self.key, data_key)

    def unwrap(self, wrapped: bytes) -> bytes:
        try:
            return aes_key_unwrap(self.key, wrapped)
        except InvalidUnwrap:
            raise ValueError(f"key {self.id!r} did not wrap it") from None


def checked_id(given: object) -> str:
    """Return the id of a key.

    Raises:
        TypeError: it is not text.
        ValueError: it is empty or too long.

    """
    text = arguments.text("id", given)
    if not 0 < len(text.encode()) <= MAX_KEY_ID_BYTES:
        raise ValueError(f"the id of a key must have 1 to {MAX_KEY_ID_BYTES} bytes, not {len(text.encode())}")
    return text


def _read(path: str | os.PathLike[str]) -> tuple[bytes, int]:
    """Return the first bytes of a file, more than a key file has, and its mode."""
    with open(path, "rb") as file:
        return file.read(_MAX_FILE_BYTES), os.fstat(file.fileno()).st_mode


def _new_id() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}-{secrets.token_hex(4)}"
