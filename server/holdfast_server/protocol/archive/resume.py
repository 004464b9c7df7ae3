"""Finds where an archive that was cut off can be continued: after the last workflow that is whole."""

from dataclasses import dataclass
from typing import BinaryIO

from holdfast_server.protocol.archive.members import ArchiveError, Block, End, Header, Workflow
from holdfast_server.protocol.archive.reader import ArchiveReader, BytesFollowError


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an archive goes.

    Attributes:
        header: what it was to contain.
        position: the byte at which it is to be continued.
        after: the prefix of its last whole workflow; "" if it has none.
        counted: what the end mark would say there.
        blocks: how many blocks come before.
        is_whole: whether it has an end mark, so that nothing is left to do.

    """

    header: Header
    position: int
    after: str
    counted: End
    blocks: int
    is_whole: bool = False


async def reached(file: BinaryIO) -> Reached:
    """Read an archive as far as it is whole.

    Args:
        file: the archive, at its beginning.

    Raises:
        ArchiveError: not even its first member is whole, it was made by a newer version, or it is whole and something
            follows it.
        OSError: it cannot be read.

    """
    archive = ArchiveReader(file)
    found: Reached | None = None
    prefix = ""
    try:
        async for item in archive.items():
            match item:
                case Header():
                    found = Reached(item, archive.position, "", archive.counted, 0)
                case Workflow():
                    prefix = item.prefix
                case Block() if item.ends and found is not None:
                    found = Reached(found.header, archive.position, prefix, archive.counted, archive.blocks)
                case End() if found is not None:
                    return Reached(found.header, archive.position, prefix, item, archive.blocks, is_whole=True)
    except BytesFollowError:
        # What follows may be another archive, which must not be cut off.
        raise
    except ArchiveError:
        if found is None:
            raise
    assert found is not None
    return found
