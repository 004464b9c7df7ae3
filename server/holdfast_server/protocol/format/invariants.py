"""What holds for every marker, whichever program wrote it.

Bytes whose checksum matches may still contain what no server writes: links that form a circle, a range that ends before
it begins, the path of a blob outside of its workflow. They are checked once, when a marker is decoded, so that no other
code has to check them again.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind, PartBase, PartEncoding, RevisionRange, StoredPart
from holdfast_server.protocol.format import id_index
from holdfast_server.protocol.format.keys import MAX_REVISION, blob_base

# The highest epoch that a caller could name when saves raised epochs too. Each epoch since then took a revision.
_MAX_EPOCH = 1 << 62
# Longer than any lease that is granted.
_MAX_LEASE_SECONDS = 366 * 24 * 3600
_MAX_SIZE = (1 << 63) - 1
# Counts to which each save adds. No server reaches this.
_MAX_COUNT = 1 << 62
# Far more than any server writes.
_MOST_RECENT = 1000
_DIGEST_BYTES = 32
# More than any server writes.
_MAX_PRINCIPAL_CHARACTERS = 1024
# A recent entry in the form of digests: that of its request id, and that of its checkpoint id.
RECENT_BYTES = 6
REQUEST_BYTES = 2
# A part is rebuilt in memory, from at most so many bases.
MAX_ENCODED_BYTES = 8 << 20
MAX_BASES = 3
# zstd accepts no shorter dictionary.
MIN_BASE_BYTES = 8
BASE_DIGEST_BYTES = 16
# The longest frame of the largest part: zstd adds a header, and 3 bytes for each 128 KiB that do not compress.
MAX_FRAME_BYTES = MAX_ENCODED_BYTES + (16 << 10)
_KINDS = frozenset(MarkerKind.values())
_ENCODINGS = frozenset(PartEncoding.values())


def unknown(marker: Marker) -> str:
    """Return what a newer server wrote into a marker that this one does not know; "" if nothing."""
    if marker.kind not in _KINDS:
        return f"kind {marker.kind}"
    encodings = (
        encoding for part in marker.parts for encoding in (part.encoding, *(base.encoding for base in part.bases))
    )
    return next((f"encoding {encoding} of a part" for encoding in encodings if encoding not in _ENCODINGS), "")


def invalid_field(marker: Marker) -> str:
    """Return the first field of a marker whose value no server writes; "" if all are valid."""
    return next((name for name, is_valid in _fields(marker) if not is_valid), "")


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
    yield "recent_digests", len(marker.recent_digests) % RECENT_BYTES == 0
    yield "recent_digests", len(marker.recent_digests) // RECENT_BYTES <= min(revision, _MOST_RECENT)
    yield "recent", len(marker.recent) <= _MOST_RECENT and _are_recent(marker)
    yield "recent", all(len(entry.digests) in (0, RECENT_BYTES) for entry in marker.recent)
    yield "deleted", _are_ranges(marker.deleted, revision)
    yield "last_data_revision", not _is_in(marker.deleted, marker.last_data_revision)
    yield "purged", _are_ranges(marker.purged, revision)
    yield "purged_digest", not marker.purged_digest or (len(marker.purged_digest) == _DIGEST_BYTES and not parts)
    yield "last_fresh_revision", 0 <= marker.last_fresh_revision <= revision
    yield "indexed_from", 0 <= marker.indexed_from < max(1, marker.last_fresh_revision)
    yield "indexed_to", 0 <= marker.indexed_to < revision and id_index.is_end(marker.indexed_from, marker.indexed_to)
    yield "indexed_to", marker.last_fresh_revision - marker.indexed_to <= id_index.MOST_UNINDEXED
    yield "rewritten_digest", len(marker.rewritten_digest) in (0, _DIGEST_BYTES)
    yield "base_floor", 0 <= marker.base_floor <= revision
    yield "principal", len(marker.principal) <= _MAX_PRINCIPAL_CHARACTERS
    yield "parts", all(_is_part(part, marker) for part in parts) and len({part.name for part in parts}) == len(parts)
    yield "parts", sum(part.size_bytes for part in parts) <= _MAX_SIZE


def is_time(given: Timestamp) -> bool:
    """Return whether a timestamp is valid: a time in the years 1 to 9999."""
    return -62_135_596_800 <= given.seconds <= 253_402_300_799 and 0 <= given.nanos < 10**9


def _are_recent(marker: Marker) -> bool:
    """Return whether the recent entries have revisions up to the marker's own, newest first.

    Those in recent_digests are newer.
    """
    before = marker.revision + 1 - len(marker.recent_digests) // RECENT_BYTES
    for entry in marker.recent:
        revision = entry.revision
        if not 1 <= revision < before:
            return False
        before = revision
    return True


def _are_ranges(ranges: Sequence[RevisionRange], revision: int) -> bool:
    """Return whether ranges are below a marker's own revision, ascending and disjoint."""
    end = 0
    for bounds in ranges:
        first, last = bounds.first, bounds.last
        if not end < first <= last:
            return False
        end = last
    return end < revision


