"""Markers and claims: a decoded one had an undamaged frame, and is valid."""

from google.protobuf.message import Message
from holdfast_server.layout.v1.marker_pb2 import Claim, Marker, MarkerKind, PartEncoding, StoredPart
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker
from holdfast_server.protocol.format.id_index import MOST_UNINDEXED

from tests.support.frames import frame, is_whole
from tests.support.markers import sound
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader

_MAX_REVISION = 16**9 - 1
_MOST = 2**63 - 1


def check(data: bytes) -> None:
    reader = Reader(data)
    decode = marker.decode_claim if reader.below(4) == 0 else marker.decode
    source = reader.below(4)
    if source == 0:
        raw = reader.rest()
    elif source == 1:
        raw = frame(reader.rest())
    elif source == 2:
        raw = frame(reader.rest(), reader.integer() % 65536, reader.integer() % 65536)
    else:
        body = fill(Claim() if decode is marker.decode_claim else sound(reader.below(8) + 1), reader)
        raw = frame(body.SerializeToString())
    try:
        found: Message = decode(raw, "key")
    except HoldfastError as error:
        assert error.reason in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED)
        return
    # The textbook's CRC is slow.
    assert len(raw) > 1 << 20 or is_whole(raw)
    if isinstance(found, Claim):
        assert 0 <= found.base_revision <= _MAX_REVISION
    else:
        require_sense(found)


def require_sense(found: Marker) -> None:
    """Check the invariants of a marker that the rest of the server relies on."""
    revision = found.revision
    assert found.kind in MarkerKind.values()[1:]
    assert 1 <= revision <= _MAX_REVISION
    assert 0 <= found.writer_epoch <= found.epoch < _MOST
    assert 0 <= found.floor < revision
    assert 0 <= found.low_water_mark <= revision
    assert 0 <= found.claim_generation <= revision
    assert 0 <= found.indexed_from <= found.indexed_to < revision
    assert 0 <= found.last_fresh_revision <= min(revision, found.indexed_to + MOST_UNINDEXED)
    assert 0 <= found.last_data_revision <= revision
    assert 0 <= found.previous_data_revision < revision
    revisions = [each.revision for each in found.recent]
    assert revisions == sorted(set(revisions), reverse=True)
    assert all(1 <= each <= revision for each in revisions)
    end = 0
    for gone in found.deleted:
        assert end < gone.first <= gone.last < revision
        end = gone.last
    assert len({part.name for part in found.parts}) == len(found.parts)
    assert sum(part.size_bytes for part in found.parts) <= _MOST
    for part in found.parts:
        assert part.size_bytes >= 0
        assert part.encoding in PartEncoding.values()
        assert part.WhichOneof("location") == "inline" or part.blob.count("/") == 3
        assert ".." not in part.blob
        _require_sense_of_bases(found, part)
    found.create_time.ToNanoseconds()
    found.expire_time.ToNanoseconds()


def _require_sense_of_bases(marker: Marker, part: StoredPart) -> None:
    is_delta = part.encoding == PartEncoding.PART_ENCODING_ZSTD_DELTA
    assert bool(part.bases) == is_delta
    assert len(part.bases) <= 3
    if is_delta or part.encoding == PartEncoding.PART_ENCODING_ZSTD:
        assert 0 < part.size_bytes <= 8 << 20
        assert 0 < part.stored_bytes <= 9 << 20
    revisions = [base.revision for base in part.bases]
    assert revisions == sorted(set(revisions))
    assert all(max(marker.floor, marker.base_floor) < each < marker.revision for each in revisions)
    for base in part.bases:
        assert 0 < base.size_bytes <= 8 << 20
        assert 0 < base.stored_bytes <= 9 << 20
        assert len(base.digest) == 16
        assert not base.blob or base.blob.count("/") == 3
        assert ".." not in base.blob
        # More is added to each by the next save.
        counts = (base.dependents, base.debt_bytes, base.price_bytes, base.first_bytes)
        assert 0 <= min(counts) <= max(counts) <= 1 << 62
