"""The header Range: which bytes it names."""

import pytest
from holdfast_server.console.byte_range import UnsatisfiableError, requested
from hypothesis import given
from hypothesis import strategies as st

SIZES = st.integers(0, 50)


@given(SIZES, st.integers(0, 60), st.none() | st.integers(0, 60))
def test_a_range_names_the_bytes_that_the_content_has_of_it(size, first, last):
    header = f"bytes={first}-{'' if last is None else last}"
    named = [each for each in range(size) if each >= first and (last is None or each <= last)]
    if last is not None and last < first:
        assert requested(header, size) is None
    elif named:
        assert [*requested(header, size)] == named
    else:
        with pytest.raises(UnsatisfiableError):
            requested(header, size)


@given(SIZES, st.integers(0, 60))
def test_a_number_after_the_dash_names_the_last_bytes(size, count):
    content = [*range(size)]
    if count and content:
        assert [*requested(f"BYTES=-{count}", size)] == content[-count:]
    else:
        with pytest.raises(UnsatisfiableError):
            requested(f"bytes=-{count}", size)


@pytest.mark.parametrize("header", ["", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes=--1", "bytes=²-"])
def test_a_range_that_is_not_one_of_bytes_is_ignored(header):
    assert requested(header, 10) is None
