"""Reads an archive from a stream, member by member, and checks it: order, digests and end mark.

Nothing in an archive is trusted: names must be keys of the workflow that was begun, sizes have limits.
"""

import asyncio
import tarfile
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import IO, BinaryIO, TypeVar

from holdfast_server.protocol.archive.members import (
    VERSION,
    ArchiveError,
    Block,
    End,
    Header,
    Workflow,
    block_name,
    digest_of,
    workflow_name,
)
from holdfast_server.protocol.format.bounded_read import MAX_MARKER_BYTES
from holdfast_server.protocol.format.keys import (
    LAYOUT_VERSION,
    WorkflowKeys,
    batch_stamp,
    blob_base,
    index_range,
)

_PIECE_BYTES = 1 << 20
_Result = TypeVar("_Result")
# Of a member in JSON: a block has at most some thousand objects.
_MOST_JSON_BYTES = 8 << 20
# Of the name of a member, which a head of its own has if it is long.
_MOST_NAME_BYTES = 64 << 10
# Programs fill up the end of a tar file with zeros, 10 KiB by default.
_MOST_FILLING_BYTES = 1 << 20
_LONG_HEADS = frozenset(
    (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )
)


class BytesFollowError(ArchiveError):
    """An archive is whole, and something follows its end mark."""


class _Head(tarfile.TarInfo):
    """The head of a member. The library reads the content of those with a long name into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Head":
        found = super().frombuf(buf, encoding, errors)
        if found.type in _LONG_HEADS and not 0 <= found.size <= _MOST_NAME_BYTES:
            raise ArchiveError(f"a name has {found.size} bytes, expected at most {_MOST_NAME_BYTES}")
        return found


class ArchivedObject:
    """An object in an archive that is no marker. Its bytes must be read before the next member.

    Attributes:
        key: its key.
        size_bytes: its size.

    """

    def __init__(self, key: str, size_bytes: int, file: IO[bytes]) -> None:
        self.key = key
        self.size_bytes = size_bytes
        self._file = file
        self._digest = sha256()
        self._left_bytes = size_bytes

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield the bytes, some at a time.

        Raises:
            ArchiveError: the archive was cut off.

        """
        while self._left_bytes:
            piece = await _in_thread(self._file.read, min(_PIECE_BYTES, self._left_bytes))
            if not piece:
                raise ArchiveError(f"{self.key}: the archive was cut off")
            self._left_bytes -= len(piece)
            self._digest.update(piece)
            yield piece

    async def whole(self) -> bytes:
        """Return the bytes."""
        return b"".join([piece async for piece in self.pieces()])

    async def stated(self) -> list[object]:
        """Return what its block must state of it. Reads what is left."""
        async for _ in self.pieces():
            pass
        return [self.size_bytes, self._digest.hexdigest()]


@dataclass(frozen=True, slots=True)
class ArchivedMarker:
    """A marker in an archive. All objects of its block are whole.

    Attributes:
        key: its key.
        revision: its revision.
        frame: its bytes.

    """

    key: str
    revision: int
    frame: bytes


Item = Header | Workflow | ArchivedObject | ArchivedMarker | Block | End