def _is_in(ranges: Sequence[RevisionRange], revision: int) -> bool:
    """Return whether one of some ascending ranges contains a revision."""
    index = bisect_right(ranges, revision, key=lambda bounds: bounds.first) - 1
    return index >= 0 and revision <= ranges[index].last


def _is_part(part: StoredPart, marker: Marker) -> bool:
    location = part.WhichOneof("location")
    is_located = location == "inline" or (location == "blob" and blob_base(part.blob) is not None)
    return part.size_bytes >= 0 and 0 <= part.plain_saves <= _MAX_COUNT and is_located and _is_encoded(part, marker)


def _is_encoded(part: StoredPart, marker: Marker) -> bool:
    """Return whether a part is stored as it is, or is a frame whose bases have valid revisions and sizes.

    A chain of bases ascends below the marker, so that it can neither form a circle nor lead to another workflow.
    """
    bases = part.bases
    if part.encoding in (PartEncoding.PART_ENCODING_UNSPECIFIED, PartEncoding.PART_ENCODING_IDENTITY):
        return not bases and part.stored_bytes in (0, part.size_bytes)
    if bool(bases) != (part.encoding == PartEncoding.PART_ENCODING_ZSTD_DELTA):
        return False
    if not 0 < part.size_bytes <= MAX_ENCODED_BYTES or not 0 < part.stored_bytes <= MAX_FRAME_BYTES:
        return False
    revisions = [max(marker.floor, marker.base_floor), *(base.revision for base in bases), marker.revision]
    is_ascending = all(before < after for before, after in pairwise(revisions))
    return is_ascending and len(bases) <= MAX_BASES and all(map(_is_base, bases, range(MAX_BASES)))


def _is_base(base: PartBase, depth: int) -> bool:
    first = (PartEncoding.PART_ENCODING_IDENTITY, PartEncoding.PART_ENCODING_ZSTD)
    is_plain = base.encoding == PartEncoding.PART_ENCODING_IDENTITY
    return (
        base.encoding in (first if depth == 0 else (PartEncoding.PART_ENCODING_ZSTD_DELTA,))
        and MIN_BASE_BYTES <= base.size_bytes <= MAX_ENCODED_BYTES
        and (base.stored_bytes == base.size_bytes if is_plain else 0 < base.stored_bytes <= MAX_FRAME_BYTES)
        and len(base.digest) == BASE_DIGEST_BYTES
        and (not base.blob or blob_base(base.blob) is not None)
        and all(0 <= each <= _MAX_COUNT for each in _counts(base))
    )


def _counts(base: PartBase) -> tuple[int, ...]:
    return base.dependents, base.debt_bytes, base.price_bytes, base.first_bytes
