"""Saves that are made again because somebody else has saved first."""

from holdfast._core.errors import RevisionConflictError


class Contention:
    """The saves that one change has lost. Each must have lost to another save: otherwise it would never end."""

    def __init__(self) -> None:
        self._head = -1

    def lost(self, conflict: RevisionConflictError) -> None:
        """Note a save that was refused, before the change is made again from a head that is read since.

        Raises:
            RevisionConflictError: the given one, if the head is still that of the last refusal.

        """
        head = int(conflict.metadata.get("head_revision", "0"))
        if head <= self._head:
            raise conflict
        self._head = head
