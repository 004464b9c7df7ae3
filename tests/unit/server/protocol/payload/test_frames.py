"""Frames: what was encoded is decoded, and nothing larger than stated is ever built."""

from contextlib import suppress

import pytest
from holdfast_server.protocol.format.invariants import MAX_ENCODED_BYTES
from holdfast_server.protocol.payload import frames
from holdfast_server.protocol.payload.frames import FrameError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.deltas import noise, text


@settings(deadline=None)
@given(st.binary(max_size=5000), st.none() | st.binary(min_size=8, max_size=5000))
async def test_a_part_is_decoded_as_it_was_encoded(data, base):
    assert await frames.decode(await frames.encode(data, base), len(data), base) == data


@pytest.mark.parametrize("size", [1 << 10, 100 << 10, 1 << 20, MAX_ENCODED_BYTES])
async def test_a_part_that_hardly_differs_from_its_base_takes_few_bytes(size):
    base = noise(0, size)
    place = size // 3
    data = (base[:place] + b"in between" + base[place:])[:size]
    frame = await frames.encode(data, base)
    assert len(frame) < 100 + size // 500
    assert await frames.decode(frame, size, base) == data


@pytest.mark.parametrize("stated", [0, 1, 100, 4096 - 1, 4096 + 1, MAX_ENCODED_BYTES])
async def test_a_frame_of_another_size_than_stated_is_refused(stated):
    frame = await frames.encode(bytes(4096))
    with pytest.raises(FrameError):
        await frames.decode(frame, stated)


async def test_the_dictionary_of_another_version_yields_an_error_or_other_bytes():
    base, other, data = text(1), text(2), text(1) + b"more"
    frame = await frames.encode(data, base)
    with suppress(FrameError):
        assert await frames.decode(frame, len(data), other) != data


@settings(deadline=None)
@given(st.binary(max_size=200))
async def test_bytes_that_are_no_frame_are_refused(data):
    with pytest.raises(FrameError):
        await frames.decode(data, 1000)


async def test_a_frame_followed_by_other_bytes_is_refused():
    frame = await frames.encode(text(1))
    with pytest.raises(FrameError):
        await frames.decode(frame + b"x", len(text(1)))
