"""Damage: a marker, a blob, a claim or an index of ids rots or is cut off, or a blob or an index is lost.

The newest marker rots only if it is a checkpoint's that has replaced none, and if there is an older one: a lost fence
or deletion cannot be reconstructed, and a log without a readable marker is lost. For the same reason at most one
marker rots in a run.

In a store with MACs an adversary without the key may do the damage: it puts a frame with a valid checksum there, with
content that nobody has saved.
"""

import random
from hashlib import sha256

from crc32c import crc32c
from holdfast_server.layout.v1.marker_pb2 import Claim, IdIndex, MarkerKind, PartEncoding, StoredPart
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import index_range
from holdfast_server.protocol.format.macs import Macs
from holdfast_server.stores.memory import Objects

from tests.support.mac_keys import HEAD_BYTES, OTHER_KEY, STORE_ID, frame_in
from tests.verification.simulation.server import KEYS

MARKER, BLOB, CLAIM, INDEX = "marker", "blob", "claim", "index"
Damage = tuple[str, int]
_FORGED = b"forged"
# The position of a marker's version. With another version, a marker is reported as a newer server's.
_VERSION = range(4, 6)


def rot(
    objects: Objects, chance: random.Random, done: frozenset[Damage], *, forges: bool = False
) -> tuple[Damage, str] | None:
    """Damage an object. Return its kind and revision, and its key; None if there is nothing to damage.

    Args:
        objects: the objects of the store.
        chance: random numbers.
        done: the damage that was done before.
        forges: whether the store has MACs, so that an object may be replaced by a valid frame without the right one.

    """
    found = _damageable(objects, done)
    if not found:
        return None
    what = chance.choice(sorted({what for what, _, _ in found}))
    _, revision, key = chance.choice([each for each in found if each[0] == what])
    data, modified = objects.by_key[key]
    hows = ("rots", "is cut off", "is gone" if what in (BLOB, INDEX) else "rots")
    how = chance.choice((*hows, "is forged", "is forged", "is forged") if forges and what != BLOB else hows)
    if how == "is forged":
        objects.by_key[key] = (_with_some_mac(_forged(what, key, data), key, data, chance), modified)
    elif how == "is gone":
        objects.delete(key)
    elif how == "is cut off":
        objects.by_key[key] = (data[: chance.randrange(len(data))], modified)
    else:
        flipped = bytearray(data)
        flipped[chance.choice([each for each in range(len(data)) if what == BLOB or each not in _VERSION])] ^= 1
        objects.by_key[key] = (bytes(flipped), modified)
    return (what, revision), key


def _damageable(objects: Objects, done: frozenset[Damage]) -> list[tuple[str, int, str]]:
    found = [(CLAIM, 0, key) for key in objects.by_key if key.startswith(KEYS.claims)]
    found += [(INDEX, 0, key) for key in objects.by_key if key.startswith(KEYS.indexes)]
    keys = [each.key for each in objects.list(KEYS.log)]
    for index, key in enumerate(keys):
        revision = KEYS.revision(key)
        if (MARKER, revision) in done:
            continue
        marker = marker_codec.decode(frame_in(objects.by_key[key][0]), key)
        is_checkpoint = marker.kind == MarkerKind.MARKER_KIND_DATA and not marker.replaced_revision
        if (index or (is_checkpoint and keys[1:])) and not any(what == MARKER for what, _ in done):
            found.append((MARKER, revision, key))
        blobs = [KEYS.blob(part.blob) for part in marker.parts if part.blob]
        found += [(BLOB, revision, key) for key in blobs if key in objects.by_key and (BLOB, revision) not in done]
    return found


def _forged(what: str, key: str, data: bytes) -> bytes:
    """Return a frame with a valid checksum that hides or changes what an object says."""
    if what == CLAIM:
        return marker_codec.encode_claim(Claim(checkpoint_id="", base_revision=10**6), key)
    if what == INDEX:
        first, last = index_range(key.removeprefix(KEYS.prefix)) or (1, 1)
        return marker_codec.encode_index(IdIndex(first_revision=first, digests=bytes(4 * (last - first + 1))), key)
    marker = marker_codec.decode(frame_in(data), key)
    if marker.kind == MarkerKind.MARKER_KIND_DATA:
        marker.labels["value"] = _FORGED.decode()
        forged = StoredPart(
            inline=_FORGED,
            size_bytes=len(_FORGED),
            stored_bytes=len(_FORGED),
            encoding=PartEncoding.PART_ENCODING_IDENTITY,
            sha256=sha256(_FORGED).digest(),
            crc32c=crc32c(_FORGED),
        )
        del marker.parts[:]
        marker.parts.append(forged)
    marker.request_id = "forged"
    return marker_codec.encode(marker, key)


def _with_some_mac(frame: bytes, key: str, data: bytes, chance: random.Random) -> bytes:
    """Return an object with a forged frame, as somebody without the key can make it."""
    return chance.choice(
        (
            frame,
            data[:HEAD_BYTES] + frame,
            Macs([OTHER_KEY], STORE_ID).keyed(key, frame),
        )
    )
