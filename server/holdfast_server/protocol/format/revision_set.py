"""Which revisions a head has as gone, asked without a step for each: what a marker says may hold billions of them."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from holdfast_server.layout.v1.marker_pb2 import Marker

# The first revision and the last.
Range = tuple[int, int]


class RevisionSet:
    """The revisions that are gone: those at or below a floor, and those in some ranges.

    Args:
        floor: the floor.
        ranges: the ranges, ascending, none within another.

    """

    __slots__ = ("_firsts", "_lasts", "floor")

    def __init__(self, floor: int, ranges: Sequence[Range]) -> None:
        self.floor = floor
        self._firsts = array("q", (first for first, _ in ranges))
        self._lasts = array("q", (last for _, last in ranges))

    @classmethod
    def of(cls, marker: Marker) -> "RevisionSet":
        """What a marker says."""
        return cls(marker.floor, [(each.first, each.last) for each in marker.deleted])

    def __call__(self, revision: int) -> bool:
        """Whether a revision is gone."""
        return revision <= self.floor or self.is_deleted(revision)

    def is_deleted(self, revision: int) -> bool:
        """Whether a revision is in one of the ranges."""
        index = bisect_right(self._firsts, revision) - 1
        return index >= 0 and revision <= self._lasts[index]

    def newest_left(self, revision: int) -> int:
        """The newest revision up to one that is not gone; 0 for none."""
        index = bisect_right(self._firsts, revision) - 1
        while index >= 0 and revision <= self._lasts[index]:
            revision = self._firsts[index] - 1
            index -= 1
        return revision if revision > self.floor else 0

    def all_of(self, revisions: Range) -> bool:
        """Whether all revisions of a range are gone."""
        first, last = revisions
        return self.newest_left(last) < first
