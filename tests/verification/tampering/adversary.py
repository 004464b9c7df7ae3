"""A program that can write to the bucket and knows its whole history, all formats and foreign keys, but no key of it.

It forges objects, takes away their MACs, gives them the MACs of others, and moves them: between revisions, workflows,
namespaces and stores. It removes no object: rollback is another attack.
"""

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from crc32c import crc32c
from holdfast_server.layout.v1.marker_pb2 import Claim, IdIndex, RecordBatch, StoredRecord
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.keys import WorkflowKeys, has_mac, index_range, namespace_prefix
from holdfast_server.protocol.format.macs import OVERHEAD_BYTES, Macs

from tests.support.mac_keys import OTHER_KEY, STORE_ID, namespace_key, with_mac
from tests.verification.tampering.world import WORKFLOWS, World

_FORGED = "forged"


class Attack(NamedTuple):
    """An object that the adversary puts into the bucket."""

    path: str
    data: bytes
    how: str


def attacks(world: World, foreign: World, chance: random.Random, count: int) -> Iterator[Attack]:
    """Yield attacks that change something that is in force, each on another object."""
    attacked: set[str] = set()
    while len(attacked) < count:
        found = _attack(world, foreign, chance)
        if found is None or found.path in attacked or found.data in world.versions.get(found.path, ()):
            continue
        attacked.add(found.path)
        yield found


def _attack(world: World, foreign: World, chance: random.Random) -> Attack | None:
    path = chance.choice(_targets(world))
    kind = _kind(path)
    if kind == "blob":
        source = chance.choice([key for key in world.objects if _kind(key) == "blob"])
        return Attack(path, world.objects[source][0], "another blob")
    sources = [key for key in world.objects if _kind(key) == kind]
    source = chance.choice(sources)
    own = world.objects.get(path, (b"", 0))[0] or world.objects[source][0]
    frame, what = chance.choice(
        [
            (own[OVERHEAD_BYTES:], "its own frame"),
            (world.objects[source][0][OVERHEAD_BYTES:], f"the frame of {source}"),
            (_forged(kind, path, world.objects[source][0][OVERHEAD_BYTES:], source), f"a frame forged from {source}"),
        ]
    )
    stolen = world.objects[source][0]
    foreign_namespace = next(each for each in WORKFLOWS if not path.startswith(namespace_prefix(each.namespace)))
    data, how = chance.choice(
        [
            (frame, "no MAC"),
            (own[:OVERHEAD_BYTES] + frame, "the MAC of the object before"),
            (stolen[:OVERHEAD_BYTES] + frame, f"the MAC of {source}"),
            (Macs([OTHER_KEY], STORE_ID).keyed(path, frame), "a MAC of an unknown key"),
            (with_mac(path, frame, namespace_key(foreign_namespace.namespace)), "the key of another namespace"),
            (foreign.objects.get(path, (stolen, 0))[0], "an object of another store"),
            (stolen, f"the object {source}"),
        ]
    )
    return Attack(path, data, f"{what}, {how}")


def _targets(world: World) -> list[str]:
    """Return the key paths that are worth an attack: those that a load may need, and the next revisions."""
    found = []
    for keys in WORKFLOWS:
        markers = [keys.marker(revision) for revision in world.live[keys]]
        newest = max(keys.revision(key) or 0 for key in world.objects if key.startswith(keys.log))
        found += [*markers, keys.marker(newest), keys.marker(newest + 1)]
        found += [key for key in world.objects if key.startswith((keys.claims, keys.records))]
        found += [key for key in world.objects if key.startswith(keys.blobs)]
    return found


def _kind(path: str) -> str:
    return path.split("/")[4] if path.startswith("ns/") else ""


def _forged(kind: str, path: str, frame: bytes, source: str) -> bytes:
    """Return a frame with a valid checksum for a key path, with the content that the adversary likes."""
    keys = next(each for each in WORKFLOWS if path.startswith(each.prefix))
    if kind == "log":
        marker = marker_codec.decode(frame, source)
        marker.namespace, marker.workflow_id = keys.namespace, keys.workflow_id
        marker.revision = keys.revision(path) or 1
        marker.labels["value"] = _FORGED
        for part in marker.parts:
            part.inline = _FORGED.encode()
            part.size_bytes, part.sha256 = len(part.inline), sha256(part.inline).digest()
            part.crc32c = crc32c(part.inline)
        return marker_codec.encode(marker, path)
    if kind == "id":
        claim = Claim(checkpoint_id=path.rsplit("/", maxsplit=1)[-1], base_revision=10**6)
        return marker_codec.encode_claim(claim, path)
    if kind == "idx":
        first, last = index_range(path.removeprefix(keys.prefix)) or (1, 1)
        return marker_codec.encode_index(IdIndex(first_revision=first, digests=bytes(4 * (last - first + 1))), path)
    record = StoredRecord(key=_FORGED, data=b"x")
    return marker_codec.encode_batch(RecordBatch(records=[record]), path, 2)


def must_be_reported(attack: Attack) -> bool:
    """Return whether fsck must name the object itself. It reports a damaged blob by its checkpoint's marker."""
    return has_mac(attack.path)


def keys_of(path: str) -> WorkflowKeys:
    """Return the workflow of a key path."""
    return next(each for each in WORKFLOWS if path.startswith(each.prefix))
