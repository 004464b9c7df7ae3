"""Values as pages show them."""

from datetime import UTC, datetime, timedelta

import pytest
from holdfast_server.console import shown
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (200 << 10, "200 KiB"), (1 << 62, "4096 PiB")],
)
def test_a_size_has_a_binary_unit(size_bytes, text):
    assert shown.size(size_bytes) == text


def test_an_exact_size_has_all_digits():
    assert shown.exact_size(1234567) == "1,234,567 bytes"


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(), "now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=61), "1 h ago"),
        (timedelta(days=-3), "in 3 d"),
        (timedelta(days=800), "2 y ago"),
    ],
)
def test_an_age_is_in_its_largest_unit(ago, text):
    assert shown.age(NOW - ago, NOW) == text


@given(st.text(max_size=200), st.integers(10, 60))
def test_a_long_id_keeps_both_ends(text, characters):
    short = shown.short_id(text, characters)
    full = shown.printable(text)
    assert len(short) <= characters
    assert short == full or (full.startswith(short.split("…")[0]) and short.endswith(full[-3:]))


def test_characters_that_would_reorder_or_hide_a_line_are_escaped():
    assert shown.printable("a\u202eb\u200bc\nd é") == "a\\u202eb\\u200bc\\nd é"
