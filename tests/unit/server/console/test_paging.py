"""Pages of a list: every page leads to the ones around it, in a URL of a bounded length."""

from urllib.parse import parse_qs, urlsplit

from holdfast_server.console.paging import Place
from hypothesis import given
from hypothesis import strategies as st


def place_at(url: str) -> Place:
    return Place(tuple(parse_qs(urlsplit(url).query).get("t", ())))


@given(st.lists(st.text("abc", min_size=1, max_size=900), min_size=1, max_size=30))
def test_a_page_leads_back_to_the_page_before_it_as_far_as_a_url_has_room(tokens):
    place, tokens_before = Place(()), [""]
    for token in tokens:
        pager = place.pager("/n/x", {"prefix": "p"}, token)
        assert parse_qs(urlsplit(pager.next).query)["prefix"] == ["p"]
        assert len(pager.next) < 6000
        place = place_at(pager.next)
        assert place.token == token
        previous = place.pager("/n/x", {}, "").previous
        if previous:
            assert place_at(previous).token == tokens_before[-1]
        else:
            assert sum(map(len, tokens)) > 3000
        tokens_before.append(token)
    assert (place.pager("/n/x", {}, "").first == "") == (len(tokens) == 1)
