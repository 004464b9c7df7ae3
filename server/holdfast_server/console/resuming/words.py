"""The findings of a validation in words: what each reason means for a resume, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """A reason in words.

    Attributes:
        title: the problem in a few words.
        meaning: what it means for a resume, as a sentence.
        advice: what to do, as a sentence.
        exception: the exception of Python that a resume raises for it.

    """

    title: str
    meaning: str
    advice: str
    exception: str


REASONS = {
    "CHECKPOINT_CORRUPTED": Words(
        "damaged",
        "Bytes of this checkpoint are missing, or do not match their digest. It is never served.",
        "Resume with fallback to continue from the last good checkpoint, and run fsck on the store: with repair it "
        "records lost markers as deleted, so that the workflow can be saved to again.",
        "CheckpointCorruptedError",
    ),
    "FORMAT_INCOMPATIBLE": Words(
        "another format",
        "This checkpoint is whole as far as it was checked, but the engine that was named does not read its format. A "
        "fallback does not pass over it, because newer work would be lost silently.",
        "Run a version of the engine that reads this format, or register a migration from it.",
        "FormatIncompatibleError",
    ),
    "CHECKPOINT_NOT_FOUND": Words(
        "no such checkpoint",
        "The workflow exists, but it has no checkpoint with this id, or none at all.",
        "Look at the log for the checkpoints that exist. If there is none, start the workflow from its beginning.",
        "CheckpointNotFoundError",
    ),
    "CHECKPOINT_DELETED": Words(
        "deleted",
        "This checkpoint was deleted. Until the grace is over its bytes may still be stored, but no call returns them.",
        "Resume from the newest checkpoint instead. Only a backup can bring a deleted checkpoint back.",
        "CheckpointDeletedError",
    ),
    "WORKFLOW_NOT_FOUND": Words(
        "no such workflow",
        "Nothing was ever saved under this workflow id.",
        "Check the namespace and the workflow id for typing errors, or start the workflow from its beginning.",
        "WorkflowNotFoundError",
    ),
    "LAYOUT_UNSUPPORTED": Words(
        "written by a newer server",
        "A newer server than this one has written the entry, in a layout that this server cannot read.",
        "Upgrade the servers: all of them read the layout of the newest one.",
        "LayoutUnsupportedError",
    ),
}


def words_of(reason: str) -> Words:
    """Return a reason in words, also one that this console does not know."""
    return REASONS.get(reason) or Words(
        reason,
        f"The server gives the reason {reason}, which this version of the console does not know.",
        "See the server's message, and the page on errors of the server's version.",
        "HoldfastError",
    )
