"""The two clients of a saver, of which the synchronous one is opened by its first use."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

from holdfast._async.client import AsyncClient
from holdfast._sync.client import Client


class Clients:
    """The clients of a saver and of its clones: an asynchronous one, and a synchronous one that its first use opens."""

    def __init__(self, target: str, options: Mapping[str, Any]) -> None:
        self._target = target
        self._options = options
        self._lock = Lock()
        self._is_open = False
        self._asynchronous: AsyncClient | None = None
        self._synchronous: Client | None = None

    def open(self, *, asynchronous: bool) -> None:
        """Allow the synchronous client, and open the asynchronous one if asked for."""
        self._is_open = True
        if asynchronous:
            self._asynchronous = AsyncClient(self._target, **self._options)

    async def aclose(self) -> None:
        """Close both clients."""
        client, self._asynchronous = self._asynchronous, None
        self.close()
        if client is not None:
            await client.close()

    def close(self) -> None:
        """Close the synchronous client."""
        with self._lock:
            self._is_open = False
            client, self._synchronous = self._synchronous, None
        if client is not None:
            client.close()

    @property
    def asynchronous(self) -> AsyncClient:
        """The asynchronous client.

        Raises:
            RuntimeError: it is not open.

        """
        if self._asynchronous is None:
            raise RuntimeError("the asynchronous methods work only within `async with`")
        return self._asynchronous

    @property
    def synchronous(self) -> Client:
        """The synchronous client.

        Raises:
            RuntimeError: the saver is not open.

        """
        with self._lock:
            if not self._is_open:
                raise RuntimeError("the saver works only within `with` or `async with`")
            if self._synchronous is None:
                self._synchronous = Client(self._target, **self._options)
            return self._synchronous
