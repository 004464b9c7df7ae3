"""URLs: every id comes back from its path, whatever is in it."""

from urllib.parse import urlsplit

import pytest
from holdfast_server.console import links
from hypothesis import example, given
from hypothesis import strategies as st

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(names)
@example("%2e")
@example("a/b?c#d")
def test_a_name_comes_back_from_its_segment(name):
    segment = links.segment(name)
    assert links.name_of(segment) == name
    assert segment.isascii()
    assert not set(segment) & set("/?#\\ ")


@pytest.mark.parametrize("segment", ["%ff", "%ed%a0%80"])
def test_a_segment_that_no_name_has_is_refused(segment):
    with pytest.raises(ValueError, match=r".+"):
        links.name_of(segment)


@pytest.mark.parametrize(
    "url", ["//evil", "https://evil", "/\\evil", "/\t/evil", "/\n/evil", "", "n/a", "javascript:1"]
)
def test_a_sign_in_leads_to_no_other_site(url):
    assert not links.is_local(url)


@given(names, names)
def test_the_path_of_a_page_is_local(namespace, workflow_id):
    path = links.workflow(namespace, workflow_id)
    assert links.is_local(path)
    assert urlsplit(path).path == path
