"""Damage: a marker, a blob, a claim or an index of ids rots or is cut off, or a blob or an index is lost.

The newest marker rots only if it is a checkpoint's that has replaced none, and if there is an older one: a lost fence
or deletion cannot be reconstructed, and a log without a readable marker is lost. For the same reason at most one
marker rots in a run.
"""

import random

from holdfast_server.layout.v1.marker_pb2 import MarkerKind
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.stores.memory import Objects

from tests.verification.simulation.server import KEYS

MARKER, BLOB, CLAIM, INDEX = "marker", "blob", "claim", "index"
Damage = tuple[str, int]
# The position of a marker's version. With another version, a marker is reported as a newer server's.
_VERSION = range(4, 6)


def rot(objects: Objects, chance: random.Random, done: frozenset[Damage]) -> tuple[Damage, str] | None:
    """Damage an object. Return its kind and revision, and its key; None if there is nothing to damage."""
    found = _damageable(objects, done)
    if not found:
        return None
    what = chance.choice(sorted({what for what, _, _ in found}))
    _, revision, key = chance.choice([each for each in found if each[0] == what])
    data, modified = objects.by_key[key]
    how = chance.choice(("rots", "is cut off", "is gone" if what in (BLOB, INDEX) else "rots"))
    if how == "is gone":
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
        marker = marker_codec.decode(objects.by_key[key][0], key)
        is_checkpoint = marker.kind == MarkerKind.MARKER_KIND_DATA and not marker.replaced_revision
        if (index or (is_checkpoint and keys[1:])) and not any(what == MARKER for what, _ in done):
            found.append((MARKER, revision, key))
        blobs = [KEYS.blob(part.blob) for part in marker.parts if part.blob]
        found += [(BLOB, revision, key) for key in blobs if key in objects.by_key and (BLOB, revision) not in done]
    return found
