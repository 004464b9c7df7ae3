import pytest
from holdfast.adapters.ids import holdfast_id, joined, split
from holdfast_server.api import requests
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80) | st.sampled_from(
    [
        "\x80",
        "\u202e",
        "\u2028x",
        "a\u2066b",
        "\u061c",
        ".",
        "..",
        "...",
        "%2E",
        "%2E%2E",
        "%2F",
        "/",
        "a/b",
        "a%2Fb",
        "%~",
        "x" * 80 + "/",
    ]
)


@given(TEXTS, st.integers(100, 300))
def test_any_text_becomes_a_name_that_the_server_takes(text, limit):
    name = holdfast_id(text, limit)
    assert 0 < len(name.encode()) <= limit
    requests.name("workflow_id", name, limit)
    requests.name("workflow_id", joined(text, "x"), 2_000)
    assert split(joined(text, "x")) == [text, "x"]


@given(TEXTS, TEXTS)
def test_no_two_texts_become_the_same_name(one, other):
    assert (holdfast_id(one, 100) == holdfast_id(other, 100)) == (one == other)


@pytest.mark.parametrize("text", ["a", "Zoë 東京", "a.b", "00000000-0000-0000-0000-000000000000", "~", "x" * 256])
def test_a_text_that_may_be_a_name_stays_as_it_is(text):
    assert holdfast_id(text, 256) == text


@pytest.mark.parametrize("text", ["x" * 257, "é" * 129, "/" * 100, "東" * 86])
def test_a_long_text_is_cut_and_distinguished_by_its_digest(text):
    assert len(holdfast_id(text, 256).encode()) <= 256
    assert holdfast_id(text, 256) != holdfast_id(text + "x", 256)


@pytest.mark.parametrize("given", [None, b"x", 1, float("nan"), ("x",), ["x"]])
def test_an_id_that_is_not_text_is_named_and_refused(given):
    for make in (lambda: holdfast_id(given, 256), lambda: joined("a", given)):
        with pytest.raises(TypeError, match="must be text, not"):
            make()


@pytest.mark.parametrize("text", ["", "\ud800"])
def test_a_text_that_no_id_can_stand_for_is_refused(text):
    with pytest.raises(ValueError, match=r"empty|surrogates"):
        holdfast_id(text, 256)
