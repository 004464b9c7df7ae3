"""How a client protects what it saves: not at all, or by a keyring. `holdfast._encryption` has the second."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from holdfast._core import arguments
from holdfast._core.checkpoint import Checkpoint, Record
from holdfast._core.errors import HoldfastError, keyring_required
from holdfast._core.head import Head
from holdfast._core.messages import to_checkpoint
from holdfast._core.payload import Data, Outgoing
from holdfast._core.received import Sinks
from holdfast._core.sealed import FIRST_COVER_LABEL, KEYS_MAGIC, MAGIC
from holdfast.v1 import checkpoint_pb2

if TYPE_CHECKING:
    from holdfast._encryption.keyring import Keyring


class Protection(Protocol):
    """What a client does to checkpoints and records before they are sent, and after they were received.

    Attributes:
        is_quick: whether its calls for small data may run on an event loop.
        is_sealing: whether it encrypts.

    """

    is_quick: bool
    is_sealing: bool

    def outgoing(self, header: checkpoint_pb2.SaveHeader, data: Data) -> Outgoing:
        """Return the payload to send. Change the header to that of the protected checkpoint."""

    def saved(
        self, message: checkpoint_pb2.Checkpoint, outgoing: Outgoing, *, replayed: bool, head: Head | None
    ) -> Checkpoint:
        """Return the metadata of a checkpoint that was saved."""

    def labels_of(self, outgoing: Outgoing) -> Mapping[str, str]:
        """Return the caller's labels of a checkpoint that is encrypted."""

    def sought(self, namespace: str, labels: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """Return the stored labels of checkpoints that have these labels.

        Raises:
            InvalidRequestError: labels cannot be found.

        """

    def listed(self, message: checkpoint_pb2.Checkpoint) -> Checkpoint:
        """Return the metadata of a checkpoint of a list. Raise as `loaded` does, but not KeyringRequiredError."""

    def loaded(self, message: checkpoint_pb2.Checkpoint) -> Checkpoint:
        """Return the metadata of a checkpoint whose payload is loaded.

        Raises:
            KeyringRequiredError: it is encrypted, and there is no keyring.
            NotEncryptedError: it is not, and there is a keyring.
            CheckpointCorruptedError: its cover is not authentic.
            EncryptionKeyMissingError: the keyring lacks its key.
            KeyServiceUnavailableError: the key service cannot be reached.

        """

    def parts(
        self, message: checkpoint_pb2.Checkpoint, received: dict[str, bytes], max_bytes: int | None
    ) -> dict[str, bytes]:
        """Return the payload of a checkpoint from its stored parts.

        Args:
            message: the checkpoint.
            received: the stored bytes of its parts.
            max_bytes: the most bytes that they may have once they are open; None for what memory could hold.

        Raises:
            CheckpointCorruptedError: they cannot be opened.
            PayloadTooLargeError: they have more bytes.
            HoldfastError: as for `loaded`.

        """

    def sinks(self, sinks: Sinks, max_bytes: int | None) -> "OpeningSinks":
        """Return sinks that take stored bytes and hand on the payload. They raise as `parts` does."""

    def learn(self, message: checkpoint_pb2.Checkpoint, records: Sequence[Record]) -> Sequence[str]:
        """Remember the data keys that records of a checkpoint hold, wrapped by other keys than at first.

        Args:
            message: the checkpoint.
            records: stored records of it.

        Returns:
            The ids of these keys.

        Raises:
            CheckpointCorruptedError: a record that should hold data keys holds something else.

        """

    def seal_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record]
    ) -> Sequence[Record]:
        """Return records of one call as they are stored.

        Raises:
            InvalidRequestError: a record has a key that is reserved.

        """

    def open_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record], max_bytes: int | None
    ) -> Sequence[Record]:
        """Return stored records as they were attached. Raise as `parts` does."""

    def data_keys(self, message: checkpoint_pb2.Checkpoint) -> "DataKeys":
        """Return the data keys of a checkpoint, to be wrapped again.

        Raises:
            InvalidRequestError: there is no keyring.
            CheckpointCorruptedError: the text of its cover was changed.

        """


