"""A store of any number of objects, written fast: real markers, straight into its database, days old and never synced.

The figures that a check and each round of the garbage collection must report are known as soon as it is written.
"""

import asyncio
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from crc32c import crc32c
from holdfast_server.layout.v1.marker_pb2 import Claim, Marker, MarkerKind, PartEncoding, StoredPart
from holdfast_server.protocol.format import marker as marker_codec
from holdfast_server.protocol.format.ids import new_checkpoint_id
from holdfast_server.protocol.format.keys import MANIFEST_KEY, WorkflowKeys, new_blob
from holdfast_server.protocol.log import next_marker, recent
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.entry import Entry, digest_of
from holdfast_server.stores.file import FileStore

AGE_SECONDS = 5 * 86_400
BLOB_BYTES = 700
_ROUNDS = 4


@dataclass
class Facts:
    """The expected findings and figures of the commands.

    Attributes:
        objects: the number of objects.
        checked: the figures of fsck.
        findings: the keys that fsck must report, each with whether `--quick` reports it too.
        rounds: the figures of each collection, a grace apart, until nothing is left to do.
        appended: the keys that each collection adds: markers, and claims that it takes over.

    """

    objects: int = 0
    checked: Counter = field(default_factory=Counter)
    findings: list[tuple[str, bool]] = field(default_factory=list)
    rounds: list[Counter] = field(default_factory=lambda: [Counter() for _ in range(_ROUNDS)])
    appended: list[list[str]] = field(default_factory=lambda: [[] for _ in range(_ROUNDS)])

    def add(self, other: "Facts") -> None:
        self.objects += other.objects
        self.checked += other.checked
        self.findings += other.findings
        for mine, theirs in zip(self.rounds, other.rounds, strict=True):
            mine.update(theirs)
        for mine, theirs in zip(self.appended, other.appended, strict=True):
            mine.extend(theirs)


