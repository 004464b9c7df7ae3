"""Sealing: the protection of a client that has a keyring."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from holdfast._core import arguments
from holdfast._core.answers import memory_bytes
from holdfast._core.checkpoint import Checkpoint, Record
from holdfast._core.errors import not_encrypted, of_reason
from holdfast._core.messages import to_checkpoint
from holdfast._core.payload import UNARY_BYTES, Data, Outgoing, Progress, Source
from holdfast._core.received import Sink, Sinks
from holdfast._core.sealed import MAGIC
from holdfast._encryption import cover
from holdfast._encryption.frames import DataKey, Opener, Sealer, opened
from holdfast._encryption.keyring import Keyring
from holdfast._encryption.layout import COVER, PART, RECORD, Place
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

_ID_BYTES = 16


class Sealing:
    """The protection by a keyring: everything that a caller saves is sealed, and nothing unsealed is returned.

    Raises:
        TypeError: it is not a keyring.

    """

    is_sealing = True

    def __init__(self, keyring: Keyring) -> None:
        self._keyring: Keyring = arguments.instance("encryption", keyring, Keyring)
        self.is_quick = not keyring.blocks

    def outgoing(self, header: checkpoint_pb2.SaveHeader, data: Data) -> Outgoing:
        if not header.checkpoint_id and not header.replace:
            # The data is bound to the id, so it is chosen here.
            header.checkpoint_id, header.fresh_id = f"cp-{os.urandom(_ID_BYTES).hex()}", True
        labels = dict(header.labels)
        if len(labels) > cover.MAX_LABELS:
            raise arguments.invalid("labels", f"must be at most {cover.MAX_LABELS} with encryption, not {len(labels)}")
        data_key = self._keyring.new_data_key()
        outgoing = _Sealed(data, labels)
        # Not compressed, so that whether labels fit depends on their size alone.
        sealer = Sealer(data_key, _place(header, COVER), is_compressed=False)
        sealed = sealer.sealed(cover.content(labels, outgoing.names))
        outgoing.seal(partial(self._sealer, data_key, header, cover.digest(sealed)))
        header.labels.clear()
        header.labels.update(cover.pieces(sealed))
        if self._keyring.label_key is not None:
            header.labels.update(cover.digests(self._keyring.label_key, header.namespace, labels))
        return outgoing

    def _sealer(self, data_key: DataKey, header: checkpoint_pb2.SaveHeader, digest: bytes, part: str) -> Sealer:
        return Sealer(data_key, _place(header, PART, part, digest), is_compressed=self._keyring.compresses)

    def saved(self, message: checkpoint_pb2.Checkpoint, outgoing: Outgoing, *, replayed: bool) -> Checkpoint:
        assert isinstance(outgoing, _Sealed)
        return replace(to_checkpoint(message, replayed=replayed), labels=outgoing.labels)

    def labels_of(self, outgoing: Outgoing) -> Mapping[str, str]:
        assert isinstance(outgoing, _Sealed)
        return outgoing.labels

    def sought(self, namespace: str, labels: Mapping[str, str] | None) -> Mapping[str, str] | None:
        if not labels:
            return labels
        if self._keyring.label_key is None:
            raise arguments.invalid(
                "labels",
                "cannot be searched for: the keyring's current key has no label_key, so they are only encrypted",
            )
        return cover.digests(self._keyring.label_key, namespace, arguments.labels(labels))

    def listed(self, message: checkpoint_pb2.Checkpoint) -> Checkpoint:
        return self.loaded(message)

    def loaded(self, message: checkpoint_pb2.Checkpoint) -> Checkpoint:
        place = _place(message, COVER)
        content = bytearray()
        opened(_cover_of(message), place, self._keyring.data_key, content.extend)
        try:
            labels = cover.labels_in(bytes(content), (part.name for part in message.parts))
        except (ValueError, KeyError, TypeError) as error:
            raise place.damaged(str(error)) from None
        return replace(to_checkpoint(message), labels=labels)

    def parts(
        self, message: checkpoint_pb2.Checkpoint, received: dict[str, bytes], max_bytes: int | None
    ) -> dict[str, bytes]:
        digest = cover.digest(_cover_of(message))
        allowed = _Allowance(max_bytes)
        found = {}
        for name, data in received.items():
            content: list[bytes] = []
            opened(data, _place(message, PART, name, digest), self._keyring.data_key, allowed.counting(content.append))
            found[name] = content[0] if len(content) == 1 else b"".join(content)
        return found

    def sinks(self, sinks: Sinks, max_bytes: int | None) -> "_OpeningSinks":
        return _OpeningSinks(sinks, self._keyring, max_bytes)

    def seal_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record]
    ) -> Sequence[Record]:
        if not records:
            return records
        data_key = self._keyring.new_data_key()
        sealed = []
        for index, record in enumerate(records):
            key = arguments.text("records[%s].key", record.key, index)
            sealer = Sealer(
                data_key,
                Place(RECORD, namespace, workflow_id, checkpoint_id, name=key),
                is_compressed=self._keyring.compresses,
            )
            data = arguments.octets("records[%s].data", record.data, index)
            sealed.append(replace(record, data=sealer.sealed(data)))
        return sealed

    def open_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record], max_bytes: int | None
    ) -> Sequence[Record]:
        allowed = _Allowance(max_bytes)
        found = []
        for record in records:
            if not record.data.startswith(MAGIC):
                what = f"record {record.key!r} of checkpoint {checkpoint_id!r}"
                raise not_encrypted(what, checkpoint_id=checkpoint_id)
            place = Place(RECORD, namespace, workflow_id, checkpoint_id, name=record.key)
            content = bytearray()
            opened(record.data, place, self._keyring.data_key, allowed.counting(content.extend))
            found.append(replace(record, data=bytes(content)))
        return found


class _Sealed(Outgoing):
    """A payload that is sealed as it is sent. Each pass over it gives the same bytes.

    Attributes:
        labels: the checkpoint's labels.

    """

    def __init__(self, data: Data, labels: Mapping[str, str]) -> None:
        super().__init__(data)
        self.labels = labels
        self.names = list(self._parts)
        self._overhead_bytes = 0
        self._read_bytes = 0

    def seal(self, sealer: Callable[[str], Sealer]) -> None:
        """Seal each part from now on, by the sealer for its name."""
        self._parts = {}
        for name, part in self._given.items():
            sealed = _SealedPart(part, sealer(name), self._count)
            self._overhead_bytes += sealed.overhead_bytes
            self._parts[name] = sealed

    @property
    def fits_unary(self) -> bool:
        return self.size_bytes + self._overhead_bytes <= UNARY_BYTES

    def messages(self, received: str, progress: Progress | None) -> Iterator[api.SaveStreamRequest]:
        self._read_bytes = 0
        if progress is None:
            return super().messages(received, None)
        # In bytes of the caller's: the size of the ciphertext is not known before its end.
        return super().messages(received, lambda _sent, _all: progress(self._read_bytes, self.size_bytes))

    def _count(self, size: int) -> None:
        self._read_bytes += size


class _SealedPart:
    """A part of a payload, sealed.

    Attributes:
        overhead_bytes: the most bytes by which it is larger than the part, if the part is small.

    """

    def __init__(self, part: Source, sealer: Sealer, count: Callable[[int], None]) -> None:
        self._part = part
        self._sealer = sealer
        self._count = count
        self._size_bytes: int | None = None
        self.overhead_bytes = sealer.overhead_bytes(part.size_bytes)

    @property
    def size_bytes(self) -> int:
        """The size of the sealed part, which is known after the first pass. Before that, this makes a pass."""
        if self._size_bytes is None:
            self._size_bytes = sum(map(len, self.pieces()))
        return self._size_bytes

    def pieces(self) -> Iterator[bytes]:
        """Iterate over its bytes in pieces of at most a chunk."""
        size = 0
        for piece in self._sealer.pieces(self._counted()):
            size += len(piece)
            yield piece
        self._size_bytes = size

    def _counted(self) -> Iterator[bytes]:
        for piece in self._part.pieces():
            self._count(len(piece))
            yield piece


class _OpeningSinks:
    """Sinks that open sealed parts as they arrive."""

    def __init__(self, sinks: Sinks, keyring: Keyring, max_bytes: int | None) -> None:
        self._sinks = sinks
        self._keyring = keyring
        self._max_bytes = max_bytes
        self._openers: list[_OpeningSink] = []

    def of(self, checkpoint: checkpoint_pb2.Checkpoint) -> Mapping[str, Sink]:
        """Return a sink for each part that is wanted, by name."""
        digest = cover.digest(_cover_of(checkpoint))
        allowed = _Allowance(self._max_bytes)
        opening = {
            name: _OpeningSink(sink, _place(checkpoint, PART, name, digest), self._keyring, allowed)
            for name, sink in self._sinks.of(checkpoint).items()
        }
        self._openers = list(opening.values())
        return opening

    def finish(self) -> None:
        """Check that each part ended with its final frame."""
        for opener in self._openers:
            opener.finish()


class _OpeningSink(Opener):
    """A sink that opens one part into another sink."""

    def __init__(self, sink: Sink, place: Place, keyring: Keyring, allowed: "_Allowance") -> None:
        self._sink = sink
        super().__init__(place, keyring.data_key, allowed.counting(sink.write))

    def restart(self) -> None:
        """Drop what was handed on. Another stream has other sinks: see `Sinks.of`."""
        self._sink.restart()


class _Allowance:
    """The bytes that a payload may have once it is open.

    Args:
        max_bytes: as many; None for what this machine's memory could hold.

    """

    def __init__(self, max_bytes: int | None) -> None:
        self._limit = memory_bytes() if max_bytes is None else max_bytes
        self._used = 0

    def counting(self, take: Callable[[bytes], object]) -> Callable[[bytes], None]:
        """Return a function that counts bytes before it hands them on. It raises PayloadTooLargeError."""

        def counted(data: bytes) -> None:
            self._used += len(data)
            if self._used > self._limit:
                raise of_reason(
                    "PAYLOAD_TOO_LARGE",
                    f"the decrypted data has more than the {self._limit} bytes that are allowed",
                    advice="Raise max_bytes, or load where there is more memory.",
                )
            take(data)

        return counted


def _place(
    of: checkpoint_pb2.Checkpoint | checkpoint_pb2.SaveHeader, kind: str, name: str = "", digest: bytes = b""
) -> Place:
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


def _cover_of(message: checkpoint_pb2.Checkpoint) -> bytes:
    """Return the sealed cover of a checkpoint.

    Raises:
        NotEncryptedError: it has none.
        CheckpointCorruptedError: its text was changed.

    """
    try:
        sealed = cover.sealed_in(message.labels)
    except ValueError as error:
        raise _place(message, COVER).damaged(str(error)) from None
    if not sealed:
        what = f"checkpoint {message.checkpoint_id!r}"
        raise not_encrypted(what, checkpoint_id=message.checkpoint_id, revision=str(message.revision))
    return sealed
