"""Payloads that are stored as deltas: successive ones are nearly equal, and a damaged base damages what rests on it."""

from collections.abc import Iterator
from random import Random
from weakref import WeakKeyDictionary

from holdfast_server.layout.v1.marker_pb2 import Marker, PartEncoding
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.encoding import PartEncoder
from holdfast_server.protocol.payload.policy import DeltaRules
from holdfast_server.stores.memory import Objects
from holdfast_server.zstd import ZstdDecompressor, ZstdError

from tests.support.mac_keys import frame_in

_LINES = tuple(f"{Random(f'line {number}').getrandbits(160):040x}" for number in range(150))
# So few that bases of every depth are renewed within a run.
_RULES = DeltaRules(checkpoints_per_base=4)
_ENCODERS: WeakKeyDictionary[Log, tuple[PartEncoder, PartEncoder]] = WeakKeyDictionary()


def encoder_of(log: Log, *, has_blob: bool = False) -> PartEncoder:
    """Return what stores the parts of a server's saves, in blobs or in markers, with that server's cache of bases."""
    if log not in _ENCODERS:
        in_markers = PartEncoder(log.store, _RULES)
        _ENCODERS[log] = (in_markers, PartEncoder(log.store, _RULES, in_markers.bases, inline_limit_bytes=0))
    return _ENCODERS[log][has_blob]


def payload_of(value: str, *, rests: bool) -> bytes:
    """Return the payload of a save: its value, before a text that differs by some lines if it shall be a delta."""
    return (f"{value}\n{_text(value)}" if rests else value).encode()


def value_in(payload: bytes) -> str:
    """Return the value of a payload, or all of it if it is not what was saved."""
    text = payload.decode(errors="replace")
    value, newline, rest = text.partition("\n")
    return value if rest == (_text(value) if newline else "") else text


def _text(value: str) -> str:
    chance, lines = Random(value), list(_LINES)
    for _ in range(chance.choice((1, 3, 20))):
        lines[chance.randrange(len(lines))] = f"{chance.getrandbits(160):040x}"
    return "\n".join(lines)


def bases_in(marker: Marker) -> Iterator[tuple[int, str]]:
    """Yield the bases that a marker names: the revision, and the blob that holds the bytes or ""."""
    return ((base.revision, base.blob) for part in marker.parts for base in part.bases)


def dependents(objects: Objects, keys: WorkflowKeys, lost_key: str) -> set[int]:
    """Return the checkpoints that rest on the bytes in an object, as they are stored now."""
    found = set()
    for key, (frame, _) in objects.by_key.items():
        if key.startswith(keys.log):
            try:
                marker = marker_codec.decode(frame_in(frame), key)
            except HoldfastError:
                continue
            places = {keys.blob(blob) if blob else keys.marker(revision) for revision, blob in bases_in(marker)}
            if lost_key in places:
                found.add(marker.revision)
    return found


def contents(frame: bytes, key: str) -> bytes:
    """Return what a reader of an object can see without a base: its bytes, and what is encoded in it."""
    frame = frame_in(frame)
    try:
        return frame + b"".join(map(_contents, marker_codec.decode(frame, key).parts))
    except HoldfastError:
        return frame + _decompressed(frame)


def _contents(part: object) -> bytes:
    inline = part.inline
    return inline + (_decompressed(inline) if part.encoding == PartEncoding.PART_ENCODING_ZSTD else b"")


def _decompressed(frame: bytes) -> bytes:
    try:
        return ZstdDecompressor().decompress(frame)
    except ZstdError:
        return b""
