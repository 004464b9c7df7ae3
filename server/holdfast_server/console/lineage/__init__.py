"""The lineage of checkpoints by parent, as lines beside the rows of a log, one row for each entry."""

from holdfast_server.console.lineage.drawing import Drawing, Line, drawing_of
from holdfast_server.console.lineage.lanes import Item, Parent, Place, places_of

__all__ = ["Drawing", "Item", "Line", "Parent", "Place", "drawing_of", "places_of"]
