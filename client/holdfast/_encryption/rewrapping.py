"""The data keys of one checkpoint and of its records, to be wrapped again by the key that encrypts now."""

import hmac
from collections.abc import Sequence

from holdfast._core.checkpoint import Record
from holdfast._core.errors import HoldfastError, KeyServiceUnavailableError
from holdfast._core.sealed import MAGIC
from holdfast._encryption.frames import commitment_of
from holdfast._encryption.keyring import Keyring
from holdfast._encryption.layout import RECORD, Header, Place, parsed
from holdfast._encryption.rewrapped import WrappedKeys, is_reserved, keys_in, name_of


class DataKeys:
    """The data keys of one checkpoint, as they are collected.

    Args:
        keyring: its current key wraps them; each of its keys may unwrap them.
        cover: where the checkpoint's cover belongs.
        sealed: the sealed cover; empty for a checkpoint that is not encrypted.

    Attributes:
        problem: why a data key cannot be wrapped again, if one cannot.

    """

    def __init__(self, keyring: Keyring, cover: Place, sealed: bytes) -> None:
        self._keyring = keyring
        self._cover = cover
        # The first header of each data key, by the name of the data key.
        self._headers: dict[bytes, tuple[Place, Header]] = {}
        self._done: set[bytes] = set()
        self.problem: HoldfastError | None = None
        if sealed:
            self._add(cover, sealed)

    def add(self, records: Sequence[Record]) -> None:
        """Add the data keys of stored records. Records that are not encrypted have none."""
        for record in records:
            place = Place(
                RECORD, self._cover.namespace, self._cover.workflow_id, self._cover.checkpoint_id, name=record.key
            )
            if is_reserved(record.key):
                try:
                    found = keys_in([record])
                except ValueError as error:
                    self.problem = self.problem or place.damaged(str(error))
                    continue
                self._keyring.learn(found)
                for keys in found:
                    if keys.key_id == self._keyring.current_id:
                        self._done.update(keys.wrapped)
            elif record.data.startswith(MAGIC):
                self._add(place, record.data)

    def rewrapped(self) -> tuple[Sequence[Record], int]:
        """Return records to attach to the checkpoint, and the number of data keys in them: those not yet wrapped again.

        Raises:
            KeyServiceUnavailableError: the key service cannot be reached.

        """
        wrapped = {}
        for name, (place, header) in self._headers.items():
            if header.key_id == self._keyring.current_id or name in self._done:
                continue
            try:
                key = self._keyring.data_key(header.key_id, header.wrapped)
                if not hmac.compare_digest(commitment_of(key, header.salt), header.commitment):
                    raise place.damaged("its data key is another one")
                wrapped[name] = self._keyring.wrapped(key)
            except KeyServiceUnavailableError:
                raise
            except HoldfastError as error:
                self.problem = self.problem or error
            except ValueError as error:
                self.problem = self.problem or place.damaged(str(error))
        return list(WrappedKeys(self._keyring.current_id, wrapped).records()), len(wrapped)

    def _add(self, place: Place, sealed: bytes) -> None:
        try:
            found = parsed(sealed)
            if found is None:
                raise ValueError("its header is cut")
        except ValueError as error:
            self.problem = self.problem or place.damaged(str(error))
            return
        header, _ = found
        self._headers.setdefault(name_of(header.key_id, header.wrapped), (place, header))
