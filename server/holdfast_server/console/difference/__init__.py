"""The difference between two checkpoints: by part, and inside a part by value, line or byte. Bounded in work and size.

Whatever is left out is said.
"""

from holdfast_server.console.difference.contents import Difference, difference_of
from holdfast_server.console.difference.parts import PartChange, part_changes

__all__ = ["Difference", "PartChange", "difference_of", "part_changes"]
