"""A process that creates small files, so that its system calls do not contend for the server's interpreter lock.

It reads batches from its standard input and answers each on its standard output, until the input ends. A batch is a
list of paths with bytes, an answer a list: True for created, False for taken, for failed an errno and whether the file
may be there all the same. Both are marshalled behind four bytes of length: the two ends are one program in one version.
"""

import marshal
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from holdfast_server.stores.draft import Draft, Drafts

LENGTH = struct.Struct(">I")


Created = bool | tuple[int, bool]


def create_all(drafts: Drafts, items: Sequence[tuple[str, bytes]]) -> list[Created]:
    """Create files together, step by step: while the first is synced, the others are on their way."""
    results: list[Any] = [None] * len(items)
    failed: dict[int, tuple[int, bool]] = {}
    open_drafts: dict[int, Draft] = {}

    def for_each(step: Callable[[int], None], *, may_exist: bool) -> None:
        for index in range(len(items)):
            if index not in failed:
                try:
                    step(index)
                except OSError as error:
                    failed[index] = error.errno or 0, may_exist

    def write(index: int) -> None:
        open_drafts[index] = drafts.draft(items[index][0])
        open_drafts[index].append(items[index][1])
        if len(items) > 1:
            open_drafts[index].begin_sync()

    def link(index: int) -> None:
        results[index] = open_drafts[index].link()

    def settle(index: int) -> None:
        if results[index]:
            drafts.settle(open_drafts[index])
        else:
            drafts.confirm(items[index][0])

    try:
        for_each(write, may_exist=False)
        for_each(lambda index: open_drafts[index].sync(), may_exist=False)
        for_each(link, may_exist=True)
        for_each(settle, may_exist=True)
    finally:
        for draft in open_drafts.values():
            draft.close()
    return [failed.get(index, results[index]) for index in range(len(items))]


def frame(message: list[Any]) -> bytes:
    """Return a message framed for a pipe."""
    body = marshal.dumps(message)
    return LENGTH.pack(len(body)) + body


def _serve(drafts: Drafts, source: BinaryIO, sink: BinaryIO) -> None:
    while header := source.read(LENGTH.size):
        items = marshal.loads(source.read(LENGTH.unpack(header)[0]))
        sink.write(frame(create_all(drafts, items)))
        sink.flush()


if __name__ == "__main__":
    # It ends with its server, which may still have something to finish when it is told to stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _serve(Drafts(Path(sys.argv[1])), sys.stdin.buffer, sys.stdout.buffer)