class DataKeys(Protocol):
    """The data keys of one checkpoint and of its records.

    Attributes:
        problem: why a data key cannot be wrapped again, if one cannot.

    """

    problem: HoldfastError | None

    def add(self, records: Sequence[Record]) -> None:
        """Add those of stored records."""

    def rewrapped(self) -> tuple[Sequence[Record], int]:
        """Return stored records that hold them wrapped by the current key, and how many they hold.

        Raises:
            KeyServiceUnavailableError: the key service cannot be reached.

        """


class OpeningSinks(Sinks, Protocol):
    """Sinks that must be finished after all bytes came."""

    def finish(self) -> None:
        """Check that nothing is missing.

        Raises:
            CheckpointCorruptedError: something is.

        """


class _Untouched:
    """Sinks that hand on what they take."""

    def __init__(self, sinks: Sinks) -> None:
        self.of = sinks.of

    def finish(self) -> None:
        """Do nothing: sizes and digests were checked."""


class Unprotected:
    """The protection of a client without a keyring: none. It recognises encrypted data, and does not return it."""

    is_quick = True
    is_sealing = False

    def outgoing(self, header: checkpoint_pb2.SaveHeader, data: Data) -> Outgoing:
        del header
        return Outgoing(data)

    def saved(
        self, message: checkpoint_pb2.Checkpoint, outgoing: Outgoing, *, replayed: bool, head: Head | None
    ) -> Checkpoint:
        del outgoing
        return to_checkpoint(message, replayed=replayed, head=head)

    def labels_of(self, outgoing: Outgoing) -> Mapping[str, str]:
        del outgoing
        return {}

    def sought(self, namespace: str, labels: Mapping[str, str] | None) -> Mapping[str, str] | None:
        del namespace
        return labels

    def listed(self, message: checkpoint_pb2.Checkpoint) -> Checkpoint:
        return to_checkpoint(message)

    def loaded(self, message: checkpoint_pb2.Checkpoint) -> Checkpoint:
        if FIRST_COVER_LABEL in message.labels:
            what = f"checkpoint {message.checkpoint_id!r}"
            raise keyring_required(what, checkpoint_id=message.checkpoint_id, revision=str(message.revision))
        return to_checkpoint(message)

    def parts(
        self, message: checkpoint_pb2.Checkpoint, received: dict[str, bytes], max_bytes: int | None
    ) -> dict[str, bytes]:
        del message, max_bytes
        return received

    def sinks(self, sinks: Sinks, max_bytes: int | None) -> OpeningSinks:
        del max_bytes
        return _Untouched(sinks)

    def learn(self, message: checkpoint_pb2.Checkpoint, records: Sequence[Record]) -> Sequence[str]:
        del message, records
        return ()

    def seal_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record]
    ) -> Sequence[Record]:
        del namespace, workflow_id, checkpoint_id
        return records

    def open_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record], max_bytes: int | None
    ) -> Sequence[Record]:
        del namespace, workflow_id, max_bytes
        for record in records:
            if record.data.startswith((MAGIC, KEYS_MAGIC)):
                what = f"record {record.key!r} of checkpoint {checkpoint_id!r}"
                raise keyring_required(what, checkpoint_id=checkpoint_id)
        return records

    def data_keys(self, message: checkpoint_pb2.Checkpoint) -> DataKeys:
        del message
        raise arguments.invalid("encryption", "must be the keyring of the client whose keys are to be wrapped again")


def protection_of(keyring: "Keyring | None") -> Protection:
    """Return the protection by a keyring, or none.

    Raises:
        TypeError: it is not a keyring.

    """
    if keyring is None:
        return Unprotected()
    # Only here: a client without a keyring needs no package of cryptography.
    from holdfast._encryption.protection import Sealing  # noqa: PLC0415

    return Sealing(keyring)
