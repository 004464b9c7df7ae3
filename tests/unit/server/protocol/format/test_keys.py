import re

from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys, encode_name
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text(min_size=1, max_size=300)
REVISIONS = st.integers(1, MAX_REVISION)


@given(NAMES, NAMES)
def test_different_names_have_different_keys(first, second):
    assert (encode_name(first) == encode_name(second)) == (first == second)


@given(NAMES)
def test_a_name_is_one_harmless_segment_of_a_key(name):
    assert re.fullmatch(r"[A-Za-z0-9_%~-]{1,200}", encode_name(name))


@given(REVISIONS, REVISIONS)
def test_newer_markers_list_first(first, second):
    keys = WorkflowKeys("n", "w")
    assert (keys.marker(first) < keys.marker(second)) == (first > second)


@given(REVISIONS)
def test_the_revision_can_be_parsed_from_a_markers_key(revision):
    keys = WorkflowKeys("n", "w")
    assert keys.revision(keys.marker(revision)) == revision
