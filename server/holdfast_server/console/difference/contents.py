"""The difference between the contents of two parts, by the finest means that both allow."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast_server.console.difference.byte_ranges import ByteRange, byte_changes
from holdfast_server.console.difference.lines import MAX_LINES, Line, line_changes
from holdfast_server.console.difference.trees import MAX_CHANGES, Change, tree_changes
from holdfast_server.console.preview import preview_of, text_of

_MAX_NODES = 20_000


@dataclass(frozen=True, slots=True)
class Side:
    """A part of one of the two checkpoints.

    Attributes:
        data: its first bytes, as many as a preview reads.
        size_bytes: its size.
        format_name: the name of the checkpoint's format.

    """

    data: bytes
    size_bytes: int
    format_name: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between the contents of two parts. One of the three sequences has it.

    Attributes:
        title: what was compared, such as "JSON by value".
        notes: what was left out, as sentences.
        changes: the values that differ.
        lines: the lines that differ.
        ranges: the ranges of bytes that differ.

    """

    title: str
    notes: Sequence[str]
    changes: Sequence[Change] = ()
    lines: Sequence[Line] = ()
    ranges: Sequence[ByteRange] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no difference was found in what was compared."""
        return not (self.changes or self.lines or self.ranges)


def difference_of(part: str, before: Side, after: Side) -> Difference:
    """Return the difference between two versions of a part.

    Takes up to a few seconds of CPU: call it in a thread.
    """
    notes = [
        f"Only the first {len(side.data):,} of {side.size_bytes:,} bytes of the {name} part were compared."
        for name, side in (("older", before), ("newer", after))
        if len(side.data) < side.size_bytes
    ]
    old, new = (
        preview_of(side.data, side.size_bytes, format_name=side.format_name, part=part, max_nodes=_MAX_NODES)
        for side in (before, after)
    )
    if old.title == new.title == "encrypted":
        notes.append("A client has encrypted both: nothing of their content can be compared.")
        return Difference("encrypted", notes)
    if old.tree is not None and new.tree is not None:
        notes += [
            f"Of the {name} part: {note}"
            for name, side in (("older", old), ("newer", new))
            for note in side.notes
            if note.startswith("Left out")
        ]
        changes, has_more = tree_changes(old.tree, new.tree)
        notes += [f"Only the first {MAX_CHANGES} differences are shown."] if has_more else []
        is_whole = len(before.data) == before.size_bytes and len(after.data) == after.size_bytes
        if not changes and is_whole and before.data != after.data and not (old.tree.is_cut or new.tree.is_cut):
            notes.append("The bytes differ in how they write their values, such as spaces or the order of keys.")
        return Difference(f"{new.title}, by value", notes, changes=changes)
    texts = [text_of(side.data, is_cut=len(side.data) < side.size_bytes) for side in (before, after)]
    if texts[0] is not None and texts[1] is not None:
        lines, is_cut = line_changes(texts[0], texts[1])
        notes += [f"Only {MAX_LINES} lines were compared, from the first difference on."] if is_cut else []
        if not lines and before.data != after.data:
            notes.append("The lines are the same: only their ends differ.")
        return Difference("text, by line", notes, lines=lines)
    ranges, has_more = byte_changes(before.data, after.data)
    notes += [f"Only the first {len(ranges)} ranges are shown."] if has_more else []
    return Difference("bytes, by range", notes, ranges=ranges)
