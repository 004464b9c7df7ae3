"""`from_target`: open an adapter by a server's address, with a client that the adapter closes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Self

from holdfast._async.client import AsyncClient
from holdfast._core.load_balancing import LoadBalancing
from holdfast._core.retry import RetryPolicy
from holdfast._core.tls import TLS
from holdfast._core.tokens import Token
from holdfast._sync.client import Client

if TYPE_CHECKING:
    from holdfast._encryption.keyring import Keyring


class AsyncFromTarget:
    """An adapter whose constructor takes an open `AsyncClient`, and settings as keyword arguments."""

    @classmethod
    @asynccontextmanager
    async def from_target(
        cls,
        target: str,
        *,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        producer: tuple[str, str] = ("", ""),
        tls: TLS | bool | None = None,
        token: Token | None = None,
        insecure: bool = False,
        load_balancing: LoadBalancing = "pick_first",
        encryption: "Keyring | None" = None,
        **settings: Any,
    ) -> AsyncIterator[Self]:
        """Open an adapter with a client of its own, which is closed at the end of the block.

        Args:
            target: host:port of the server, `grpcs://host:port` for TLS, any other target that gRPC takes, or a folder
                as `file:///path`, whose service then runs in this process.
            timeout: seconds for a call with all its retries.
            retry: how to retry; None for the client's default policy.
            producer: name and version of the calling program, stored with each checkpoint.
            tls: whether and how to use TLS: True or a `holdfast.TLS`. None: for a target grpcs://host:port, with the
                authorities of the system.
            token: the token that shows the server who calls, or a function that returns one.
            insecure: whether the token may be sent in plaintext to another machine.
            load_balancing: how calls go to the addresses of the target: "pick_first" or "round_robin"; see
                `holdfast.AsyncClient`.
            encryption: the keys that encrypt all that the adapter stores; see `holdfast.Keyring`.
            **settings: the keyword arguments of the constructor, such as `namespace`.

        Raises:
            InvalidRequestError: the target or `load_balancing` is not valid, the timeout is out of range, a file of
                TLS cannot be used, or the token is not valid or would be sent in plaintext to another machine.
            ImportError: the target is a folder, and the service is not installed.
            TypeError: an argument has another type, or no argument of the constructor has this name.
            ValueError: as for the constructor.

        """
        async with AsyncClient(
            target,
            timeout=timeout,
            retry=retry,
            producer=producer,
            tls=tls,
            token=token,
            insecure=insecure,
            load_balancing=load_balancing,
            encryption=encryption,
        ) as client:
            constructor: Any = cls
            yield constructor(client, **settings)


class FromTarget:
    """An adapter whose constructor takes an open `Client`, and settings as keyword arguments."""

    @classmethod
    @contextmanager
    def from_target(
        cls,
        target: str,
        *,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        producer: tuple[str, str] = ("", ""),
        tls: TLS | bool | None = None,
        token: Token | None = None,
        insecure: bool = False,
        load_balancing: LoadBalancing = "pick_first",
        encryption: "Keyring | None" = None,
        **settings: Any,
    ) -> Iterator[Self]:
        """Open an adapter with a client of its own, which is closed at the end of the block.

        Args:
            target: host:port of the server, `grpcs://host:port` for TLS, any other target that gRPC takes, or a folder
                as `file:///path`, whose service then runs in this process.
            timeout: seconds for a call with all its retries.
            retry: how to retry; None for the client's default policy.
            producer: name and version of the calling program, stored with each checkpoint.
            tls: whether and how to use TLS: True or a `holdfast.TLS`. None: for a target grpcs://host:port, with the
                authorities of the system.
            token: the token that shows the server who calls, or a function that returns one.
            insecure: whether the token may be sent in plaintext to another machine.
            load_balancing: how calls go to the addresses of the target: "pick_first" or "round_robin"; see
                `holdfast.AsyncClient`.
            encryption: the keys that encrypt all that the adapter stores; see `holdfast.Keyring`.
            **settings: the keyword arguments of the constructor, such as `namespace`.

        Raises:
            InvalidRequestError: the target or `load_balancing` is not valid, the timeout is out of range, a file of
                TLS cannot be used, or the token is not valid or would be sent in plaintext to another machine.
            ImportError: the target is a folder, and the service is not installed.
            TypeError: an argument has another type, or no argument of the constructor has this name.
            ValueError: as for the constructor.

        """
        with Client(
            target,
            timeout=timeout,
            retry=retry,
            producer=producer,
            tls=tls,
            token=token,
            insecure=insecure,
            load_balancing=load_balancing,
            encryption=encryption,
        ) as client:
            constructor: Any = cls
            yield constructor(client, **settings)