class ArchiveReader:
    """Reads an archive, from its first member on.

    Args:
        file: the archive.

    Attributes:
        counted: what the end mark must say if it came now.
        blocks: how many blocks were read.
        position: the byte after the last member that was read.

    """

    def __init__(self, file: BinaryIO) -> None:
        self.counted = End("", 0, 0, 0, 0)
        self.blocks = 0
        self._file = file
        self._archive: tarfile.TarFile | None = None
        self._keys: WorkflowKeys | None = None

    @property
    def position(self) -> int:
        """The byte after the last member that was read."""
        return 0 if self._archive is None else self._archive.offset

    async def items(self) -> AsyncGenerator[Item]:
        """Yield what is in the archive, in its order. A block comes after its markers, the end mark last.

        Raises:
            ArchiveError: it is damaged or was cut off, a newer version of Holdfast made it, or something follows its
                end mark. What was yielded is whole, except objects whose block was not yielded.
            OSError: it cannot be read.

        """
        self._archive = await _in_thread(
            partial(tarfile.open, fileobj=self._file, mode="r|", bufsize=_PIECE_BYTES, tarinfo=_Head)
        )
        yield await self._header()
        while True:
            name, size_bytes, file = await self._next()
            if name == End.NAME:
                end = self._finished(End.decoded(await _json(name, size_bytes, file)))
                await self._require_end()
                yield end
                return
            workflow = Workflow.decoded(await _json(name, size_bytes, file))
            self._begin(name, workflow)
            yield workflow
            ends = False
            while not ends:
                async for item in self._block():
                    yield item
                    ends = isinstance(item, Block) and item.ends

    async def _header(self) -> Header:
        name, size_bytes, file = await self._next()
        if name != Header.NAME:
            raise ArchiveError(f"not an archive of Holdfast: begins with {name!r}, expected {Header.NAME!r}")
        data = await _json(name, size_bytes, file)
        header = Header.decoded(data)
        if header.version < 1:
            raise ArchiveError(f"the archive has version {header.version}, expected 1 to {VERSION}")
        if header.layout != LAYOUT_VERSION:
            raise ArchiveError(f"the archive has layout {header.layout}, this program reads {LAYOUT_VERSION}")
        self._count(previous=digest_of(data))
        return header

    def _begin(self, name: str, workflow: Workflow) -> None:
        self._count(workflows=1)
        if name != workflow_name(self.counted.workflows):
            raise ArchiveError(f"expected {workflow_name(self.counted.workflows)!r}, found {name!r}")
        self._keys = WorkflowKeys(workflow.namespace, workflow.workflow_id)
        if self._keys.prefix != workflow.prefix:
            raise ArchiveError(f"{name}: the prefix {workflow.prefix!r} is not that of its names")

    async def _block(self) -> AsyncGenerator[Item]:
        """Yield the objects of a block, then its markers, then the block."""
        found: dict[str, list[object]] = {}
        while True:
            name, size_bytes, file = await self._next()
            if name == block_name(self.blocks + 1):
                break
            item = ArchivedObject(self._require_key(name), size_bytes, file)
            yield item
            found[name] = await item.stated()
        data = await _json(name, size_bytes, file)
        block = Block.decoded(data)
        if block.previous != self.counted.previous:
            raise ArchiveError(f"{name}: does not follow the block before")
        self.blocks += 1
        markers = {key: stated for key, stated in block.objects.items() if key not in found}
        for key, stated in found.items():
            if block.objects.get(key) != stated:
                raise ArchiveError(f"{key}: has size and digest {stated}, expected {block.objects.get(key)}")
        for key, stated in markers.items():
            yield await self._marker(key, stated)
        sizes = [stated[0] for stated in block.objects.values()]
        if block.findings < self.counted.findings:
            raise ArchiveError(f"{name}: states {block.findings} findings, expected {self.counted.findings} or more")
        self._count(previous=digest_of(data), objects=len(sizes), size_bytes=sum(sizes), findings=block.findings)
        yield block

    async def _marker(self, key: str, stated: list[object]) -> ArchivedMarker:
        name, size_bytes, file = await self._next()
        assert self._keys is not None
        revision = self._keys.revision(name)
        if name != key or revision is None or size_bytes > MAX_MARKER_BYTES:
            raise ArchiveError(f"expected the marker {key!r}, found {name!r} with {size_bytes} bytes")
        frame = await _in_thread(file.read, size_bytes)
        if [len(frame), digest_of(frame)] != stated:
            raise ArchiveError(f"{name}: does not match its digest")
        return ArchivedMarker(name, revision, frame)

    def _finished(self, end: End) -> End:
        # What was left out after the last block counts as well.
        counted = replace(self.counted, findings=max(end.findings, self.counted.findings))
        if end != counted:
            raise ArchiveError(f"{End.NAME}: states {end}, found {counted}")
        return end

    async def _require_end(self) -> None:
        """Check that nothing follows the end mark but the zeros that end a tar file.

        Raises:
            BytesFollowError: something does, such as another archive.

        """
        assert self._archive is not None
        assert self._archive.fileobj is not None
        filling_bytes = 0
        while piece := await _in_thread(self._archive.fileobj.read, _PIECE_BYTES):
            filling_bytes += len(piece)
            if piece.count(0) != len(piece) or filling_bytes > _MOST_FILLING_BYTES:
                raise BytesFollowError(
                    "the archive is whole, and something follows its end mark: import each of several archives alone"
                )

    def _require_key(self, name: str) -> str:
        """Return a name that is the key of an object of the workflow, but no marker.

        Raises:
            ArchiveError: it is not.

        """
        assert self._keys is not None
        relative = name.removeprefix(self._keys.prefix)
        is_ours = name.startswith(self._keys.prefix) and (
            blob_base(relative) is not None
            or index_range(relative) is not None
            or batch_stamp(relative) is not None
            or self._keys.is_claim(name)
        )
        if not is_ours:
            raise ArchiveError(f"{name!r} is not an object of the workflow {self._keys.prefix!r}")
        return name

    def _count(
        self, *, previous: str = "", workflows: int = 0, objects: int = 0, size_bytes: int = 0, findings: int = 0
    ) -> None:
        end = self.counted
        self.counted = End(
            previous or end.previous,
            end.workflows + workflows,
            end.objects + objects,
            end.bytes + size_bytes,
            max(end.findings, findings),
        )

    async def _next(self) -> tuple[str, int, IO[bytes]]:
        assert self._archive is not None
        info = await _in_thread(self._archive.next)
        if info is None:
            raise ArchiveError("the archive was cut off: it has no end mark")
        # The library keeps every member that it has read.
        self._archive.members.clear()  # type: ignore[attr-defined]
        file = self._archive.extractfile(info) if info.isreg() else None
        if file is None:
            raise ArchiveError(f"{info.name!r} is not a file")
        return info.name, info.size, file


async def _json(name: str, size_bytes: int, file: IO[bytes]) -> bytes:
    if size_bytes > _MOST_JSON_BYTES:
        raise ArchiveError(f"{name}: has {size_bytes} bytes, expected at most {_MOST_JSON_BYTES}")
    data: bytes = await _in_thread(file.read, size_bytes)
    return data


async def _in_thread(function: Callable[..., _Result], *arguments: object) -> _Result:
    """Call a function that reads the archive.

    Raises:
        ArchiveError: the archive is damaged or was cut off.

    """
    try:
        return await asyncio.to_thread(function, *arguments)
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise ArchiveError(f"the archive is damaged or was cut off: {error}") from None
