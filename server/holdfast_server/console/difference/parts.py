"""The difference between the parts of two checkpoints, by name, size and digest. No bytes are read."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast import PartInfo

ADDED, REMOVED, CHANGED, SAME = "added", "removed", "changed", "same"


@dataclass(frozen=True, slots=True)
class PartChange:
    """A part of either checkpoint.

    Attributes:
        name: its name.
        kind: `ADDED`, `REMOVED`, `CHANGED` or `SAME`.
        before: the part of the older checkpoint; None if it has none of the name.
        after: the part of the newer checkpoint; None if it has none of the name.

    """

    name: str
    kind: str
    before: PartInfo | None
    after: PartInfo | None

    @property
    def growth_bytes(self) -> int:
        """How many bytes larger the newer part is."""
        return (self.after.size_bytes if self.after else 0) - (self.before.size_bytes if self.before else 0)


def part_changes(before: Sequence[PartInfo], after: Sequence[PartInfo]) -> Sequence[PartChange]:
    """Return the parts of two checkpoints: those of the newer one in their order, then those that it has no more."""
    old = {part.name: part for part in before}
    new = {part.name: part for part in after}
    names = [*new, *(name for name in old if name not in new)]
    return [PartChange(name, _kind(old.get(name), new.get(name)), old.get(name), new.get(name)) for name in names]


def _kind(before: PartInfo | None, after: PartInfo | None) -> str:
    if before is None:
        return ADDED
    if after is None:
        return REMOVED
    return SAME if before.sha256 == after.sha256 else CHANGED
