"""The bytes of sealed data: a header, then frames; and the associated data that binds each frame to its place.

`docs/reference/encryption-format.md` states the format for authors of other clients.
"""

from dataclasses import dataclass

from holdfast._core.errors import DECRYPTION, HoldfastError, of_reason
from holdfast._core.sealed import MAGIC

SUITE = 1
NO_COMPRESSION, ZSTD = 0, 1
SALT_BYTES = 32
COMMITMENT_BYTES = 32
MAX_KEY_ID_BYTES = 256
MAX_WRAPPED_BYTES = 4096
MAX_HEADER_BYTES = len(MAGIC) + 2 + 2 + MAX_KEY_ID_BYTES + 2 + MAX_WRAPPED_BYTES + SALT_BYTES + COMMITMENT_BYTES

# A frame is a word of 4 bytes and a ciphertext with its tag, together at most 1 MiB.
WORD_BYTES, TAG_BYTES = 4, 16
FRAME_BYTES = 1 << 20
PLAIN_BYTES = FRAME_BYTES - WORD_BYTES - TAG_BYTES
FINAL, COMPRESSED = 1 << 31, 1 << 30
_SIZE = COMPRESSED - 1

PART, COVER, RECORD = "part", "cover", "record"


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of sealed data.

    Attributes:
        compression: `NO_COMPRESSION`, or `ZSTD` if frames may be compressed.
        key_id: the key that the data key is wrapped by.
        wrapped: the wrapped data key.
        salt: the salt from which, with the data key, the key of this stream is derived.
        commitment: a digest of the data key and the salt. No other data key has it.

    """

    compression: int
    key_id: str
    wrapped: bytes
    salt: bytes
    commitment: bytes

    def encoded(self) -> bytes:
        """Return the header's bytes."""
        key_id = self.key_id.encode()
        return b"".join(
            [
                MAGIC,
                bytes([SUITE, self.compression]),
                len(key_id).to_bytes(2),
                key_id,
                len(self.wrapped).to_bytes(2),
                self.wrapped,
                self.salt,
                self.commitment,
            ]
        )


@dataclass(frozen=True, slots=True)
class Place:
    """The place that sealed data belongs to. It cannot be opened at any other.

    Attributes:
        kind: `PART`, `COVER` or `RECORD`.
        namespace: the namespace.
        workflow_id: the workflow.
        checkpoint_id: the checkpoint.
        parent_id: the checkpoint's parent; "" for none, and for a record.
        format_name: the name of the payload's format; "" for a record.
        format_version: the version of the payload's format; 0 for a record.
        name: the name of the part, or the key of the record; "" for a cover.
        cover: the SHA-256 of the checkpoint's sealed cover, for a part; else empty.

    """

    kind: str
    namespace: str
    workflow_id: str
    checkpoint_id: str
    parent_id: str = ""
    format_name: str = ""
    format_version: int = 0
    name: str = ""
    cover: bytes = b""

    def bound_to(self, header: Header) -> bytes:
        """Return the associated data that all frames share: each field with its length before it."""
        return length_prefixed(
            self.kind.encode(),
            bytes([SUITE]),
            bytes([header.compression]),
            header.key_id.encode(),
            self.namespace.encode(),
            self.workflow_id.encode(),
            self.checkpoint_id.encode(),
            self.parent_id.encode(),
            self.format_name.encode(),
            self.format_version.to_bytes(4),
            self.name.encode(),
            self.cover,
        )

    def damaged(self, problem: str) -> HoldfastError:
        """Return the error for data at this place that cannot be opened."""
        what = {PART: f"part {self.name!r}", COVER: "the cover", RECORD: f"record {self.name!r}"}[self.kind]
        return of_reason(
            "CHECKPOINT_CORRUPTED",
            f"{what} of checkpoint {self.checkpoint_id!r} cannot be decrypted: {problem}",
            metadata={"checkpoint_id": self.checkpoint_id, "cause": DECRYPTION},
            advice="It was changed or moved since it was saved. Load with fallback to get the last good checkpoint.",
        )


def length_prefixed(*fields: bytes) -> bytes:
    """Return fields, each after its length in 4 bytes."""
    return b"".join(part for field in fields for part in (len(field).to_bytes(4), field))


def parsed(data: bytes) -> tuple[Header, int] | None:
    """Return the header that bytes begin with, and its size; None if more bytes are needed.

    Raises:
        ValueError: they do not begin with a header of this version.

    """
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise ValueError("it does not begin with a header of this format")
    fixed = len(MAGIC) + 2
    if len(data) < fixed + 2:
        return None
    suite, compression = data[len(MAGIC)], data[len(MAGIC) + 1]
    if suite != SUITE or compression not in (NO_COMPRESSION, ZSTD):
        raise ValueError(f"suite {suite} with compression {compression} is not known to this version of the client")
    end_of_id = fixed + 2 + int.from_bytes(data[fixed : fixed + 2])
    if len(data) < end_of_id + 2:
        return None
    end_of_wrapped = end_of_id + 2 + int.from_bytes(data[end_of_id : end_of_id + 2])
    end = end_of_wrapped + SALT_BYTES + COMMITMENT_BYTES
    if end > MAX_HEADER_BYTES:
        raise ValueError("its header is too large")
    if len(data) < end:
        return None
    return (
        Header(
            compression,
            bytes(data[fixed + 2 : end_of_id]).decode(),
            bytes(data[end_of_id + 2 : end_of_wrapped]),
            bytes(data[end_of_wrapped : end - COMMITMENT_BYTES]),
            bytes(data[end - COMMITMENT_BYTES : end]),
        ),
        end,
    )


def size_of(word: int) -> int:
    """Return the size of the ciphertext, with its tag, that follows the word of a frame.

    Raises:
        ValueError: no frame has that size.

    """
    size = word & _SIZE
    if not TAG_BYTES <= size <= FRAME_BYTES - WORD_BYTES:
        raise ValueError(f"a frame has an impossible size, {size} bytes")
    return size
