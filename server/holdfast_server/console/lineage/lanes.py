"""The lanes of a lineage: where each checkpoint stands, and which lines pass each row.

A line leads from each checkpoint down to its parent, which is an older row. All children of a parent share one lane
from the row on where they join it, so that a lane holds nothing between there and the parent. The number of lanes is
bounded: a checkpoint for which none is free stands in the last one, without a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

MAX_LANES = 10


class Parent(Enum):
    """Where the parent of a checkpoint is."""

    NONE = "none"  # It has no parent.
    BELOW = "below"  # It is a row further down.
    BEYOND = "beyond"  # It is on a later page, or not stored any more.
    MISSING = "missing"  # It is not in the log: it was collected, or never existed.
    ABOVE = "above"  # It is the checkpoint itself or a newer one: the caller named it wrongly.
    HIDDEN = "hidden"  # There are too many lines to draw another one.


@dataclass(frozen=True, slots=True)
class Item:
    """A row to place.

    Attributes:
        checkpoint_id: the checkpoint; "" for any other entry.
        parent_id: its parent; "" for none.

    """

    checkpoint_id: str
    parent_id: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the lineage.

    Attributes:
        lane: the lane of the checkpoint, from 0; None for any other entry.
        parent: where its parent is.
        has_child: whether a line comes from above to the checkpoint.
        joins: the lane to the left that its line moves to, because it leads to the same parent; None if it does not.
        pulls: the lane to the right whose line moves to its own, because it leads to the same parent; None for none.
        passing: the lanes that pass the row from top to bottom.

    """

    lane: int | None
    parent: Parent
    has_child: bool
    joins: int | None
    pulls: int | None
    passing: Sequence[int]

    @property
    def width(self) -> int:
        """How many lanes it takes."""
        lanes = [*self.passing, *(lane for lane in (self.lane, self.pulls) if lane is not None)]
        return max(lanes, default=-1) + 1


def places_of(items: Sequence[Item], *, is_last_page: bool) -> Sequence[Place]:
    """Return the places of rows, newest first.

    Args:
        items: the rows, newest first.
        is_last_page: whether there are no older rows than these.

    """
    last_row = {item.checkpoint_id: row for row, item in enumerate(items) if item.checkpoint_id}
    seen: set[str] = set()
    # By lane: the checkpoint that its line leads to; None for a lane that is free.
    lanes: list[str | None] = [None] * MAX_LANES
    places = []
    for row, item in enumerate(items):
        if not item.checkpoint_id:
            places.append(Place(None, Parent.NONE, has_child=False, joins=None, pulls=None, passing=_taken(lanes)))
            continue
        seen.add(item.checkpoint_id)
        has_child = item.checkpoint_id in lanes
        lane = lanes.index(item.checkpoint_id) if has_child else _free(lanes)
        parent = _parent(item, is_below=last_row.get(item.parent_id, -1) > row, seen=seen, is_last_page=is_last_page)
        if lane is None:
            folded = Parent.HIDDEN if parent in (Parent.BELOW, Parent.BEYOND) else parent
            # The last lane is taken: its line passes.
            places.append(Place(MAX_LANES - 1, folded, has_child=False, joins=None, pulls=None, passing=_taken(lanes)))
            continue
        lanes[lane] = None
        joins = pulls = None
        if parent in (Parent.BELOW, Parent.BEYOND) and item.parent_id in lanes:
            other = lanes.index(item.parent_id)
            if other < lane:
                joins = other
            else:
                pulls = other
                lanes[other] = None
        passing = _taken(lanes)
        if parent in (Parent.BELOW, Parent.BEYOND) and joins is None:
            lanes[lane] = item.parent_id
        places.append(Place(lane, parent, has_child, joins, pulls, passing))
    return places


def _parent(item: Item, *, is_below: bool, seen: set[str], is_last_page: bool) -> Parent:
    if not item.parent_id:
        return Parent.NONE
    if is_below:
        return Parent.BELOW
    if item.parent_id in seen:
        return Parent.ABOVE
    return Parent.MISSING if is_last_page else Parent.BEYOND


def _taken(lanes: Sequence[str | None]) -> Sequence[int]:
    return tuple(lane for lane, awaited in enumerate(lanes) if awaited is not None)


def _free(lanes: Sequence[str | None]) -> int | None:
    return next((lane for lane, awaited in enumerate(lanes) if awaited is None), None)
