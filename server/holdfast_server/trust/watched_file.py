"""Small files that are read again when they change. A change that is not valid is logged, the earlier content stays.

The content is compared, not the time of its change: files that a container mounts are exchanged by links. Reading and
parsing run in a thread. Content counts once two reads in a row agree, so that a file is not taken while it is written.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, TypeVar

_LOG = logging.getLogger("holdfast.server")
_MAX_BYTES = 1 << 20
_CHECK_SECONDS = 1.0
_SETTLE_SECONDS = 0.05

_Content = TypeVar("_Content")
_Value = TypeVar("_Value")


class InvalidFileError(Exception):
    """A file cannot be read, or its content is invalid. The message says what is wrong with it."""


class Watched(Generic[_Value]):
    """The newest valid content of a file, or of files that belong together.

    Args:
        value: the content, parsed.

    """

    def __init__(self, value: _Value) -> None:
        self._value = value
        self._listeners: list[Callable[[], None]] = []

    @property
    def value(self) -> _Value:
        """The content, parsed."""
        return self._value

    @value.setter
    def value(self, value: _Value) -> None:
        self._value = value
        for listener in self._listeners:
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever the content has changed. It must not raise."""
        self._listeners.append(listener)


@asynccontextmanager
async def watched(
    path: str, parse: Callable[[bytes], _Value], *, setting: str = "", check_seconds: float = _CHECK_SECONDS
) -> AsyncIterator[Watched[_Value]]:
    """Read a file, and again whenever it changes while the block runs.

    Args:
        path: the file.
        parse: parses the content, in a thread. It raises InvalidFileError if the content is invalid.
        setting: the setting that names the file, with which errors begin.
        check_seconds: how often to look for a change.

    Raises:
        InvalidFileError: the file cannot be read, or its first content is invalid. The message names the file.

    """
    prefix = f"{setting}: {path!r}: " if setting else f"{path!r}: "

    def read_it() -> bytes:
        with naming(prefix):
            return read(path)

    def parse_it(data: bytes) -> _Value:
        with naming(prefix):
            return parse(data)

    async with watched_content(path, read_it, parse_it, check_seconds=check_seconds) as current:
        yield current


@asynccontextmanager
async def watched_content(
    name: str,
    read_content: Callable[[], _Content],
    parse: Callable[[_Content], _Value],
    *,
    check_seconds: float = _CHECK_SECONDS,
) -> AsyncIterator[Watched[_Value]]:
    """Read files that belong together, and again whenever one of them changes while the block runs.

    Args:
        name: the name of the content in the log.
        read_content: reads the files, in a thread. It raises InvalidFileError if one cannot be read.
        parse: parses what they contain, in a thread. It raises InvalidFileError if that is invalid.
        check_seconds: how often to look for a change.

    Raises:
        InvalidFileError: a file cannot be read, or the first content is invalid.

    """
    content, value = await asyncio.to_thread(_read_and_parse, read_content, parse)
    current = Watched(value)
    watching = asyncio.create_task(
        _watch(name, read_content, parse, current, known=content, check_seconds=check_seconds)
    )
    try:
        yield current
    finally:
        watching.cancel()
        await asyncio.wait([watching])


@contextmanager
def naming(prefix: str) -> Iterator[None]:
    """Let the messages of invalid files in the block begin with a prefix."""
    try:
        yield
    except InvalidFileError as error:
        raise InvalidFileError(f"{prefix}{error}") from None


def read(path: str) -> bytes:
    """Read a small file.

    Raises:
        InvalidFileError: it cannot be read, or is too large.

    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidFileError(f"cannot read it: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > _MAX_BYTES:
        raise InvalidFileError(f"expected at most {_MAX_BYTES} bytes, got more")
    return data


def text_of(data: bytes) -> str:
    """Return the text of a file in UTF-8, without the byte order mark with which some editors begin it.

    Raises:
        ValueError: it is not UTF-8.

    """
    return data.decode("utf-8-sig")


def _read_and_parse(
    read_content: Callable[[], _Content], parse: Callable[[_Content], _Value]
) -> tuple[_Content, _Value]:
    content = read_content()
    return content, parse(content)


async def _watch(
    name: str,
    read_content: Callable[[], _Content],
    parse: Callable[[_Content], _Value],
    current: Watched[_Value],
    *,
    known: _Content,
    check_seconds: float,
) -> None:
    logged = ""
    while True:
        await asyncio.sleep(check_seconds)
        try:
            content = await asyncio.to_thread(read_content)
            if content == known:
                logged = ""
                continue
            await asyncio.sleep(_SETTLE_SECONDS)
            again, value = await asyncio.to_thread(_read_and_parse, read_content, parse)
            if again != content:
                continue
        except Exception as error:  # noqa: BLE001 - a fault of a parser must not end the watching in silence
            # Once for each problem, not at every look.
            if repr(error) != logged:
                logged = repr(error)
                _LOG.error(
                    "a changed file is invalid; its earlier content stays in effect",
                    exc_info=None if isinstance(error, InvalidFileError) else error,
                    extra={"file": name, "error": str(error)},
                )
            continue
        known, logged = content, ""
        current.value = value
        _LOG.info("a changed file is in effect", extra={"file": name})
