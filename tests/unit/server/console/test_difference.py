"""Differences of checkpoints: each difference is found and named, within limits of work and size."""

import json

import pytest
from holdfast import PartInfo
from holdfast_server.console.difference import difference_of, part_changes
from holdfast_server.console.difference.byte_ranges import byte_changes
from holdfast_server.console.difference.contents import Side
from holdfast_server.console.difference.lines import MAX_LINES, line_changes
from holdfast_server.console.difference.trees import tree_changes
from holdfast_server.console.preview import READ_BYTES
from holdfast_server.console.preview.brief import brief
from holdfast_server.console.preview.json_text import read_json
from holdfast_server.console.preview.tree import Limits
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=4),
    max_leaves=12,
)


def tree(value):
    return read_json(json.dumps(value), is_cut=False, limits=Limits(10**6))


def changes(before, after):
    found, has_more = tree_changes(tree(before), tree(after))
    assert not has_more
    return [(change.kind, change.path, change.before, change.after) for change in found]


def compared(before: bytes, after: bytes, **options):
    sides = [Side(data[:READ_BYTES], len(data), options.get("format_name", "f")) for data in (before, after)]
    return difference_of(options.get("part", ""), *sides)


def test_parts_are_added_removed_changed_or_the_same():
    def part(name, digest, size=1):
        return PartInfo(name, size, digest * 32, 0)

    found = part_changes(
        [part("a", b"1"), part("b", b"2"), part("c", b"3", 5)], [part("b", b"2"), part("c", b"4", 9), part("d", b"5")]
    )
    assert [(each.name, each.kind, each.growth_bytes) for each in found] == [
        ("b", "same", 0),
        ("c", "changed", 4),
        ("d", "added", 1),
        ("a", "removed", -1),
    ]


def test_each_value_that_differs_has_its_path():
    before = {"values": {"messages": [{"id": 1}, {"id": 2}], "odd key": 1, "gone": [1, 2]}, "same": True}
    after = {"values": {"messages": [{"id": 1}, {"id": 3}, {"id": 4}], "odd key": 2}, "same": True, "new": "x"}
    assert changes(before, after) == [
        ("changed", "values.messages[1].id", "2", "3"),
        ("added", "values.messages[2]", "", "{id: 4}"),
        ("changed", "values['odd key']", "1", "2"),
        ("removed", "values.gone", "[1, 2]", ""),
        ("added", "new", "", '"x"'),
    ]


def test_an_item_that_is_inserted_at_the_front_is_one_difference():
    assert changes([1, 2, 3], [0, 1, 2, 3]) == [("added", "[0]", "", "0")]
    assert changes([1, 2, 3], [2, 3]) == [("removed", "[0]", "1", "")]


def test_another_kind_of_value_is_a_difference():
    assert changes({"a": 1}, {"a": "1"}) == [("changed", "a", "1", '"1"')]
    assert changes([], {}) == [("changed", "", "[]", "{}")]
    assert changes({"a": 1}, {"a": 1.0}) == [("changed", "a", "1", "1.0")]


@given(VALUES, VALUES)
def test_there_is_no_difference_exactly_if_the_values_are_equal(before, after):
    found, _ = tree_changes(tree(before), tree(after))
    assert bool(found) == (json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True))


@given(VALUES)
def test_a_value_is_shown_as_one_line_of_bounded_length(value):
    assert len(brief(tree([value] * 50))) <= 241


def test_long_texts_are_shown_where_they_begin_to_differ():
    (found,) = changes("a" * 5000 + "b" + "c" * 5000, "a" * 5000 + "d" + "c" * 5000)
    assert found[2].startswith("…" + "a" * 40 + "b")
    assert found[3].startswith("…" + "a" * 40 + "d")
    assert max(len(found[2]), len(found[3])) < 250