class Rows:
    """The objects of a store that is being written. Use `writing`."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self._blobs = folder / "blobs"
        self._database = database
        self._seconds = time.time() - AGE_SECONDS

    def add(self, key: str, data: bytes, *, in_file: bool = False) -> None:
        """Add an object, as a row or as a file."""
        content, file = None, None
        if in_file:
            file = uuid.uuid4().hex
            (self._blobs / file).write_bytes(data)
        else:
            content = self._database.execute("INSERT INTO contents (value) VALUES (?)", (data,)).lastrowid
        row = (key, len(data), self._seconds, content, file)
        self._database.execute("INSERT INTO objects (key, size, modified, content, file) VALUES (?, ?, ?, ?, ?)", row)

    def flip(self, key: str) -> None:
        """Flip a bit of a row."""
        content, value = self._database.execute(
            "SELECT content, value FROM objects JOIN contents ON id = content WHERE key = ?", (key,)
        ).fetchone()
        middle = len(value) // 2
        flipped = value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
        self._database.execute("UPDATE contents SET value = ? WHERE id = ?", (flipped, content))

    def remove(self, key: str) -> None:
        """Remove the row of an object."""
        self._database.execute("DELETE FROM contents WHERE id = (SELECT content FROM objects WHERE key = ?)", (key,))
        self._database.execute("DELETE FROM objects WHERE key = ?", (key,))

    def file(self, key: str) -> Path:
        """Return the file of an object."""
        [name] = self._database.execute("SELECT file FROM objects WHERE key = ?", (key,)).fetchone()
        return self._blobs / name


@contextmanager
def writing(folder: Path) -> Iterator[Rows]:
    """Create a store and yield its objects to be."""

    async def create() -> None:
        async with FileStore.open(folder) as store:
            await store.put_if_absent(MANIFEST_KEY, b'{"layoutVersion": 1}')

    asyncio.run(create())
    with closing(sqlite3.connect(folder / "holdfast.db")) as database:
        database.execute("PRAGMA synchronous = OFF")
        with database:
            yield Rows(folder, database)


class Fake:
    """A workflow of a fake store.

    Args:
        rows: the objects of the store.
        keys: the keys of the workflow.
        has_files: whether its blobs are files.

    Attributes:
        newest_blob: the key of the blob that was written last.

    """

    def __init__(self, rows: Rows, keys: WorkflowKeys, *, has_files: bool = False) -> None:
        self.rows = rows
        self.keys = keys
        self.has_files = has_files
        self.newest_blob = ""
        self.facts = Facts()
        self.facts.checked["workflows"] = 1
        for each in self.facts.rounds:
            each["workflows"] = 1
        self.head: Entry | None = None
        self._seconds = int(time.time()) - AGE_SECONDS

    @property
    def revision(self) -> int:
        return 0 if self.head is None else self.head.revision

    def save(self, *, in_blob: bool = False, checkpoint_id: str = "", ttl_seconds: int = 0) -> None:
        """Write a checkpoint. It counts for fsck and stays, unless the caller changes the expectations."""
        marker = self.successor()
        marker.checkpoint_id = checkpoint_id or new_checkpoint_id(marker.revision)
        marker.format.name, marker.format.version = "fake", 1
        marker.parts.append(self._part(marker.revision, in_blob=in_blob))
        marker.last_data_revision = marker.revision
        if ttl_seconds:
            marker.expire_time.FromSeconds(self._seconds + ttl_seconds)
        if checkpoint_id:
            claim = Claim(checkpoint_id=checkpoint_id, request_id="r", base_revision=marker.revision - 1)
            key = self.keys.claim(0, checkpoint_id)
            self.write(key, marker_codec.encode_claim(claim, key))
        self.commit(marker)
        self.facts.checked["checkpoints"] += 1

    def delete(self) -> None:
        """Write the deletion of the whole workflow."""
        marker = self.successor(MarkerKind.MARKER_KIND_DELETED)
        marker.floor = self.revision
        marker.claim_generation = marker.low_water_mark = marker.revision
        marker.last_data_revision = marker.previous_data_revision = 0
        self.commit(marker)
        self.facts.checked["checkpoints"] = 0
        self.facts.checked["markers"] = 1

    def orphan(self, base: int) -> None:
        """Write a blob that no marker names."""
        self.write(self.keys.blob(new_blob(base, uuid.uuid4().hex)), bytes(BLOB_BYTES))
        self.orphaned(1)

    def orphaned(self, blobs: int) -> None:
        """Count blobs as orphans."""
        self.facts.checked["orphans"] += blobs
        self.facts.checked["orphan_bytes"] += blobs * BLOB_BYTES

    def goes(self, number: int, **figures: int) -> None:
        """Expect the removals of a collection."""
        self.facts.rounds[number - 1].update(figures)

    def appends(self, number: int, revision: int, *taken_over: str) -> None:
        """Expect the marker that a collection appends, and the ids whose claims it takes over."""
        self.facts.appended[number - 1].append(self.keys.marker(revision))
        self.facts.appended[number - 1] += [self.keys.claim(revision, each) for each in taken_over]

    def finds(self, key: str, *, when_quick: bool = True) -> None:
        """Expect a finding of fsck."""
        self.facts.findings.append((key, when_quick))

    def commit(self, marker: Marker) -> None:
        recent.remember(marker, self.head and self.head.marker, marker_codec.MARKER_VERSION)
        key = self.keys.marker(marker.revision)
        frame = marker_codec.encode(marker, key)
        self.write(key, frame)
        self.head = Entry(marker, digest_of(frame), len(frame))
        self.facts.checked["markers"] += 1

    def write(self, key: str, data: bytes) -> None:
        self.rows.add(key, data, in_file=self.has_files and key.startswith(self.keys.blobs))
        self.facts.objects += 1

    def successor(self, kind: MarkerKind.ValueType = MarkerKind.MARKER_KIND_DATA) -> Marker:
        marker = next_marker.successor(self.head, Request(self.keys, f"request-{self.revision + 1}"), kind, b"f" * 32)
        marker.create_time.FromSeconds(self._seconds)
        return marker

    def _part(self, revision: int, *, in_blob: bool) -> StoredPart:
        data = revision.to_bytes(8, "big") + b"x" * ((BLOB_BYTES if in_blob else 100) - 8)
        part = StoredPart(
            size_bytes=len(data),
            sha256=sha256(data).digest(),
            crc32c=crc32c(data),
            encoding=PartEncoding.PART_ENCODING_IDENTITY,
        )
        if in_blob:
            part.blob = new_blob(revision - 1, uuid.uuid4().hex)
            self.newest_blob = self.keys.blob(part.blob)
            self.write(self.newest_blob, data)
        else:
            part.inline = data
        return part
