"""Conflicts of a save with later entries of the log: which of them come from the same writer."""

from holdfast._core.errors import RevisionConflictError


def own_head(conflict: RevisionConflictError, revision: int | None, epoch: int | None) -> int | None:
    """Return the head's revision if every save after a revision was made under an epoch, else None.

    Args:
        conflict: the error of a save that expected the revision.
        revision: the expected revision; None for none.
        epoch: the epoch; None or 0 for none.

    """
    if revision is None or not epoch:
        return None
    try:
        head, saved, save_epoch, other = (
            int(conflict.metadata[name])
            for name in ("head_revision", "last_save_revision", "last_save_epoch", "last_other_save_revision")
        )
    except (KeyError, ValueError):
        return None
    is_own = save_epoch == epoch and other <= revision < saved <= head
    return head if is_own else None
