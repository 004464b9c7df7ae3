"""Programs that are killed while an engine of theirs saves into Holdfast."""
