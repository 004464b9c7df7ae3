"""A workflow whose checkpoints rest on each other, and what a hostile hand may do to it."""

from dataclasses import dataclass, field
from hashlib import sha256

from holdfast_server.layout.v1.marker_pb2 import Marker, PartBase, StoredPart
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format import marker as marker_codec

from tests.support.bounded_store import BoundedStore
from tests.support.deltas import Deltas, noise, text
from tests.support.workflows import KEYS
from tests.verification.fuzz.hostile_frames import hostile
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader

REVISIONS = (1, 2, 3, 4, 5, 6)
NAMES = ("compresses", "random")
# The content of the parts. It is written once, like the objects.
CONTENTS: dict[tuple[int, str], bytes] = {}
_BEFORE: dict[str, bytes] = {}
# What is stored whole becomes a blob, deltas are in the markers.
_INLINE = 600


@dataclass
class Scene:
    """The store of one input.

    Attributes:
        store: the store.
        whole: the content of the parts of each checkpoint that is whole, by revision.

    """

    store: BoundedStore
    whole: dict[int, list[bytes]] = field(default_factory=dict)

    def deltas(self) -> Deltas:
        """Return the workflow as a process sees it that has nothing in memory."""
        return Deltas(self.store, inline=_INLINE)

    def marker(self, revision: int) -> Marker | HoldfastError | None:
        found = self.store.objects.by_key.get(KEYS.marker(revision))
        if found is None:
            return None
        try:
            return marker_codec.decode(found[0], KEYS.marker(revision))
        except HoldfastError as error:
            return error

    def stored(self, key: str) -> bytes | None:
        return self.store.objects.by_key.get(key, (None,))[0]


async def scene() -> Scene:
    """Return the workflow, before anything happened to it."""
    if not _BEFORE:
        await _write_once()
    found = Scene(BoundedStore())
    for key, data in _BEFORE.items():
        found.store.objects.write(key, data)
    return found


async def _write_once() -> None:
    run, state, other = Deltas(BoundedStore(), inline=_INLINE), text(0, 6000), noise(0, 3000)
    for revision in REVISIONS:
        state, other = state + text(revision, 60), other[:500] + noise(revision, 20) + other[500:]
        await run.keep(dict(zip(NAMES, (state, other), strict=True)), checkpoint_id=f"c{revision}")
        CONTENTS[revision, NAMES[0]], CONTENTS[revision, NAMES[1]] = state, other
    _BEFORE.update({key: data for key, (data, _) in run.log.store.objects.by_key.items()})


def spoil(scene: Scene, reader: Reader) -> None:
    """Change, replace or remove something."""
    revision, name = reader.choice(REVISIONS), reader.choice(NAMES)
    marker = scene.marker(revision)
    if not isinstance(marker, Marker):
        return
    part = next((part for part in marker.parts if part.name == name), None)
    kind = reader.below(6)
    if kind == 0:
        gone = KEYS.blob(part.blob) if part is not None and part.blob else KEYS.marker(revision)
        if revision < REVISIONS[-1]:
            scene.store.objects.delete(gone)
        return
    if part is None:
        return
    if kind == 1:
        fill(part, reader)
    elif kind == 2:
        _replace(scene, part, reader, CONTENTS[revision, name])
    elif kind == 3:
        _lie(part, reader)
    elif kind == 4:
        _rest_elsewhere(scene, part, reader)
    elif part.bases:
        fill(reader.choice(part.bases), reader)
    _write(scene, marker)


def _write(scene: Scene, marker: Marker) -> None:
    key = KEYS.marker(marker.revision)
    scene.store.objects.write(key, marker_codec.encode(marker, key))


def _replace(scene: Scene, part: StoredPart, reader: Reader, content: bytes) -> None:
    """Replace what is stored of a part, and perhaps let the marker state the new size and digest."""
    frame = part.inline or scene.stored(KEYS.blob(part.blob)) or b"x"
    data = hostile(reader, frame, content, list(CONTENTS.values()))
    if part.blob:
        scene.store.objects.write(KEYS.blob(part.blob), data)
    else:
        part.inline = data
    agrees = reader.below(4)
    if agrees:
        part.stored_bytes = len(data)
    if agrees > 1:
        part.sha256 = sha256(reader.choice(list(CONTENTS.values()))).digest()


def _lie(part: StoredPart, reader: Reader) -> None:
    """Change a size, a digest or the encoding of a part or of one of its bases."""
    stated: StoredPart | PartBase = part
    if part.bases and reader.below(2):
        stated = reader.choice(part.bases)
    kind, by = reader.below(6), reader.choice((1, -1, 7, 1 << 23, -(1 << 62), (1 << 62)))
    if kind == 0:
        stated.size_bytes += by
    elif kind == 1:
        stated.stored_bytes += by
    elif kind == 2:
        stated.encoding = reader.below(5)
    elif kind == 3:
        # The next save adds to these.
        if isinstance(stated, PartBase):
            stated.debt_bytes = stated.price_bytes = reader.choice((2**63 - 1, 2**62, 0))
        else:
            stated.plain_saves = reader.choice((2**63 - 1, 63))
    else:
        digest = sha256(reader.choice(list(CONTENTS.values()))).digest()
        if isinstance(stated, PartBase):
            stated.digest = digest[: reader.choice((16, 15, 0))]
        else:
            stated.sha256 = digest


def _rest_elsewhere(scene: Scene, part: StoredPart, reader: Reader) -> None:
    """Let a part rest on itself, on a later checkpoint, on too many, on another workflow, or on another part."""
    others = [
        each for revision in REVISIONS if isinstance(found := scene.marker(revision), Marker) for each in found.parts
    ]
    kind, other = reader.below(6), reader.choice(others) if others else part
    if kind == 0:
        for base in part.bases:
            base.revision = reader.choice((*REVISIONS, 7, 16**9))
    elif kind == 1 and part.bases:
        for number in range(len(part.bases), reader.below(6)):
            part.bases.append(part.bases[number - 1])
            part.bases[number].revision += 1
    elif kind == 2:
        del part.bases[:]
        part.bases.extend(other.bases)
    elif kind == 3 and part.bases:
        base = reader.choice(part.bases)
        base.blob = reader.choice((other.blob, part.blob, f"../copy/{other.blob}", "../../../../escaped"))
    elif kind == 4:
        part.blob = other.blob
    else:
        part.encoding = other.encoding
        part.stored_bytes = other.stored_bytes
