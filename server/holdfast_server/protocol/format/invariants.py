"""What holds of every marker, whoever wrote it.

Bytes whose checksum matches may still tell what no server writes: a log that leads in circles, a range that ends before
it begins, a blob that lies outside of its workflow. It is looked for once, where a marker is read, so that nothing
behind that has to ask.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind, PartEncoding, RevisionRange, StoredPart
from holdfast_server.protocol.format.keys import MAX_REVISION, blob_base

# The highest epoch that a caller could name when saves raised epochs too. Each one that a server gives takes a slot.
_MAX_EPOCH = 1 << 62
# Longer than any lease is granted.
_MAX_LEASE_SECONDS = 366 * 24 * 3600
_MAX_SIZE = (1 << 63) - 1
# Far more than any server enters.
_MOST_RECENT = 1000
_DIGEST_BYTES = 32
_KINDS = frozenset(MarkerKind.values())
_ENCODINGS = frozenset(PartEncoding.values())


def unknown(marker: Marker) -> str:
    """What a newer server wrote into a marker that this one cannot understand; "" for nothing."""
    if marker.kind not in _KINDS:
        return f"kind {marker.kind}"
    return next((f"encoding {part.encoding} of a part" for part in marker.parts if part.encoding not in _ENCODINGS), "")


def nonsense(marker: Marker) -> str:
    """The first field of a marker that tells what no server writes; "" for none."""
    return next((name for name, makes_sense in _fields(marker) if not makes_sense), "")


def _fields(marker: Marker) -> Iterator[tuple[str, bool]]:
    revision, parts = marker.revision, marker.parts
    yield "kind", marker.kind != MarkerKind.MARKER_KIND_UNSPECIFIED
    yield "revision", 1 <= revision <= MAX_REVISION
    yield "epoch", 0 <= marker.writer_epoch <= marker.epoch <= _MAX_EPOCH + MAX_REVISION
    yield "create_time", is_time(marker.create_time)
    yield "expire_time", is_time(marker.expire_time)
    yield "floor", 0 <= marker.floor < revision
    yield "low_water_mark", 0 <= marker.low_water_mark <= revision
    yield "claim_generation", 0 <= marker.claim_generation <= revision
    yield "last_data_revision", 0 <= marker.last_data_revision <= revision
    yield "previous_data_revision", 0 <= marker.previous_data_revision < revision
    yield "needed_revision", 0 <= marker.needed_revision < revision
    yield "replaced_revision", 0 <= marker.replaced_revision < revision
    yield "last_save_revision", 0 <= marker.last_other_save_revision <= marker.last_save_revision <= revision
    yield "last_save_epoch", 0 <= marker.last_save_epoch <= marker.epoch
    yield "last_fence_revision", 0 <= marker.previous_fence_revision <= marker.last_fence_revision <= revision
    yield "lease_expire_time", is_time(marker.lease_expire_time)
    yield "lease_duration", 0 <= marker.lease_duration.seconds <= _MAX_LEASE_SECONDS
    yield "lease_duration", 0 <= marker.lease_duration.nanos < 10**9
    yield "recent", len(marker.recent) <= _MOST_RECENT and _are_recent(marker)
    yield "deleted", _are_ranges(marker.deleted, revision)
    yield "last_data_revision", not _is_in(marker.deleted, marker.last_data_revision)
    yield "purged", _are_ranges(marker.purged, revision)
    yield "purged_digest", not marker.purged_digest or (len(marker.purged_digest) == _DIGEST_BYTES and not parts)
    yield "parts", all(map(_is_part, parts)) and len({part.name for part in parts}) == len(parts)
    yield "parts", sum(part.size_bytes for part in parts) <= _MAX_SIZE


def is_time(given: Timestamp) -> bool:
    """Whether a timestamp is a time, of the years 1 to 9999."""
    return -62_135_596_800 <= given.seconds <= 253_402_300_799 and 0 <= given.nanos < 10**9


def _are_recent(marker: Marker) -> bool:
    """Whether the recent entries are slots up to the marker's own, newest first."""
    before = marker.revision + 1
    for entry in marker.recent:
        revision = entry.revision
        if not 1 <= revision < before:
            return False
        before = revision
    return True


def _are_ranges(ranges: Sequence[RevisionRange], revision: int) -> bool:
    """Whether these are ranges below a marker's own slot, ascending."""
    end = 0
    for each in ranges:
        first, last = each.first, each.last
        if not end < first <= last:
            return False
        end = last
    return end < revision


def _is_in(ranges: Sequence[RevisionRange], revision: int) -> bool:
    """Whether one of some ranges, ascending, holds a revision."""
    index = bisect_right(ranges, revision, key=lambda each: each.first) - 1
    return index >= 0 and revision <= ranges[index].last


def _is_part(part: StoredPart) -> bool:
    location = part.WhichOneof("location")
    return part.size_bytes >= 0 and (location == "inline" or (location == "blob" and blob_base(part.blob) is not None))
