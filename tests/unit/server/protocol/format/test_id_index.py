"""The objects of the index of ids cover every revision once, and superseded ones are contained in others."""

from itertools import pairwise

from holdfast_server.protocol.format import id_index
from holdfast_server.protocol.format.id_index import BLOCK, MOST_BLOCKS, NO_CHECKPOINT, UNKNOWN
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.integers(1, 5 * MOST_BLOCKS)
STARTS = st.integers(0, 10**6)


@given(STARTS, NUMBERS)
def test_the_objects_of_an_index_cover_each_of_its_revisions_once(start, number):
    end = start + BLOCK * number
    covered = list(id_index.cover(start, end))
    assert (covered[0][1], covered[-1][0]) == (end, start + 1)
    assert all(older[1] + 1 == newer[0] for newer, older in pairwise(covered))
    assert len(covered) <= number.bit_count() + number // MOST_BLOCKS


@given(STARTS, NUMBERS, st.integers(0, 5 * MOST_BLOCKS * BLOCK))
def test_objects_at_or_below_the_floor_are_not_needed(start, number, floor):
    end = start + BLOCK * number
    assert list(id_index.cover(start, end, floor)) == [each for each in id_index.cover(start, end) if each[1] > floor]


@given(STARTS, NUMBERS, NUMBERS)
def test_an_object_is_superseded_once_no_complete_index_needs_it(start, number, blocks):
    each = id_index.covered(start, number)
    end = start + BLOCK * max(number, blocks)
    assert id_index.is_superseded(each, start, end) == (each not in id_index.cover(start, end))


@given(STARTS, STARTS, st.integers(1, 10**6), NUMBERS)
def test_an_object_that_is_none_of_an_index_is_not_superseded_by_it(start, other, last, number):
    other = max(start + 1, other)
    if (other - start) % BLOCK:
        assert not id_index.is_superseded(id_index.covered(other, number), start, other + 10**7)
    assert not id_index.is_superseded((last, last), start, start + 10**7)


@given(st.lists(st.sampled_from([b"abab", b"baba", b"cdcd", NO_CHECKPOINT, UNKNOWN])))
def test_the_places_of_an_id_are_those_with_its_digest_or_an_unknown_one_newest_first(slots):
    expected = [place for place, slot in enumerate(slots) if slot in (b"abab", UNKNOWN)]
    assert list(id_index.places(b"".join(slots), b"abab")) == expected[::-1]


def test_a_digest_is_never_that_of_an_entry_without_a_checkpoint():
    assert len(id_index.digest_of("a")) == id_index.DIGEST_BYTES
    assert NO_CHECKPOINT not in {id_index.digest_of(str(number)) for number in range(1000)}
