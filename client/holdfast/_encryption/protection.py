"""Sealing: the protection of a client that has a keyring."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from holdfast._core import arguments
from holdfast._core.checkpoint import Checkpoint, Record
from holdfast._core.errors import EncryptionKeyMissingError, also_wrapped, not_encrypted
from holdfast._core.head import Head
from holdfast._core.messages import to_checkpoint
from holdfast._core.payload import Data, Outgoing
from holdfast._core.received import Sinks
from holdfast._core.sealed import KEYS_PREFIX, MAGIC
from holdfast._encryption import cover
from holdfast._encryption.frames import DataKey, Sealer, opened
from holdfast._encryption.keyring import Keyring
from holdfast._encryption.layout import COVER, PART, RECORD, Place
from holdfast._encryption.outgoing import SealedPayload
from holdfast._encryption.places import any_cover_of, cover_of, place_of
from holdfast._encryption.rewrapped import is_reserved, keys_in
from holdfast._encryption.rewrapping import DataKeys
from holdfast._encryption.sinks import Allowance, SealedSinks
from holdfast.v1 import checkpoint_pb2

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
        outgoing = SealedPayload(data, labels)
        # Not compressed, so that whether labels fit depends on their size alone.
        sealer = Sealer(data_key, place_of(header, COVER), is_compressed=False)
        sealed = sealer.sealed(cover.content(labels, outgoing.names))
        outgoing.seal(partial(self._sealer, data_key, header, cover.digest(sealed)))
        header.labels.clear()
        header.labels.update(cover.pieces(sealed))
        if self._keyring.label_key is not None:
            header.labels.update(cover.digests(self._keyring.label_key, header.namespace, labels))
        return outgoing

    def _sealer(self, data_key: DataKey, header: checkpoint_pb2.SaveHeader, digest: bytes, part: str) -> Sealer:
        return Sealer(data_key, place_of(header, PART, part, digest), is_compressed=self._keyring.compresses)

    def saved(
        self, message: checkpoint_pb2.Checkpoint, outgoing: Outgoing, *, replayed: bool, head: Head | None
    ) -> Checkpoint:
        assert isinstance(outgoing, SealedPayload)
        return replace(to_checkpoint(message, replayed=replayed, head=head), labels=outgoing.labels)

    def labels_of(self, outgoing: Outgoing) -> Mapping[str, str]:
        assert isinstance(outgoing, SealedPayload)
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
        place = place_of(message, COVER)
        content = bytearray()
        opened(cover_of(message), place, self._keyring.data_key, content.extend)
        try:
            labels = cover.labels_in(bytes(content), (part.name for part in message.parts))
        except (ValueError, KeyError, TypeError) as error:
            raise place.damaged(str(error)) from None
        return replace(to_checkpoint(message), labels=labels)

    def parts(
        self, message: checkpoint_pb2.Checkpoint, received: dict[str, bytes], max_bytes: int | None
    ) -> dict[str, bytes]:
        digest = cover.digest(cover_of(message))
        allowed = Allowance(max_bytes)
        found = {}
        for name, data in received.items():
            content: list[bytes] = []
            opened(
                data, place_of(message, PART, name, digest), self._keyring.data_key, allowed.counting(content.append)
            )
            found[name] = content[0] if len(content) == 1 else b"".join(content)
        return found

    def sinks(self, sinks: Sinks, max_bytes: int | None) -> SealedSinks:
        return SealedSinks(sinks, self._keyring, max_bytes)

    def data_keys(self, message: checkpoint_pb2.Checkpoint) -> DataKeys:
        return DataKeys(self._keyring, place_of(message, COVER), any_cover_of(message))

    def seal_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record]
    ) -> Sequence[Record]:
        if not records:
            return records
        data_key = self._keyring.new_data_key()
        sealed = []
        for index, record in enumerate(records):
            key = arguments.text("records[%s].key", record.key, index)
            if is_reserved(key):
                raise arguments.invalid(
                    f"records[{index}].key", f"must not begin with {KEYS_PREFIX!r}, not {key[:200]!r}"
                )
            sealer = Sealer(
                data_key,
                Place(RECORD, namespace, workflow_id, checkpoint_id, name=key),
                is_compressed=self._keyring.compresses,
            )
            data = arguments.octets("records[%s].data", record.data, index)
            sealed.append(replace(record, data=sealer.sealed(data)))
        return sealed

    def learn(self, message: checkpoint_pb2.Checkpoint, records: Sequence[Record]) -> Sequence[str]:
        return self._learn(message.namespace, message.workflow_id, message.checkpoint_id, records)

    def _learn(self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record]) -> Sequence[str]:
        try:
            found = keys_in(records)
        except ValueError as error:
            place = Place(RECORD, namespace, workflow_id, checkpoint_id, name=KEYS_PREFIX)
            raise place.damaged(str(error)) from None
        self._keyring.learn(found)
        return sorted({keys.key_id for keys in found})

    def open_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record], max_bytes: int | None
    ) -> Sequence[Record]:
        names = (namespace, workflow_id, checkpoint_id)
        try:
            return self._opened_records(*names, records, max_bytes)
        except EncryptionKeyMissingError as error:
            found = self._learn(*names, records)
            if not found:
                raise
            missing = error
        try:
            return self._opened_records(*names, records, max_bytes)
        except EncryptionKeyMissingError:
            raise also_wrapped(missing, found) from None

    def _opened_records(
        self, namespace: str, workflow_id: str, checkpoint_id: str, records: Sequence[Record], max_bytes: int | None
    ) -> Sequence[Record]:
        allowed = Allowance(max_bytes)
        found = []
        for record in records:
            if is_reserved(record.key):
                continue
            if not record.data.startswith(MAGIC):
                what = f"record {record.key!r} of checkpoint {checkpoint_id!r}"
                raise not_encrypted(what, checkpoint_id=checkpoint_id)
            place = Place(RECORD, namespace, workflow_id, checkpoint_id, name=record.key)
            content = bytearray()
            opened(record.data, place, self._keyring.data_key, allowed.counting(content.extend))
            found.append(replace(record, data=bytes(content)))
        return found
