"""Sealing and opening of a stream of bytes, in frames of AES-256-GCM. Memory for one frame is needed at a time."""

import hmac
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast._core import arguments
from holdfast._core.errors import HoldfastError
from holdfast._encryption import compression
from holdfast._encryption.layout import (
    COMPRESSED,
    FINAL,
    MAX_HEADER_BYTES,
    NO_COMPRESSION,
    PLAIN_BYTES,
    SALT_BYTES,
    TAG_BYTES,
    WORD_BYTES,
    ZSTD,
    Header,
    Place,
    parsed,
    size_of,
)

_KEY_BYTES = 32
_INFO = b"holdfast seal 1"


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key that encrypts one checkpoint, or the records of one call.

    Attributes:
        key_id: the key that wraps it.
        wrapped: itself, wrapped.
        key: its 32 bytes.

    """

    key_id: str
    wrapped: bytes
    key: bytes


class Sealer:
    """Seals one stream. Each pass over the same bytes gives the same ciphertext.

    Args:
        data_key: the data key. Several streams may share it: each has a salt of its own.
        place: where the stream belongs.
        is_compressed: whether to compress frames.
        salt: 32 random bytes; None to draw them. Set only by tests, for vectors.
        frame_bytes: the plaintext of each frame but the last. Set only by tests, for small vectors of several frames.

    """

    def __init__(
        self,
        data_key: DataKey,
        place: Place,
        *,
        is_compressed: bool,
        salt: bytes | None = None,
        frame_bytes: int = PLAIN_BYTES,
    ) -> None:
        salt = os.urandom(SALT_BYTES) if salt is None else salt
        key, commitment = _derived(data_key.key, salt)
        header = Header(ZSTD if is_compressed else NO_COMPRESSION, data_key.key_id, data_key.wrapped, salt, commitment)
        self.header = header.encoded()
        self._is_compressed = is_compressed
        self._place = place
        self._bound = place.bound_to(header)
        self._cipher = AESGCM(key)
        self._tags: list[bytes] = []
        self._frame_bytes = frame_bytes

    def pieces(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        """Iterate over the sealed stream: its header, then its frames, each at most 1 MiB.

        Args:
            plain: the bytes to seal, in pieces of any size.

        Raises:
            InvalidRequestError: the bytes differ from those of an earlier pass. A frame of them would have been
                encrypted with a nonce that is used, so it is not given away.

        """
        yield self.header
        waiting = bytearray()
        index = 0
        for piece in plain:
            waiting += piece
            while len(waiting) > self._frame_bytes:
                data = bytes(waiting[: self._frame_bytes])
                del waiting[: self._frame_bytes]
                yield self._frame(index, data, 0)
                index += 1
        yield self._frame(index, bytes(waiting), FINAL)

    def overhead_bytes(self, size_bytes: int) -> int:
        """Return the most bytes by which the sealed stream of so many bytes is larger than they are."""
        frames = size_bytes // PLAIN_BYTES + 1
        return len(self.header) + frames * (WORD_BYTES + TAG_BYTES)

    def sealed(self, plain: bytes) -> bytes:
        """Return the whole sealed stream of some bytes. Raise as `pieces` does."""
        return b"".join(self.pieces([plain]))

    def _frame(self, index: int, data: bytes, flags: int) -> bytes:
        smaller = compression.compressed(data) if self._is_compressed else None
        if smaller is not None:
            data, flags = smaller, flags | COMPRESSED
        word = (flags | (len(data) + TAG_BYTES)).to_bytes(WORD_BYTES)
        ciphertext = self._cipher.encrypt(_nonce(index), data, _associated(self._bound, index, word))
        tag = ciphertext[-TAG_BYTES:]
        if index == len(self._tags):
            self._tags.append(tag)
        elif self._tags[index] != tag:
            raise arguments.invalid("data", "must not change while it is saved, also not between attempts")
        return word + ciphertext


class Opener:
    """Opens one sealed stream, as its bytes arrive. A sink for a part that is received.

    Args:
        place: where the stream is.
        keys: returns the data key for a key id and a wrapped data key.
        take: takes the plaintext of each frame once it is authenticated.

    """

    def __init__(self, place: Place, keys: Callable[[str, bytes], bytes], take: Callable[[bytes], object]) -> None:
        self._place = place
        self._keys = keys
        self._take = take
        self._waiting = bytearray()
        self._cipher: AESGCM | None = None
        self._bound = b""
        self._is_compressed = False
        self._index = 0
        self._is_ended = False

    def write(self, data: bytes) -> None:
        """Open the frames that are whole now.

        Raises:
            CheckpointCorruptedError: a frame is not authentic, or not the next one of this place.
            EncryptionKeyMissingError: the keyring lacks the key.
            KeyServiceUnavailableError: the key service cannot be reached.

        """
        try:
            self._open(data)
        except (InvalidTag, ValueError) as error:
            if isinstance(error, HoldfastError):
                raise
            problem = "it is not authentic, or belongs elsewhere" if isinstance(error, InvalidTag) else str(error)
            raise self._place.damaged(problem) from None

    def finish(self) -> None:
        """Check that the stream ended with its final frame.

        Raises:
            CheckpointCorruptedError: something is missing.

        """
        if not self._is_ended or self._waiting:
            raise self._place.damaged("its end is missing")

    def _open(self, data: bytes) -> None:
        waiting = self._waiting
        waiting += data
        if self._cipher is None and not self._begin():
            return
        assert self._cipher is not None
        start = 0
        while len(waiting) - start >= WORD_BYTES:
            word = bytes(waiting[start : start + WORD_BYTES])
            flags = int.from_bytes(word)
            end = start + WORD_BYTES + size_of(flags)
            if len(waiting) < end:
                break
            if self._is_ended:
                raise ValueError("something follows its final frame")
            with memoryview(waiting) as view, view[start + WORD_BYTES : end] as ciphertext:
                associated = _associated(self._bound, self._index, word)
                plain = self._cipher.decrypt(_nonce(self._index), ciphertext, associated)
            if flags & COMPRESSED:
                if not self._is_compressed:
                    raise ValueError("a frame is compressed, against its header")
                plain = compression.decompressed(plain)
            self._index += 1
            self._is_ended = bool(flags & FINAL)
            start = end
            self._take(plain)
        del waiting[:start]

    def _begin(self) -> bool:
        """Accept the header once it is whole."""
        found = parsed(bytes(self._waiting[:MAX_HEADER_BYTES]))
        if found is None:
            return False
        header, size = found
        key, commitment = _derived(self._keys(header.key_id, header.wrapped), header.salt)
        if not hmac.compare_digest(commitment, header.commitment):
            raise ValueError("its data key is another one")
        del self._waiting[:size]
        self._cipher = AESGCM(key)
        self._bound = self._place.bound_to(header)
        self._is_compressed = header.compression == ZSTD
        return True


def opened(data: bytes, place: Place, keys: Callable[[str, bytes], bytes], take: Callable[[bytes], object]) -> None:
    """Open a whole sealed stream. The arguments and errors are those of `Opener`."""
    opener = Opener(place, keys, take)
    opener.write(data)
    opener.finish()


def commitment_of(data_key: bytes, salt: bytes) -> bytes:
    """Return what the header of a stream with this salt must have as its commitment."""
    return _derived(data_key, salt)[1]


def _derived(data_key: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Return the key of a stream, and the commitment to it."""
    both = HKDF(algorithm=SHA256(), length=2 * _KEY_BYTES, salt=salt, info=_INFO).derive(data_key)
    return both[:_KEY_BYTES], both[_KEY_BYTES:]


def _nonce(index: int) -> bytes:
    return index.to_bytes(12)


def _associated(bound: bytes, index: int, word: bytes) -> bytes:
    return b"".join([bound, index.to_bytes(8), word])
