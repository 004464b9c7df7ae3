"""What a store takes: bytes on the disk, and of Holdfast the objects and what the bytes are for."""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from holdfast_server.layout.v1.marker_pb2 import Marker
from holdfast_server.protocol.format import marker
from holdfast_server.protocol.format.keys import workflow_prefix

# Space that a folder store holds back, whatever it contains.
_RESERVE = "holdfast.reserve"
_ROWS = (
    "SELECT key, size, head.value, tail.value FROM objects LEFT JOIN contents AS head ON head.id = content "
    "LEFT JOIN contents AS tail ON tail.id = rest"
)
_KINDS = {"log": "markers", "id": "claims", "rec": "records", "blob": "payload"}


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a store of Holdfast.

    Attributes:
        count: how many there are.
        sizes: their bytes, by what they are for. A payload that lies in a marker counts as payload.

    """

    count: int
    sizes: Counter[str]


def in_folder(folder: Path) -> int:
    """Return the bytes of the files of a folder, as long as they are. The reserve of a folder store is left out."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != _RESERVE)


def kind_of(key: str) -> str:
    """Return what an object of Holdfast is for."""
    return _KINDS.get(key.removeprefix(workflow_prefix(key) or "").partition("/")[0], "other")


def objects(folder: Path) -> Objects:
    """Return the objects of a folder store that nobody has open."""
    sizes: Counter[str] = Counter()
    count = 0
    with closing(sqlite3.connect(f"{(folder / 'holdfast.db').as_uri()}?mode=ro", uri=True)) as connection:
        for key, size, value, rest in connection.execute(_ROWS):
            count += 1
            kind = kind_of(key)
            payload = _payload_bytes(marker.decode(value + (rest or b""), key), size) if kind == "markers" else 0
            sizes[kind] += size - payload
            sizes["payload"] += payload
    return Objects(count, +sizes)


def _payload_bytes(entry: Marker, size: int) -> int:
    """Return how many bytes of a marker are payload. One that compresses is compressed with the marker."""
    inline = sum(len(part.inline) for part in entry.parts)
    return inline if inline < size else round(size * inline / entry.ByteSize())
