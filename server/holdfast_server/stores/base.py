"""The interface of object stores.

Six operations: put-if-absent, get, put under a fresh key, replace, list in key order, delete. A seventh, copy, saves
traffic if a store supports it. Every store passes the one suite in `tests/integration/stores/`. A store maps the errors
of its library to the ones below. It knows nothing of checkpoints.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

_frees_space: ContextVar[bool] = ContextVar("frees_space", default=False)
_erases: ContextVar[bool] = ContextVar("erases", default=False)


@contextmanager
def freeing_space() -> Iterator[None]:
    """Let the block use the space that a store reserves for deletions, because it frees space in the end."""
    token = _frees_space.set(True)
    try:
        yield
    finally:
        _frees_space.reset(token)


def may_use_reserve() -> bool:
    """Return whether the caller frees space and may use the reserve."""
    return _frees_space.get()


@contextmanager
def erasing() -> Iterator[None]:
    """Let the deletions of the block return only when no file of the store contains the deleted bytes."""
    token = _erases.set(True)
    try:
        yield
    finally:
        _erases.reset(token)


def must_erase() -> bool:
    """Return whether the bytes that the caller deletes must be gone when the deletion returns."""
    return _erases.get()


class StoreError(Exception):
    """A store operation failed.

    The message may be sent to callers: it contains no endpoint, bucket, path or credential.

    Attributes:
        detail: for operators: the location of the store and the library's message.

    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail or message


def described(error: Exception) -> str:
    """Return an error's message for operators, with the detail of a StoreError."""
    return error.detail if isinstance(error, StoreError) else str(error)


class StoreUnavailableError(StoreError):
    """The store cannot be reached, is overloaded or returns nonsense. A retry may help.

    The outcome of a write is unknown: a late request may still take effect.
    """


class NothingWrittenError(StoreUnavailableError):
    """The write was not even sent: nothing was written, and nothing will take effect late."""


class StoreFullError(NothingWrittenError):
    """The store has no room: nothing was written."""


class StoreAccessDeniedError(StoreError):
    """The store refuses access, or the credentials or the bucket are wrong. A retry does not help."""


class StoreSettingsError(StoreAccessDeniedError):
    """The settings or credentials for the store are wrong: nothing was sent."""


class StoreDamagedError(StoreError):
    """A part of the store is damaged and cannot be read. Other objects can be. A retry does not help.

    Attributes:
        listed: for a listing, the objects before the damage.
        resume_at: for a listing, the first key after the damage that can be listed; None if there is none.

    """

    def __init__(
        self,
        message: str,
        *,
        detail: str = "",
        listed: "Sequence[ObjectSummary]" = (),
        resume_at: str | None = None,
    ) -> None:
        super().__init__(message, detail=detail)
        self.listed = listed
        self.resume_at = resume_at


class StoreGoneError(NothingWrittenError):
    """The store that was opened is no longer in its place: it was moved, deleted or replaced."""


class ObjectNotFoundError(StoreError):
    """No object has the key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key!r}")
        self.key = key


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The result of a get: the requested bytes, and the size of the whole object."""

    data: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """An object in a listing. `modified_seconds` is by the store's own clock, since the epoch."""

    key: str
    size_bytes: int
    modified_seconds: float


class ObjectWriter(Protocol):
    """An object that is being written. It is visible, whole and durable when `finish` returns."""

    async def write(self, data: bytes) -> None:
        """Append bytes. May wait for earlier bytes to be sent, so that memory stays bounded."""

    async def finish(self) -> None:
        """Make the object durable and visible."""


class ObjectStore(Protocol):
    """The store. Keys are made of `[A-Za-z0-9._~%-]` and `/`; listings are in byte order of the keys.

    Every operation raises StoreUnavailableError or StoreAccessDeniedError if it fails.
    """

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object unless the key has one. At most one of all callers gets True, even after a crash.

        Either result means that the key has an object and that it is durable. False never proves that another caller
        created it: the library may have sent the request twice.
        """

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> StoredObject:
        """Read an object, or `length` bytes of it from `offset`; fewer at the end of the object.

        The returned object is durable: one that a power cut might lose is made durable first.

        Raises:
            ObjectNotFoundError: no object has the key.

        """

    def put(self, key: str) -> AbstractAsyncContextManager[ObjectWriter]:
        """Write an object of any size under a key that was never used. If it is not finished, it never appears."""

    async def replace(self, key: str, data: bytes) -> None:
        """Replace an object, or create it. Readers see the old bytes or the new ones, never a mixture.

        The new bytes are durable on return, and the store no longer returns the old ones.
        """

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[ObjectSummary]:
        """Return the first `limit` objects, in key order, whose keys begin with `prefix` and follow `start_after`.

        If some of them cannot be listed, StoreDamagedError says where the damage ends.

        Contains every object whose write was acknowledged before the call. A power cut may lose other objects that it
        contains, unless `get` has returned them.
        """

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object to a fresh key within the store.

        Returns:
            True if it was copied; False if the store does not support this and has written nothing.

        Raises:
            ObjectNotFoundError: no object has the source key.

        """

    async def delete(self, key: str) -> None:
        """Delete an object. It is not an error if no object has the key."""


@runtime_checkable
class LeavesFiles(Protocol):
    """A store in which an upload that was cut off leaves a file that is no object."""

    async def sweep_files(self, grace_seconds: float) -> int:
        """Remove files that are older than the grace and belong to no object or upload, and return their number.

        Raises:
            StoreError: the store cannot be used.

        """
