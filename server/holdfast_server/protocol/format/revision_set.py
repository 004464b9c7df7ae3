"""The revisions that are deleted or below the floor, as ranges: a marker may name billions of them."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from holdfast_server.layout.v1.marker_pb2 import Marker

# The first and the last revision.
Range = tuple[int, int]


class RevisionSet:
    """The revisions at or below a floor, and those in some ranges.

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
        """Return the revisions that are gone according to a marker."""
        return cls(marker.floor, [(each.first, each.last) for each in marker.deleted])

    def __call__(self, revision: int) -> bool:
        """Return whether the set contains a revision."""
        return revision <= self.floor or self.is_deleted(revision)

    def is_deleted(self, revision: int) -> bool:
        """Return whether a revision is in one of the ranges."""
        index = bisect_right(self._firsts, revision) - 1
        return index >= 0 and revision <= self._lasts[index]

    def newest_left(self, revision: int) -> int:
        """Return the newest revision that is not in the set, at or below a given one; 0 if there is none."""
        index = bisect_right(self._firsts, revision) - 1
        while index >= 0 and revision <= self._lasts[index]:
            revision = self._firsts[index] - 1
            index -= 1
        return revision if revision > self.floor else 0

    def count_left(self, first: int, last: int) -> int:
        """Return how many revisions of a closed range are not in the set."""
        first = max(first, self.floor + 1)
        left = max(0, last - first + 1)
        for index in range(max(0, bisect_right(self._firsts, first) - 1), bisect_right(self._firsts, last)):
            left -= max(0, min(last, self._lasts[index]) - max(first, self._firsts[index]) + 1)
        return left

    def all_of(self, revisions: Range) -> bool:
        """Return whether the set contains all revisions of a range."""
        first, last = revisions
        return self.newest_left(last) < first

    def without(self, other: "RevisionSet") -> list[Range]:
        """Return what the set contains beyond another one, as ascending ranges."""
        found: list[Range] = []
        others = other.ranges()
        index = 0
        for first, last in self.ranges():
            begin = first
            while index < len(others) and others[index][1] < begin:
                index += 1
            at = index
            while at < len(others) and others[at][0] <= last:
                if begin < others[at][0]:
                    found.append((begin, others[at][0] - 1))
                begin = others[at][1] + 1
                at += 1
            if begin <= last:
                found.append((begin, last))
        return found

    def ranges(self) -> list[Range]:
        """Return the set as ascending ranges, which may touch."""
        above = [
            (max(first, self.floor + 1), last)
            for first, last in zip(self._firsts, self._lasts, strict=True)
            if last > self.floor
        ]
        return [(1, self.floor), *above] if self.floor else above
