"""Stores that do everything in one thread, so that one process can use thousands of them in turn."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from holdfast_server.stores.draft import Drafts
from holdfast_server.stores.file_lane import Created, create_all


class _LaneHere:
    """A lane that creates small files in this process, not in its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._drafts: Drafts | None = None

    async def start(self) -> None:
        self._drafts = Drafts(self._root)

    async def create_all(self, items: Sequence[tuple[str, bytes]]) -> list[Created]:
        assert self._drafts is not None
        return create_all(self._drafts, items)

    async def close(self) -> None:
        self._drafts = None


class _NoThreads(Executor):
    """An executor that runs each call in the calling thread."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)
        return future


@contextmanager
def alone() -> Iterator[None]:
    """Let stores that are opened in the block create small files in this process, without threads."""
    with (
        patch("holdfast_server.stores.file.Lane", _LaneHere),
        patch("holdfast_server.stores.file.ThreadPoolExecutor", _NoThreads),
    ):
        yield
