"""Test vectors of the encryption format, for this client and for authors of others.

Usage, after a deliberate change of the format: python -m tests.support.encryption_vectors
"""

import json
from base64 import b64decode, b64encode
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from holdfast._encryption import cover
from holdfast._encryption.frames import DataKey, Sealer
from holdfast._encryption.keys import LocalKey
from holdfast._encryption.layout import COVER, PART, RECORD, Header, Place
from holdfast._encryption.rewrapped import WrappedKeys, name_of

from tests.support.repository import ROOT

FILE = ROOT / "docs" / "reference" / "encryption-vectors.json"
KEY = LocalKey("vectors-1", bytes(range(32)), bytes(range(32, 64)))
NEXT_KEY = LocalKey("vectors-2", bytes(range(64, 96)), KEY.label_key)
LABELS = {"step": "3", "städte": "Köln"}
PARTS = ["", "weights"]
_NAMES = {"namespace": "my-app", "workflow_id": "order-17", "checkpoint_id": "cp-2"}
_CHECKPOINT = {**_NAMES, "parent_id": "cp-1", "format_name": "my-state", "format_version": 3}


def data_key(seed: int) -> DataKey:
    key = bytes([seed]) * 32
    return DataKey(KEY.id, KEY.wrap(key), key)


def sealed(place: Place, plain: bytes, seed: int, *, is_compressed: bool = False, frame_bytes: int = 16) -> bytes:
    # A salt of its own for each place, as writers draw them at random.
    salt = sha256(place.bound_to(Header(0, "", b"", b"", b""))).digest()
    sealer = Sealer(data_key(seed), place, is_compressed=is_compressed, salt=salt, frame_bytes=frame_bytes)
    return sealer.sealed(plain)


def made() -> list[dict[str, Any]]:
    """Return the vectors whose bytes do not depend on a version of zstd."""
    content = cover.content(LABELS, PARTS)
    of_cover = Place(COVER, **_CHECKPOINT)
    digest = cover.digest(sealed(of_cover, content, 1, frame_bytes=1 << 20))
    return [
        _vector("a cover", of_cover, content, 1, frame_bytes=1 << 20),
        _vector("an empty part", Place(PART, **_CHECKPOINT, name="", cover=digest), b"", 1),
        _vector("a part of three frames", Place(PART, **_CHECKPOINT, name="weights", cover=digest), b"w" * 40, 1),
        _vector("a record", Place(RECORD, **_NAMES, name="task/0"), b"a write", 2),
    ]


def compressed() -> dict[str, Any]:
    """Return a vector whose frames are compressed. Other versions of zstd may make other bytes of the same meaning."""
    place = Place(PART, **_CHECKPOINT, name="compressed", cover=bytes(32))
    return _vector("a compressed part of two frames", place, b"z" * 600, 3, is_compressed=True, frame_bytes=512)


def _vector(name: str, place: Place, plain: bytes, seed: int, **options: Any) -> dict[str, Any]:
    return {
        "name": name,
        "place": asdict(place) | {"cover": place.cover.hex()},
        "plain": b64encode(plain).decode(),
        "sealed": b64encode(sealed(place, plain, seed, **options)).decode(),
    }


def written() -> dict[str, Any]:
    """Return the vectors in the repository."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def place_of(vector: dict[str, Any]) -> Place:
    fields = vector["place"]
    return Place(**fields | {"cover": bytes.fromhex(fields["cover"])})


def bytes_of(vector: dict[str, Any], field: str) -> bytes:
    return b64decode(vector[field])


def rewrapped() -> dict[str, Any]:
    """Return the record that holds the data keys of all vectors, wrapped again by another key."""
    keys = [data_key(seed) for seed in (1, 2, 3)]
    wrapped = {name_of(each.key_id, each.wrapped): NEXT_KEY.wrap(each.key) for each in keys}
    [record] = WrappedKeys(NEXT_KEY.id, wrapped).records()
    return {
        "key": {"id": NEXT_KEY.id, "key": NEXT_KEY.key.hex()},
        "record": {"key": record.key, "data": b64encode(record.data).decode()},
    }


def document(compressed_vector: dict[str, Any]) -> dict[str, Any]:
    """Return the whole document."""
    assert KEY.label_key is not None
    return {
        "key": {"id": KEY.id, "key": KEY.key.hex(), "label_key": KEY.label_key.hex()},
        "labels": {
            "namespace": _NAMES["namespace"],
            "labels": LABELS,
            "digests": sorted(cover.digests(KEY.label_key, _NAMES["namespace"], LABELS)),
        },
        "vectors": [*made(), compressed_vector],
        "rewrapped": rewrapped(),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(compressed()), indent=2) + "\n")
