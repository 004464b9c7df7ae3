"""Recognise data that a client has encrypted. `docs/reference/encryption-format.md` states the format."""

from collections.abc import Mapping
from dataclasses import dataclass

# The last byte of each is the version of the format.
MAGIC = b"\x89HFSEAL1"
KEYS_MAGIC = b"\x89HFKEYS1"
# The labels of an encrypted checkpoint that hold its own labels.
COVER_LABEL = "holdfast-sealed-"
DIGEST_LABEL = "holdfast-digest-"
_FIXED_BYTES = len(MAGIC) + 2


@dataclass(frozen=True, slots=True)
class Sealed:
    """What an encrypted part says of itself.

    Attributes:
        key_id: the tenant's key that its data key is wrapped by; "" if the header is cut or damaged.
        is_compressed: whether its frames may be compressed.

    """

    key_id: str
    is_compressed: bool


def is_sealed(labels: Mapping[str, str]) -> bool:
    """Return whether a checkpoint with these labels is encrypted."""
    return any(label.startswith(COVER_LABEL) for label in labels)


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels without those that hold an encrypted checkpoint's own."""
    return {name: value for name, value in labels.items() if not name.startswith((COVER_LABEL, DIGEST_LABEL))}


def sealed_in(data: bytes) -> Sealed | None:
    """Return what an encrypted part or record says of itself; None if it is not encrypted."""
    if data.startswith(KEYS_MAGIC):
        return Sealed("", is_compressed=False)
    if not data.startswith(MAGIC):
        return None
    size = int.from_bytes(data[_FIXED_BYTES : _FIXED_BYTES + 2])
    key_id = data[_FIXED_BYTES + 2 : _FIXED_BYTES + 2 + size]
    is_whole = len(key_id) == size
    return Sealed(
        key_id.decode("utf-8", "backslashreplace") if is_whole else "", data[_FIXED_BYTES - 1 : _FIXED_BYTES] == b"\x01"
    )
