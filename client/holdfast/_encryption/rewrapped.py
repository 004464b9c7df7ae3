"""Data keys that were wrapped again by another key, so that the key that wrapped them first can be deleted.

They are stored as records of the checkpoint, beside its own: sealed data never changes. Who reads them need not trust
them: the header of all sealed data has a commitment to its data key.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from holdfast._core.checkpoint import Record
from holdfast._core.sealed import KEYS_MAGIC, KEYS_PREFIX
from holdfast._encryption.layout import MAX_KEY_ID_BYTES, MAX_WRAPPED_BYTES, length_prefixed

# With wrapped keys of any size, a record stays far below what a call may attach.
_MOST_KEYS = 256
_NAME_BYTES = 32


@dataclass(frozen=True, slots=True)
class WrappedKeys:
    """Data keys that one key has wrapped again.

    Attributes:
        key_id: the key that wraps them now.
        wrapped: the wrapped data keys, by the name of the data key.

    """

    key_id: str
    wrapped: Mapping[bytes, bytes]

    def records(self) -> Iterator[Record]:
        """Return the records that hold them. The same data keys make records of the same keys, which count once."""
        names = sorted(self.wrapped)
        key_id = self.key_id.encode()
        for start in range(0, len(names), _MOST_KEYS):
            some = names[start : start + _MOST_KEYS]
            data = bytearray(KEYS_MAGIC + len(key_id).to_bytes(2) + key_id)
            for name in some:
                data += name + len(self.wrapped[name]).to_bytes(2) + self.wrapped[name]
            digest = sha256(length_prefixed(key_id, *some)).digest()
            yield Record(KEYS_PREFIX + urlsafe_b64encode(digest).decode().rstrip("="), bytes(data))


def name_of(key_id: str, wrapped: bytes) -> bytes:
    """Return the name of a data key: a digest of the key id and the wrapped data key of its headers."""
    return sha256(length_prefixed(key_id.encode(), wrapped)).digest()


def is_reserved(key: str) -> bool:
    """Return whether a record with this key holds wrapped keys, and nothing of a caller's."""
    return key.startswith(KEYS_PREFIX)


def keys_in(records: Iterable[Record]) -> list[WrappedKeys]:
    """Return the wrapped keys that records hold; other records are skipped.

    Raises:
        ValueError: a record holds something else.

    """
    return [_parsed(record.data) for record in records if is_reserved(record.key)]


def _parsed(data: bytes) -> WrappedKeys:
    if not data.startswith(KEYS_MAGIC):
        raise ValueError("it does not hold wrapped keys")
    key_id, start = _field(data, len(KEYS_MAGIC), MAX_KEY_ID_BYTES)
    wrapped: dict[bytes, bytes] = {}
    while start < len(data):
        name = data[start : start + _NAME_BYTES]
        wrapped[name], start = _field(data, start + _NAME_BYTES, MAX_WRAPPED_BYTES)
    return WrappedKeys(key_id.decode(), wrapped)


def _field(data: bytes, start: int, most: int) -> tuple[bytes, int]:
    """Return a field that begins with its length in 2 bytes, and where it ends."""
    end = start + 2 + int.from_bytes(data[start : start + 2])
    if end > len(data) or not 0 < end - start - 2 <= most:
        raise ValueError("its wrapped keys are cut or too long")
    return data[start + 2 : end], end
