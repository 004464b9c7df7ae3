"""The choice of how a part is stored: as it is, as one frame, or as a delta against a base.

Ski rental on up to `MAX_BASES` levels. The chain of a part is the list of versions that the next one may rest on. While
the chain is short, each new version joins it as a base, which costs nothing extra. A version after that rests on the
last base. What its delta costs beyond the first one on that base is added to the base's debt. Once the debt of a level
comes near the price of storing the level again, the version takes the level's place, and its cost counts towards the
debt of the level below. Since the version is stored in any case, the price is only what the new base costs more than
the delta.

A choice depends only on the bytes and on what the newest checkpoint's marker states about the part of the same name, so
that servers keep no state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from holdfast_server.layout.v1.marker_pb2 import PartBase, PartEncoding, StoredPart
from holdfast_server.protocol.format.invariants import BASE_DIGEST_BYTES, MAX_BASES, MAX_ENCODED_BYTES

CHECKPOINTS_PER_BASE = 64
# A frame costs some bytes in the marker and time in every load.
MIN_ENCODED_BYTES = 1 << 10
# A frame that is not smaller by this part of the bytes is not worth its time in loads.
_LEAST_GAIN = 1 / 16
# Parts that do not compress are encoded on trial after 1, 2, 4, … saves, and at the latest after so many.
_LONGEST_PAUSE_SAVES = 64

# A level is renewed at this part of the price. Measured on chats and agents, earlier and later ones cost more.
_DUE = 0.8
# Renewed bases below this depth are few and large, and worth the time of a higher level of compression.
_THOROUGH_DEPTHS = 2


class Encode(Protocol):
    """Encodes a part."""

    async def __call__(self, depth: int, *, thoroughly: bool = False) -> bytes | None:
        """Return the frame of the part; None if the last of its bases cannot be read.

        Args:
            depth: how many bases of the chain it rests on.
            thoroughly: whether fewer bytes are worth several times the time.

        """


@dataclass(frozen=True, slots=True)
class DeltaRules:
    """The rules of a server for what it stores.

    Attributes:
        is_on: whether parts are encoded.
        checkpoints_per_base: how many checkpoints may rest on one base.
        without: the namespaces in which no part is encoded.

    """

    is_on: bool = True
    checkpoints_per_base: int = CHECKPOINTS_PER_BASE
    without: frozenset[str] = frozenset()

    def apply_to(self, namespace: str) -> bool:
        """Return whether the parts of a namespace are encoded."""
        return self.is_on and namespace not in self.without


@dataclass(frozen=True, slots=True)
class Choice:
    """How a part is stored.

    Attributes:
        encoding: the encoding.
        frame: the frame; None for a part that is stored as it is.
        bases: the bases that it rests on, with their state after it.
        plain_saves: how many checkpoints in a row have stored it as it is because it does not compress.

    """

    encoding: PartEncoding.ValueType = PartEncoding.PART_ENCODING_IDENTITY
    frame: bytes | None = None
    bases: Sequence[PartBase] = ()
    plain_saves: int = 0


def is_encodable(size_bytes: int) -> bool:
    """Return whether parts of a size are encoded."""
    return MIN_ENCODED_BYTES <= size_bytes <= MAX_ENCODED_BYTES


def chain_of(part: StoredPart, revision: int) -> list[PartBase]:
    """Return the versions that the next version of a part may rest on, the oldest first.

    Args:
        part: the part as it is stored.
        revision: the revision of its checkpoint.

    """
    bases = list(part.bases)
    if len(bases) < MAX_BASES and is_encodable(part.size_bytes):
        bases.append(
            PartBase(
                revision=revision,
                size_bytes=part.size_bytes,
                digest=part.sha256[:BASE_DIGEST_BYTES],
                stored_bytes=part.stored_bytes or part.size_bytes,
                encoding=part.encoding or PartEncoding.PART_ENCODING_IDENTITY,
                blob=part.blob,
            )
        )
    return bases


def base_digest(data: bytes) -> bytes:
    """Return the digest by which a version is recognised as a base."""
    return sha256(data).digest()[:BASE_DIGEST_BYTES]


async def choose(
    data_bytes: int, chain: Sequence[PartBase], plain_saves: int, encode: Encode, rules: DeltaRules
) -> Choice:
    """Choose how a part is stored.

    Args:
        data_bytes: the size of the part.
        chain: the versions that it may rest on, the oldest first.
        plain_saves: how many checkpoints in a row have stored the part as it is.
        encode: encodes the part.
        rules: the rules.

    """
    if not is_encodable(data_bytes):
        return Choice()
    if not is_tried(plain_saves):
        return Choice(plain_saves=plain_saves + 1)
    most_bytes = data_bytes - int(data_bytes * _LEAST_GAIN)
    states, frame = await _rent(data_bytes, chain, encode, rules)
    if len(frame) > most_bytes and states:
        states, frame = [], await _whole(encode)
    if len(frame) > most_bytes:
        return Choice(plain_saves=plain_saves + 1)
    if not states:
        return Choice(PartEncoding.PART_ENCODING_ZSTD, frame)
    for state in states:
        state.dependents += 1
    return Choice(PartEncoding.PART_ENCODING_ZSTD_DELTA, frame, states)


def is_tried(plain_saves: int) -> bool:
    """Return whether a part is encoded on trial after so many checkpoints in a row that stored it as it is."""
    return plain_saves % _LONGEST_PAUSE_SAVES == 0 or plain_saves.bit_count() == 1


async def _whole(encode: Encode) -> bytes:
    frame = await encode(0)
    assert frame is not None
    return frame


async def _rent(
    data_bytes: int, chain: Sequence[PartBase], encode: Encode, rules: DeltaRules
) -> tuple[list[PartBase], bytes]:
    """Return the bases that the part rests on and its frame, by ski rental."""
    usable = 0
    while usable < len(chain) and chain[usable].dependents < rules.checkpoints_per_base:
        usable += 1
    states = [_copy(base) for base in chain[:usable]]
    frame = await encode(usable, thoroughly=usable < len(chain) and usable < _THOROUGH_DEPTHS)
    while frame is None:
        states.pop()
        frame = await encode(len(states))
    if len(states) < MAX_BASES:
        return states, frame
    while states:
        level, depth = states[-1], len(states) - 1
        _charge(level, len(frame))
        if not _is_due(level, level.price_bytes or level.stored_bytes * data_bytes // level.size_bytes, len(frame)):
            break
        renewed = await encode(depth, thoroughly=depth < _THOROUGH_DEPTHS)
        if renewed is None or not _is_due(level, len(renewed), len(frame)):
            # What the renewal costs now is the price until the debt has reached it.
            level.price_bytes = 0 if renewed is None else len(renewed)
            break
        states.pop()
        frame = renewed
    return states, frame


def _charge(level: PartBase, cost_bytes: int) -> None:
    """Add to a level's debt what a version on it costs beyond the first one."""
    level.first_bytes = level.first_bytes or cost_bytes
    level.debt_bytes = max(0, level.debt_bytes + cost_bytes - level.first_bytes)


def _is_due(level: PartBase, price_bytes: int, instead_of_bytes: int) -> bool:
    """Return whether a level is renewed at a price, instead of storing the version on it."""
    return level.debt_bytes >= _DUE * (price_bytes - instead_of_bytes)


def _copy(base: PartBase) -> PartBase:
    copy = PartBase()
    copy.CopyFrom(base)
    return copy