def test_only_the_first_differences_are_shown():
    found = compared(json.dumps([0] * 1000).encode(), json.dumps([1] * 1000).encode())
    assert (found.title, len(found.changes)) == ("JSON, by value", 200)
    assert found.notes == ["Only the first 200 differences are shown."]


@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
def test_the_lines_of_a_difference_make_the_new_text_of_the_old(before, after):
    lines, is_cut = line_changes("\n".join(before), "\n".join(after))
    assert not is_cut
    removed = {line.before - 1 for line in lines if line.kind == "-"}
    added = {line.after - 1: line.text for line in lines if line.kind == "+"}
    rest = iter([line for index, line in enumerate(before) if index not in removed])
    assert [added[index] if index in added else next(rest) for index in range(len(after))] == after
    for line in lines:
        if line.kind == " ":
            assert before[line.before - 1] == after[line.after - 1] == line.text


def test_many_lines_are_compared_within_a_limit():
    found = compared(b"a\nb\n" * 20_000, b"b\na\nc\n" * 20_000)
    assert found.title == "text, by line"
    assert len(found.lines) <= 2 * MAX_LINES + 2
    assert any("lines were compared" in note for note in found.notes)


def test_a_key_that_a_map_has_twice_is_compared_each_time():
    found = compared(b'{"a": 1, "a": 2, "b": 0}', b'{"a": 3, "a": 2, "a": 4, "b": 0}')
    assert [(each.kind, each.path, each.before, each.after) for each in found.changes] == [
        ("changed", "a", "1", "3"),
        ("added", "a (number 3 of this key)", "", "4"),
    ]


def test_the_same_values_written_differently_are_said():
    for after in (b'{"a": 1,"b": 2}', b'{"b": 2, "a": 1}'):
        found = compared(b'{"a": 1, "b": 2}', after)
        assert found.is_empty
        assert any("order of keys" in note for note in found.notes)
    assert not compared(b'{"a": 1}', b'{"a": 1}').notes


def test_only_other_line_ends_are_said():
    assert compared(b"a\nb\n", b"a\r\nb\r\n").notes == ["The lines are the same: only their ends differ."]


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_the_ranges_of_bytes_hold_all_differences(before, after):
    ranges, has_more = byte_changes(before, after)
    inside = {at for each in ranges for at in range(each.offset, each.offset + each.size_bytes)}
    for at in range(max(len(before), len(after))):
        if before[at : at + 1] != after[at : at + 1]:
            assert at in inside or has_more
    for each in ranges:
        end = each.offset + each.size_bytes
        assert before[each.offset : each.offset + 1] != after[each.offset : each.offset + 1]
        assert before[end - 1 : end] != after[end - 1 : end]


def test_many_ranges_of_bytes_are_cut():
    ranges, has_more = byte_changes(bytes(READ_BYTES), (bytes(63) + b"\x01") * (READ_BYTES // 64))
    assert (len(ranges), has_more) == (50, True)


@pytest.mark.parametrize(
    ("before", "after", "title"),
    [
        (b'{"a": 1}', b'{"a": 2}', "JSON, by value"),
        (b"\x81\xa1a\x01", b"\x81\xa1a\x02", "msgpack, by value"),
        (b"words", b'{"a": 2}', "text, by line"),
        (b"\x00\x01", b"words", "bytes, by range"),
        (b"\x89HFSEAL1" + b"a", b"\x89HFSEAL1" + b"b", "encrypted"),
        (b"", b"text", "text, by line"),
    ],
)
def test_parts_are_compared_by_the_finest_means_that_both_allow(before, after, title):
    found = compared(before, after)
    assert found.title == title
    assert not found.is_empty or title == "encrypted"


def test_a_difference_beyond_what_was_read_is_not_denied():
    found = compared(b"x" * READ_BYTES + b"1", b"x" * READ_BYTES + b"2")
    assert found.is_empty
    assert len(found.notes) == 2
    assert found.notes[0].startswith("Only the first 262,144 of 262,145 bytes of the older part")
