"""Stores that are small, or do everything in one thread, so that one process can use thousands of them in turn."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

_STORE = "holdfast_server.stores.file"
# A part of this size is a file.
LARGEST_ROW_BYTES = 4000


class _LaneHere:
    """A lane that does its work in the calling thread."""

    def __init__(self, work: Callable[[Sequence[Any]], Sequence[Any]], **_: object) -> None:
        self._work = work

    async def run(self, item: Any) -> Any:
        [result] = self._work([item])
        if isinstance(result, Exception):
            raise result
        return result

    async def close(self) -> None:
        pass


async def _here(function: Callable[..., Any], *arguments: object) -> Any:
    return function(*arguments)


@contextmanager
def small() -> Iterator[None]:
    """Let stores that are opened in the block have files for parts of a few kilobytes, and a log of a few pages."""
    with ExitStack() as stack:
        for name, value in (
            (f"{_STORE}.store.LARGEST_ROW_BYTES", LARGEST_ROW_BYTES),
            (f"{_STORE}.upload.LARGEST_ROW_BYTES", LARGEST_ROW_BYTES),
            (f"{_STORE}.checkpoints._WAL_BYTES", 60_000),
            (f"{_STORE}.reserve._RESERVE_BYTES", 4096),
        ):
            stack.enter_context(patch(name, value))
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Let stores that are opened in the block be small, and do everything in the thread of the event loop."""
    with (
        small(),
        patch(f"{_STORE}.store.Lane", _LaneHere),
        patch.object(asyncio, "to_thread", _here),
        # Above this size of the log the writer checkpoints it itself.
        patch(f"{_STORE}.checkpoints.LARGEST_WAL_BYTES", -1),
    ):
        yield
