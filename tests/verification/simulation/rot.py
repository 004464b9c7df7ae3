"""Damage: a marker, a blob or a claim that lies in the store rots, is cut off or, if it is a blob, is gone.

The newest marker rots only where it is a checkpoint's that has replaced none, and where there is an older one: what a
lost fence or deletion had said, nobody could know, and a log of which nothing can be read is lost. For the same reason
one marker rots in a run at most.
"""

import random

from holdfast_server.layout.v1.marker_pb2 import MarkerKind
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.stores.memory import Objects

from tests.verification.simulation.server import KEYS

MARKER, BLOB, CLAIM = "marker", "blob", "claim"
Damage = tuple[str, int]
# Where a marker tells its version: with another one it is told as that of a newer server.
_VERSION = range(4, 6)


def rot(objects: Objects, chance: random.Random, done: frozenset[Damage]) -> Damage | None:
    """Damages something, and tells what and of which revision; None where there is nothing to damage."""
    found = _damageable(objects, done)
    if not found:
        return None
    what = chance.choice(sorted({what for what, _, _ in found}))
    _, revision, key = chance.choice([each for each in found if each[0] == what])
    data, modified = objects.by_key[key]
    how = chance.choice(("rots", "is cut off", "is gone" if what == BLOB else "rots"))
    if how == "is gone":
        objects.delete(key)
    elif how == "is cut off":
        objects.by_key[key] = (data[: chance.randrange(len(data))], modified)
    else:
        flipped = bytearray(data)
        flipped[chance.choice([each for each in range(len(data)) if what == BLOB or each not in _VERSION])] ^= 1
        objects.by_key[key] = (bytes(flipped), modified)
    return what, revision


def _damageable(objects: Objects, done: frozenset[Damage]) -> list[tuple[str, int, str]]:
    found = [(CLAIM, 0, key) for key in objects.by_key if key.startswith(KEYS.claims)]
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
