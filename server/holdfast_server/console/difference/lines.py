"""The difference between two texts, by line, with the lines around each difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from holdfast_server.console.difference.ends import common_ends

# The most lines of each text that are aligned, after their common beginning and end; the time grows with the square.
MAX_LINES = 400
_SHOWN_CHARACTERS = 500
_CONTEXT = 3
KEPT, REMOVED, ADDED, GAP = " ", "-", "+", "…"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the difference.

    Attributes:
        kind: `KEPT`, `REMOVED`, `ADDED`, or `GAP` in place of lines that are the same.
        before: its number in the older text, from 1; 0 for none.
        after: its number in the newer text, from 1; 0 for none.
        text: the line, shortened.

    """

    kind: str
    before: int
    after: int
    text: str


def line_changes(before: str, after: str) -> tuple[Sequence[Line], bool]:
    """Return the lines that differ and those around them, and whether lines were left out that may differ."""
    old, new = before.splitlines(), after.splitlines()
    start, end = common_ends(old, new)
    first = max(0, start - _CONTEXT)
    old_end, new_end = len(old) - max(0, end - _CONTEXT), len(new) - max(0, end - _CONTEXT)
    old_middle, new_middle = old[first:old_end], new[first:new_end]
    is_cut = max(len(old_middle), len(new_middle)) > MAX_LINES
    matcher = SequenceMatcher(None, old_middle[:MAX_LINES], new_middle[:MAX_LINES])
    found: list[Line] = []
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        if found or first + group[0][1] > 0:
            found.append(Line(GAP, 0, 0, ""))
        for operation, old_from, old_to, new_from, new_to in group:
            if operation == "equal":
                found += [
                    Line(KEPT, first + index + 1, first + new_from + index - old_from + 1, _shown(old_middle[index]))
                    for index in range(old_from, old_to)
                ]
                continue
            found += [Line(REMOVED, first + at + 1, 0, _shown(old_middle[at])) for at in range(old_from, old_to)]
            found += [Line(ADDED, 0, first + at + 1, _shown(new_middle[at])) for at in range(new_from, new_to)]
    return found, is_cut


def _shown(line: str) -> str:
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"
