"""The lineage: lines that lead from each checkpoint to its parent, whatever parents checkpoints name."""

from holdfast_server.console.lineage import Item, Parent, drawing_of, places_of
from holdfast_server.console.lineage.lanes import MAX_LANES
from hypothesis import given
from hypothesis import strategies as st

ITEMS = st.lists(
    st.builds(Item, st.sampled_from(["", *"abcdefgh"]), st.sampled_from(["", *"abcdefgh", "x"])), max_size=40
)


def drawn(*rows, is_last_page=True):
    """Return the rows as text: `*` for a checkpoint, `|` for a line that passes, a slash where lines join."""
    places = places_of([Item(*row.split("<")) for row in rows], is_last_page=is_last_page)
    found = []
    for place in places:
        lanes = [" "] * place.width
        for lane in place.passing:
            lanes[lane] = "|"
        if place.joins is not None:
            lanes[place.joins] = "\\"
        if place.pulls is not None:
            lanes[place.pulls] = "/"
        if place.lane is not None:
            lanes[place.lane] = "*"
        found.append("".join(lanes))
    return found, [place.parent for place in places]


def test_a_chain_is_one_lane():
    lanes, parents = drawn("c<b", "b<a", "a")
    assert lanes == ["*", "*", "*"]
    assert parents == [Parent.BELOW, Parent.BELOW, Parent.NONE]


def test_a_fork_has_a_lane_of_its_own_until_it_joins():
    lanes, _ = drawn("d<b", "c<a", "b<a", "a")
    assert lanes == ["*", "|*", "*/", "*"]


def test_other_entries_are_passed():
    lanes, _ = drawn("b<a", "", "a")
    assert lanes == ["*", "|", "*"]


def test_a_parent_on_another_page_keeps_its_line_to_the_end():
    lanes, parents = drawn("b<a", "", is_last_page=False)
    assert (lanes, parents[0]) == (["*", "|"], Parent.BEYOND)


def test_a_parent_that_is_nowhere_has_a_stub():
    lanes, parents = drawn("b<a", "")
    assert (lanes, parents[0]) == (["*", ""], Parent.MISSING)


def test_a_parent_that_is_newer_has_no_line():
    assert drawn("a", "b<a")[1][1] is Parent.ABOVE
    assert drawn("a<a")[1][0] is Parent.ABOVE


def test_a_replaced_checkpoint_is_the_parent_of_those_between():
    lanes, parents = drawn("a<b", "b<a", "a")
    assert (lanes, parents) == (["*", "*", "*"], [Parent.BELOW, Parent.BELOW, Parent.NONE])


def test_more_branches_than_lanes_have_no_lines():
    rows = [f"c{index}<p{index}" for index in range(20)] + [f"p{index}" for index in range(20)]
    lanes, parents = drawn(*rows)
    assert max(map(len, lanes)) == MAX_LANES
    assert parents.count(Parent.HIDDEN) == 10


@given(ITEMS, st.booleans())
def test_lines_are_whole_and_lead_to_parents(items, is_last_page):
    places = places_of(items, is_last_page=is_last_page)
    assert len(places) == len(items)
    for above, (row, place) in zip([None, *places], enumerate(places), strict=False):
        # Each line that enters a row from above has left the row above, and each that left enters.
        left = set() if above is None else set(above.passing)
        if above is not None and above.parent in (Parent.BELOW, Parent.BEYOND):
            left.add(above.lane if above.joins is None else above.joins)
        entered = set(place.passing) | ({place.lane} if place.has_child else set())
        entered |= {place.pulls} - {None}
        assert entered == left
        assert len(set(place.passing)) == len(place.passing)
        assert place.lane not in place.passing or place.lane == MAX_LANES - 1
        assert place.joins is None or place.joins in place.passing
        if place.parent is Parent.BELOW:
            assert any(item.checkpoint_id == items[row].parent_id for item in items[row + 1 :])
        drawing = drawing_of(place, MAX_LANES)
        assert (drawing.x is None) == (not items[row].checkpoint_id)
        assert all(0 <= line.x1 <= drawing.width and 0 <= line.x2 <= drawing.width for line in drawing.lines)
    if is_last_page and places:
        assert places[-1].parent not in (Parent.BELOW, Parent.BEYOND)
        assert not places[-1].passing


@given(ITEMS)
def test_each_line_ends_at_the_parent(items):
    """Follow each line down, lane by lane, and find the parent at its end."""
    places = places_of(items, is_last_page=True)
    for row, place in enumerate(places):
        if place.parent is not Parent.BELOW:
            continue
        lane = place.lane if place.joins is None else place.joins
        at = row + 1
        while not (places[at].lane == lane and places[at].has_child):
            assert lane in places[at].passing or lane == places[at].pulls
            lane = places[at].lane if lane == places[at].pulls else lane
            at += 1
        assert items[at].checkpoint_id == items[row].parent_id
