"""Counts of work on many workflows, which add up."""

from dataclasses import dataclass, fields
from typing import Self


@dataclass(slots=True)
class Counts:
    """Counts, each a field of a subclass."""

    workflows: int = 0

    def add(self, other: Self) -> None:
        """Add other counts of the same kind."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
