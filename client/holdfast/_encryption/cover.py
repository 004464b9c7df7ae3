"""The cover of a sealed checkpoint: its labels and the names of its parts, sealed and stored as labels.

Every part is bound to the cover, so that all parts of a checkpoint are of one save, and none is missing.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast._core import arguments
from holdfast._core.sealed import COVER_LABEL
from holdfast._encryption.layout import length_prefixed

# The labels that a server allows are shared by the digests and the sealed cover.
MAX_LABELS = 48
_MAX_PIECES = 16
_PIECE_CHARACTERS = 1024
_MAX_BYTES = _MAX_PIECES * _PIECE_CHARACTERS // 4 * 3
_DIGEST_LABEL = "holdfast-digest-"
_INFO = b"holdfast labels 1"


def content(labels: Mapping[str, str], parts: Iterable[str]) -> bytes:
    """Return the bytes of a cover: JSON with labels, and a digest of the parts' names in their order."""
    return json.dumps({"labels": dict(labels), "parts": _names(parts)}, ensure_ascii=False, sort_keys=True).encode()


def labels_in(cover: bytes, parts: Iterable[str]) -> dict[str, str]:
    """Return the labels in a cover.

    Args:
        cover: its bytes.
        parts: the names of the parts that the checkpoint has.

    Raises:
        ValueError: the checkpoint was saved with other parts.

    """
    found = json.loads(cover)
    if found["parts"] != _names(parts):
        raise ValueError("the checkpoint was saved with other parts")
    return dict(found["labels"])


def digest(sealed: bytes) -> bytes:
    """Return the digest of a sealed cover, to which each part is bound."""
    return sha256(sealed).digest()


def pieces(sealed: bytes) -> dict[str, str]:
    """Return the labels that hold a sealed cover.

    Raises:
        InvalidRequestError: it does not fit into them.

    """
    if len(sealed) > _MAX_BYTES:
        excess = f"are too large to be encrypted: {len(sealed)} bytes, of at most {_MAX_BYTES}"
        raise arguments.invalid("labels", excess)
    text = urlsafe_b64encode(sealed).decode()
    cut = [text[start : start + _PIECE_CHARACTERS] for start in range(0, len(text), _PIECE_CHARACTERS)]
    return {f"{COVER_LABEL}{index:02}": piece for index, piece in enumerate(cut)}


def sealed_in(labels: Mapping[str, str]) -> bytes:
    """Return the sealed cover that labels hold; empty if they hold none.

    Raises:
        ValueError: they hold something else.

    """
    numbered = sorted((name, piece) for name, piece in labels.items() if name.startswith(COVER_LABEL))
    return urlsafe_b64decode("".join(piece for _, piece in numbered))


def digests(label_key: bytes, namespace: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels by which a sealed checkpoint is found: one keyed digest for each of its labels."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(label_key)
    found = {}
    for name, value in labels.items():
        pair = length_prefixed(namespace.encode(), name.encode(), value.encode())
        keyed = hmac.digest(key, pair, "sha256")
        found[_DIGEST_LABEL + urlsafe_b64encode(keyed).decode().rstrip("=")] = "1"
    return found


def _names(parts: Iterable[str]) -> str:
    return sha256(length_prefixed(*(part.encode() for part in parts))).hexdigest()
