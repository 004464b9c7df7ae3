"""Writes an archive as a stream. Memory stays bounded: what was written is passed on a MiB at a time, in a thread."""

import asyncio
import tarfile
from hashlib import sha256
from typing import BinaryIO

from holdfast_server.protocol.archive.members import Block, End, Header, Workflow, block_name, digest_of, workflow_name

_BUFFER_BYTES = 1 << 20
# A block ends after so many objects or bytes of markers, which are in memory until then.
_MOST_OBJECTS = 1000
_MOST_MARKER_BYTES = 8 << 20
_TAR_BLOCK_BYTES = 512


class ArchiveWriter:
    """Writes an archive, member by member.

    Args:
        file: where to write it.
        end: what the end mark of the part before would say, if an archive is continued.
        blocks: how many blocks that part has.

    Attributes:
        end: what the end mark will say.
        blocks: how many blocks were written.

    """

    def __init__(self, file: BinaryIO, end: End | None = None, blocks: int = 0) -> None:
        self.end = end or End("", 0, 0, 0, 0)
        self.blocks = blocks
        self._file = file
        self._buffer = bytearray()
        self._objects: dict[str, list[int | str]] = {}
        self._markers: list[tuple[str, bytes]] = []
        self._marker_bytes = 0

    async def begin(self, header: Header) -> None:
        """Write what the archive contains."""
        data = header.encoded()
        await self._member(Header.NAME, data)
        self._count(previous=digest_of(data))

    async def begin_workflow(self, workflow: Workflow) -> None:
        """Write which workflow follows."""
        self._count(workflows=1)
        await self._member(workflow_name(self.end.workflows), workflow.encoded())

    async def add(self, key: str, data: bytes) -> None:
        """Write an object that is not a marker."""
        async with self.object_of(key, len(data)) as written:
            await written.write(data)

    def object_of(self, key: str, size_bytes: int) -> "ObjectMember":
        """Return a context in which an object that is not a marker is written piece by piece."""
        return ObjectMember(self, key, size_bytes)

    async def add_marker(self, key: str, frame: bytes) -> None:
        """Add a marker: it is written with its block."""
        self._note(key, len(frame), digest_of(frame))
        self._markers.append((key, frame))
        self._marker_bytes += len(frame)
        if self._marker_bytes >= _MOST_MARKER_BYTES:
            await self.end_block(ends=False)

    async def end_block(self, *, ends: bool) -> None:
        """Write the digests of the objects since the last block, and then its markers.

        Args:
            ends: whether the workflow ends here.

        """
        block = Block(self.end.previous, dict(self._objects), ends, self.end.findings).encoded()
        self.blocks += 1
        await self._member(block_name(self.blocks), block)
        for key, frame in self._markers:
            await self._member(key, frame)
        self._count(previous=digest_of(block))
        self._objects.clear()
        self._markers.clear()
        self._marker_bytes = 0
        if ends:
            # What another run can continue after must not be in memory only.
            await self._flush()

    def note_finding(self) -> None:
        """Count damage that was found in the store."""
        self._count(findings=1)

    async def finish(self) -> End:
        """Write the end mark, and return it. The bytes are passed to the operating system, and no further."""
        await self._member(End.NAME, self.end.encoded())
        self._buffer += bytes(2 * _TAR_BLOCK_BYTES)
        await self._flush()
        return self.end

    async def write(self, data: bytes) -> None:
        """Write bytes of a member."""
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            await self._flush()

    async def open_member(self, name: str, size_bytes: int) -> None:
        """Write the head of a member."""
        info = tarfile.TarInfo(name)
        info.size = size_bytes
        await self.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))

    async def close_member(self, size_bytes: int) -> None:
        """Fill up the last block of a member."""
        await self.write(bytes(-size_bytes % _TAR_BLOCK_BYTES))

    async def close_object(self, key: str, size_bytes: int, digest: str) -> None:
        """Note an object that was written, and end the block if it has enough of them."""
        await self.close_member(size_bytes)
        self._note(key, size_bytes, digest)
        if len(self._objects) >= _MOST_OBJECTS:
            await self.end_block(ends=False)

    async def _member(self, name: str, data: bytes) -> None:
        await self.open_member(name, len(data))
        await self.write(data)
        await self.close_member(len(data))

    def _note(self, key: str, size_bytes: int, digest: str) -> None:
        self._objects[key] = [size_bytes, digest]
        self._count(objects=1, size_bytes=size_bytes)

    def _count(
        self, *, previous: str = "", workflows: int = 0, objects: int = 0, size_bytes: int = 0, findings: int = 0
    ) -> None:
        end = self.end
        self.end = End(
            previous or end.previous,
            end.workflows + workflows,
            end.objects + objects,
            end.bytes + size_bytes,
            end.findings + findings,
        )

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        await asyncio.to_thread(self._pass_on, data)

    def _pass_on(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()


class ObjectMember:
    """An object that is being written. Use `ArchiveWriter.object_of`."""

    def __init__(self, archive: ArchiveWriter, key: str, size_bytes: int) -> None:
        self._archive = archive
        self._key = key
        self._size_bytes = size_bytes
        self._left_bytes = size_bytes
        self._digest = sha256()

    async def __aenter__(self) -> "ObjectMember":
        await self._archive.open_member(self._key, self._size_bytes)
        return self

    async def __aexit__(self, kind: object, *exc_info: object) -> None:
        if kind is None:
            if self._left_bytes:
                raise ValueError(f"{self._key}: {self._left_bytes} bytes are missing")
            await self._archive.close_object(self._key, self._size_bytes, self._digest.hexdigest())

    async def write(self, data: bytes) -> None:
        """Append bytes."""
        self._left_bytes -= len(data)
        self._digest.update(data)
        await self._archive.write(data)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the bytes so far."""
        return self._digest.digest()
