"""Recognise checkpoints that a client has encrypted. `docs/reference/encryption-format.md` states the format."""

from collections.abc import Mapping

# A label of each encrypted checkpoint: the first that holds its own labels.
COVER_LABEL = "holdfast-sealed-00"


def is_sealed(labels: Mapping[str, str]) -> bool:
    """Return whether a checkpoint with these labels is encrypted."""
    return COVER_LABEL in labels
