"""Patterns of a policy: a text, or the beginning of a text with a `*` after it.

`*` stands for any characters, also for none, and only at the end of a pattern: `team-a-*` matches `team-a-` and
`team-a-x`, but not `team-a`; `*` alone matches everything. Texts are compared code point by code point. Nothing is
folded or normalised: texts that differ in case or in their Unicode form are different, as the keys of a store are.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

_Value = TypeVar("_Value")

ANYTHING = "*"


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern matches a text."""
    return text.startswith(pattern[:-1]) if pattern.endswith(ANYTHING) else text == pattern


class PatternMap(Generic[_Value]):
    """Values by pattern, found without looking at each pattern."""

    def __init__(self) -> None:
        self._exact: dict[str, list[_Value]] = {}
        # By the length of what comes before the star, then by that text.
        self._prefixes: dict[int, dict[str, list[_Value]]] = {}

    def add(self, pattern: str, value: _Value) -> None:
        """Add a value under a pattern."""
        if pattern.endswith(ANYTHING):
            prefix = pattern[:-1]
            self._prefixes.setdefault(len(prefix), {}).setdefault(prefix, []).append(value)
        else:
            self._exact.setdefault(pattern, []).append(value)

    def matching(self, text: str) -> Iterator[_Value]:
        """Yield the values whose patterns match a text, once for each pattern."""
        yield from self._exact.get(text, ())
        for length, by_prefix in self._prefixes.items():
            if length <= len(text):
                yield from by_prefix.get(text[:length], ())
