import pytest
from holdfast_server.protocol import marker
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.storage.v1.marker_pb2 import Marker
from hypothesis import given
from hypothesis import strategies as st

FRAME = marker.encode(Marker(namespace="n", workflow_id="w", revision=7, request_id="r"))


def test_a_marker_reads_back_as_it_was_written():
    assert marker.decode(FRAME, "key").revision == 7


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_no_flipped_byte_goes_unnoticed(position, flip):
    damaged = bytearray(FRAME)
    damaged[position] ^= flip
    if position in (6, 7):  # reserved: readers pass over it
        return
    with pytest.raises(HoldfastError) as caught:
        marker.decode(bytes(damaged), "key")
    assert caught.value.reason in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED)


@given(st.integers(0, len(FRAME) - 1))
def test_no_cut_goes_unnoticed(length):
    with pytest.raises(HoldfastError) as caught:
        marker.decode(FRAME[:length], "key")
    assert caught.value.reason is Reason.CHECKPOINT_CORRUPTED


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(raw):
    with pytest.raises(HoldfastError):
        marker.decode(raw, "key")


def test_a_newer_marker_is_refused_as_such():
    newer = bytearray(FRAME)
    newer[5] = marker.MARKER_VERSION + 1
    with pytest.raises(HoldfastError) as caught:
        marker.decode(bytes(newer), "key")
    assert caught.value.reason is Reason.LAYOUT_UNSUPPORTED
