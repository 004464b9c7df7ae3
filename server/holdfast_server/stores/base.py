"""What Holdfast asks of an object store, and no more.

Six operations: put-if-absent, get, put under a fresh key, replace, list in key order, delete. A seventh, copy, spares
traffic where a store has it. Every store passes the one suite in `tests/integration/stores/`. A store maps the errors
of its library to the ones below; it knows nothing of checkpoints.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

_frees_space: ContextVar[bool] = ContextVar("frees_space", default=False)


@contextmanager
def freeing_space() -> Iterator[None]:
    """Let the block write into the space that a store keeps back for deletions: in the end it makes room."""
    token = _frees_space.set(True)
    try:
        yield
    finally:
        _frees_space.reset(token)


def may_use_reserve() -> bool:
    """Return whether the caller is about to free space."""
    return _frees_space.get()


class StoreError(Exception):
    """A store operation failed.

    The message is fit for a caller: it names no endpoint, bucket, path or credential.

    Attributes:
        detail: the same for operators: where the store is, and what the library said.

    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail or message


def described(error: Exception) -> str:
    """Return what failed, for operators: of a store also where it is."""
    return error.detail if isinstance(error, StoreError) else str(error)


class StoreUnavailableError(StoreError):
    """The store cannot be reached, is overloaded or answers nonsense; trying again may help.

    After a write, the outcome is unknown: a late request may still land.
    """


class NothingWrittenError(StoreUnavailableError):
    """The store could not even begin to write: nothing was written, and nothing will land late."""


class StoreFullError(NothingWrittenError):
    """The store has no room: nothing was written."""


class StoreAccessDeniedError(StoreError):
    """The store refuses access, or its credentials or bucket are wrong; trying again does not help."""


class StoreSettingsError(StoreAccessDeniedError):
    """The settings or credentials for the store are wrong: nothing was sent."""


class ObjectNotFoundError(StoreError):
    """No object has the key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key!r}")
        self.key = key


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a get returns: the bytes that were asked for, and the size of the whole object."""

    data: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """What a list says of an object. `modified_seconds` is the store's own clock, since the epoch."""

    key: str
    size_bytes: int
    modified_seconds: float


class ObjectWriter(Protocol):
    """An object in the making. It becomes visible, whole and durable, when `finish` returns."""

    async def write(self, data: bytes) -> None:
        """Append bytes. May wait until earlier ones are on their way, so that memory stays bounded."""

    async def finish(self) -> None:
        """Make the object durable and visible."""


class ObjectStore(Protocol):
    """The store. Keys are made of `[A-Za-z0-9._~%-]` and `/`; listings are in byte order of the keys.

    Every operation raises StoreUnavailableError or StoreAccessDeniedError where it cannot be done.
    """

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one. Of all who try, one gets True, also after a crash.

        Behind either answer there is an object, and it is durable. False never proves that somebody else made
        it: a request may have been sent twice underneath.
        """

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or `length` bytes of it from `offset`; fewer where the object ends.

        What it returns stays: an object that can be seen but might be lost in a power cut is made durable first.

        Raises:
            ObjectNotFoundError: no object has the key.

        """

    def put(self, key: str) -> AbstractAsyncContextManager[ObjectWriter]:
        """Write an object of any size under a key that was never used. Left unfinished, it never appears."""

    async def replace(self, key: str, data: bytes) -> None:
        """Put other bytes in the place of an object, or create it. At every moment either is there, whole.

        It is durable on return, and nothing of the old bytes is left that the store itself can give.
        """

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """The first `limit` objects, in key order, whose keys begin with `prefix` and follow `start_after`.

        Every object whose write was acknowledged before the call is seen. What else is seen may be lost in a power
        cut, unless `get` has returned it.
        """

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object to a fresh key without its bytes passing through here.

        Returns:
            Whether it is there now; False where the store cannot do so, and has written nothing.

        Raises:
            ObjectNotFoundError: there is nothing to copy.

        """

    async def delete(self, key: str) -> None:
        """Remove an object. Removing one that is not there is no error."""
