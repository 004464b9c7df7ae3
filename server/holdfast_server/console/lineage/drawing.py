"""The lines of one row as shapes of SVG. Vertical positions are in percent, so that a row may have any height."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast_server.console.lineage.lanes import Parent, Place

LANE_PIXELS = 14
COLOURS = 6
_TOP, _MIDDLE, _BOTTOM = 0, 50, 100
# Where the stub of a line ends that leads nowhere.
_STUB = 80


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line.

    Attributes:
        x1: where it begins, in pixels.
        y1: where it begins, in percent of the row's height.
        x2: where it ends, in pixels.
        y2: where it ends, in percent of the row's height.
        colour: the number of its colour, from 0.
        is_dashed: whether its end is not known.

    """

    x1: int
    y1: int
    x2: int
    y2: int
    colour: int
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """A row.

    Attributes:
        width: its width in pixels.
        lanes: how many lanes it has room for.
        lines: its lines.
        x: the middle of the checkpoint's circle, in pixels; None without a checkpoint.
        colour: the number of the circle's colour.

    """

    width: int
    lanes: int
    lines: Sequence[Line]
    x: int | None
    colour: int


def drawing_of(place: Place, width: int) -> Drawing:
    """Return the drawing of a row.

    Args:
        place: the row.
        width: how many lanes all rows have room for.

    """
    x = None if place.lane is None else _x(place.lane)
    return Drawing(width * LANE_PIXELS, width, tuple(_lines(place)), x, (place.lane or 0) % COLOURS)


def _lines(place: Place) -> Iterator[Line]:
    for lane in place.passing:
        yield Line(_x(lane), _TOP, _x(lane), _BOTTOM, lane % COLOURS)
    if place.lane is None:
        return
    x, colour = _x(place.lane), place.lane % COLOURS
    if place.has_child:
        yield Line(x, _TOP, x, _MIDDLE, colour)
    if place.pulls is not None:
        yield Line(_x(place.pulls), _TOP, _x(place.pulls), _MIDDLE, place.pulls % COLOURS)
        yield Line(_x(place.pulls), _MIDDLE, x, _BOTTOM, place.pulls % COLOURS)
    if place.joins is not None:
        yield Line(x, _MIDDLE, _x(place.joins), _BOTTOM, place.joins % COLOURS)
    elif place.parent in (Parent.BELOW, Parent.BEYOND):
        yield Line(x, _MIDDLE, x, _BOTTOM, colour)
    elif place.parent is Parent.MISSING:
        yield Line(x, _MIDDLE, x, _STUB, colour, is_dashed=True)


def _x(lane: int) -> int:
    return lane * LANE_PIXELS + LANE_PIXELS // 2
