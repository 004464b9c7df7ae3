"""Where the sealed data of a checkpoint belongs, and its cover."""

from holdfast._core.errors import not_encrypted
from holdfast._encryption import cover
from holdfast._encryption.layout import COVER, Place
from holdfast.v1 import checkpoint_pb2


def place_of(
    of: checkpoint_pb2.Checkpoint | checkpoint_pb2.SaveHeader, kind: str, name: str = "", digest: bytes = b""
) -> Place:
    """Return a place in a checkpoint, or in one that is to be saved."""
    return Place(
        kind,
        of.namespace,
        of.workflow_id,
        of.checkpoint_id,
        of.parent_id,
        of.format.name,
        of.format.version,
        name,
        digest,
    )


def cover_of(message: checkpoint_pb2.Checkpoint) -> bytes:
    """Return the sealed cover of a checkpoint.

    Raises:
        NotEncryptedError: it has none.
        CheckpointCorruptedError: its text was changed.

    """
    sealed = any_cover_of(message)
    if not sealed:
        what = f"checkpoint {message.checkpoint_id!r}"
        raise not_encrypted(what, checkpoint_id=message.checkpoint_id, revision=str(message.revision))
    return sealed


def any_cover_of(message: checkpoint_pb2.Checkpoint) -> bytes:
    """Return the sealed cover of a checkpoint; empty if it has none.

    Raises:
        CheckpointCorruptedError: its text was changed.

    """
    try:
        return cover.sealed_in(message.labels)
    except ValueError as error:
        raise place_of(message, COVER).damaged(str(error)) from None
