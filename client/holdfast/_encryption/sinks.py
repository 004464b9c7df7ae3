"""Sinks that open sealed parts as they arrive, and the limit on what comes out of them."""

from collections.abc import Callable, Mapping

from holdfast._core.answers import memory_bytes
from holdfast._core.errors import of_reason
from holdfast._core.received import Sink, Sinks
from holdfast._encryption import cover
from holdfast._encryption.frames import Opener
from holdfast._encryption.keyring import Keyring
from holdfast._encryption.layout import PART, Place
from holdfast._encryption.places import cover_of, place_of
from holdfast.v1 import checkpoint_pb2


class SealedSinks:
    """Sinks that open sealed parts as they arrive.

    They remember the data key of the first part for the others, which may come long after it.
    """

    def __init__(self, sinks: Sinks, keyring: Keyring, max_bytes: int | None) -> None:
        self._sinks = sinks
        self._keyring = keyring
        self._used: tuple[str, bytes, bytes] | None = None
        self._max_bytes = max_bytes
        self._openers: list[_OpeningSink] = []

    def of(self, checkpoint: checkpoint_pb2.Checkpoint) -> Mapping[str, Sink]:
        """Return a sink for each part that is wanted, by name."""
        digest = cover.digest(cover_of(checkpoint))
        allowed = Allowance(self._max_bytes)
        opening = {
            name: _OpeningSink(sink, place_of(checkpoint, PART, name, digest), self._data_key, allowed)
            for name, sink in self._sinks.of(checkpoint).items()
        }
        self._openers = list(opening.values())
        return opening

    def finish(self) -> None:
        """Check that each part ended with its final frame."""
        for opener in self._openers:
            opener.finish()

    def _data_key(self, key_id: str, wrapped: bytes) -> bytes:
        if self._used is None or self._used[:2] != (key_id, wrapped):
            self._used = (key_id, wrapped, self._keyring.data_key(key_id, wrapped))
        return self._used[2]


class _OpeningSink(Opener):
    """A sink that opens one part into another sink."""

    def __init__(self, sink: Sink, place: Place, keys: Callable[[str, bytes], bytes], allowed: "Allowance") -> None:
        self._sink = sink
        super().__init__(place, keys, allowed.counting(sink.write))

    def restart(self) -> None:
        """Drop what was handed on. Another stream has other sinks: see `Sinks.of`."""
        self._sink.restart()


class Allowance:
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
