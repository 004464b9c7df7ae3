"""Markers of version 2 leave out what their bytes show, and read back as they were."""

from hashlib import sha256

import pytest
from crc32c import crc32c
from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind, PartEncoding, StoredPart
from holdfast_server.protocol.format import marker
from hypothesis import given
from hypothesis import strategies as st

KEY = "ns/n/wf/w/log/fff/fff/ff8"


def part(data, **fields):
    return StoredPart(
        name="p", size_bytes=len(data), sha256=sha256(data).digest(), crc32c=crc32c(data), inline=data, **fields
    )


def with_part(each):
    return Marker(
        kind=MarkerKind.MARKER_KIND_DATA,
        namespace="n",
        workflow_id="w",
        revision=7,
        request_id="r",
        request_fingerprint=bytes(range(16)),
        recent_digests=bytes(6),
        parts=[each],
    )


@given(st.binary(max_size=300), st.sampled_from([0, PartEncoding.PART_ENCODING_IDENTITY]))
def test_a_part_in_a_marker_reads_back_with_its_digests(data, encoding):
    written = with_part(part(data, encoding=encoding))
    before = written.SerializeToString()
    assert marker.decode(marker.encode(written, KEY), KEY) == written
    assert written.SerializeToString() == before


@pytest.mark.parametrize(("size", "is_short"), [(28, True), (256, True), (257, False)])
def test_only_a_small_part_does_without_its_digests(size, is_short):
    data = bytes(range(1, 250)) * 2
    with_digests = with_part(part(data[:size]))
    without = with_part(part(data[:size]))
    without.parts[0].sha256, without.parts[0].crc32c = b"", 0
    assert (marker.encode(with_digests, KEY) == marker.encode(without, KEY)) == is_short


@pytest.mark.parametrize("field", ["sha256", "crc32c"])
def test_digests_that_do_not_match_are_kept_so_that_the_damage_is_found(field):
    written = with_part(part(b"small"))
    setattr(written.parts[0], field, bytes(32) if field == "sha256" else 1)
    assert marker.decode(marker.encode(written, KEY), KEY) == written


def test_half_of_a_fingerprint_is_kept():
    written = with_part(part(b""))
    written.request_fingerprint = bytes(range(32))
    assert marker.decode(marker.encode(written, KEY), KEY).request_fingerprint == bytes(range(16))
    assert written.request_fingerprint == bytes(range(32))
