"""How a client reaches the service: the connection, retries, deadlines and pages of every call."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

from holdfast._async import runtime
from holdfast._async.calls import Attempt, Caller
from holdfast._async.tokens import CurrentToken
from holdfast._async.watch_connections import WatchConnections
from holdfast._core import arguments, load_balancing, targets, tokens
from holdfast._core.answers import Tokens, answered
from holdfast._core.budget import Budget
from holdfast._core.load_balancing import LoadBalancing
from holdfast._core.retry import RetryBucket, RetryPolicy
from holdfast._core.seen_heads import SeenHeads, Watch
from holdfast._core.tls import Security, secured
from holdfast._embedded import extra

_Result = TypeVar("_Result")

_CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.enable_retries", 0),
    # Each client has its own connection, because a server limits the calls of each connection.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # The time that one connection may take to be made. gRPC skips an address that does not answer long before.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # While a call waits, ping a silent server and give up a server that stays silent. Servers of Holdfast accept at
    # most one ping every 5 seconds.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # The pings that measure bandwidth would exceed that limit when data queues up: use a wide window instead.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 << 20),
    ("grpc.max_receive_message_length", 8 << 20),
]


class Transport:
    """The connection of one client to its server, and what every call over it has in common.

    Args:
        target: host:port, any target that gRPC accepts, or `file:///path` for a folder.
        timeout: seconds for a logical call that sets no timeout of its own.
        policy: how to retry.
        tls: whether and how to use TLS; None to let the target say.
        token: the token that the calls send, or a function that returns one; None for none. A folder needs none.
        insecure: whether the token may be sent in plaintext to another machine.
        balancing: how calls go to the addresses of the target. A folder has none.

    Attributes:
        stub: the methods of the service, for calls that stream.
        watch_connections: the same for watches.
        heads: the newest head of each workflow that an answer has named.

    Raises:
        InvalidRequestError: the target or the policy is invalid, the timeout is out of range, a file of TLS cannot be
            used, or the token is not valid or would be sent in plaintext to another machine.
        ImportError: the target is a folder, and the service is not installed.
        TypeError: an argument has another type.

    """

    def __init__(
        self,
        target: str,
        timeout: float,
        policy: RetryPolicy,
        tls: object,
        *,
        token: tokens.Token | None = None,
        insecure: bool = False,
        balancing: LoadBalancing = "pick_first",
    ) -> None:
        self.heads = SeenHeads()
        self._timeout = arguments.seconds("timeout", timeout)
        kept = None if token is None else CurrentToken(token)
        target, security = secured(targets.checked(target), tls)
        if targets.is_folder(target):
            kept = None
        elif kept is not None and security is None:
            tokens.require_private(target, insecure=arguments.flag("insecure", insecure))
        connect = partial(_connection, target, security, load_balancing.checked(balancing))
        self._channels = connect()
        self.watch_connections = WatchConnections(self._channels, connect)
        self._policy = policy
        self._kept = kept
        self._caller = self.caller()
        self.stub: Any = self._channels.stub

    def open(self) -> None:
        """Open the channel if it is not open.

        Raises:
            ClientClosedError: the transport was closed.

        """
        self._channels.current()

    async def close(self) -> None:
        """Close the connection for good. Running and later calls end with `ClientClosedError`."""
        await self._channels.close()
        await self.watch_connections.close()

    def seconds(self, timeout: float | None) -> float:
        """Return the time for a logical call: its own, or the client's if it sets none."""
        return self._timeout if timeout is None else arguments.seconds("timeout", timeout)

    def budget(self, timeout: float | None) -> Budget:
        """Return the time for a logical call of several requests."""
        return Budget(self.seconds(timeout))

    async def call(
        self,
        method: str,
        send: Callable[[Attempt], Awaitable[_Result]],
        *,
        watch: Watch,
        timeout_seconds: float,
        request_id: str = "",
    ) -> _Result:
        """Send a request until it succeeds, fails for good, or its time is up.

        Args:
            method: the method's name in the service.
            send: makes one attempt.
            watch: from `heads`, begun for this call.
            timeout_seconds: for all attempts and pauses together.
            request_id: the idempotency key, for errors that the server did not make.

        Raises:
            HoldfastError: the error of the last attempt.

        """
        return await self._caller.call(
            method, send, watch=watch, timeout_seconds=timeout_seconds, request_id=request_id
        )

    def caller(self) -> Caller:
        """Return a caller whose retries are not counted with those of the client's calls.

        A watch has one: otherwise the many watches of a client would use up its retries when their server goes away,
        and most of them and all other calls would fail.
        """
        return Caller(self._channels, self._policy, RetryBucket(self._policy), self._kept)

    def border(self) -> AbstractContextManager[None]:
        """Convert the exceptions of a stream that goes on to errors of the SDK."""
        border: AbstractContextManager[None] = self._channels.border(trace_id="", request_id="")
        return border

    async def unary(self, method: str, request: Any, timeout: float | None) -> Any:
        """Send one request, with retries, and return its answer.

        Args:
            method: the method's name in the service.
            request: the request; its `attempt` is set if it has one.
            timeout: seconds for all attempts and pauses together; None for the client's own.

        Raises:
            HoldfastError: a subclass for each reason.

        """

        async def send(attempt: Attempt) -> Any:
            if "attempt" in request.DESCRIPTOR.fields_by_name:
                attempt.describe(request.attempt)
            response = await getattr(self.stub, method)(
                request, timeout=attempt.timeout_seconds, metadata=attempt.metadata
            )
            return answered(response)

        request_id = getattr(request, "request_id", "")
        return await self.call(
            method,
            send,
            watch=self.heads.watch(request),
            timeout_seconds=self.seconds(timeout),
            request_id=request_id,
        )

    async def pages(self, method: str, request: Any, budget: Budget) -> AsyncIterator[Any]:
        """Iterate over the pages of an answer, all of them within one budget of time.

        A page that deleted something renews the budget: a deletion of many goes on as long as it makes progress.

        Args:
            method: the method's name in the service.
            request: the first request; its `page_token` is changed.
            budget: the time for all pages.

        Raises:
            InternalError: the server gives the same page token twice.
            HoldfastError: a subclass for each other reason.

        """
        tokens = Tokens()
        while True:
            with budget.spending() as seconds:
                response = await self.unary(method, request, seconds)
            if getattr(response, "deleted", 0) > 0:
                budget.renew()
            yield response
            if not response.next_page_token:
                return
            tokens.require_new(response.next_page_token)
            request.page_token = response.next_page_token


def _connection(target: str, security: Security | None, balancing: LoadBalancing) -> Any:
    """Return the connection to a target: channels to a server, or a folder whose service runs in this process."""
    if targets.is_folder(target):
        extra.require()
        from holdfast._async.embedded import Folder  # noqa: PLC0415 - imports the server

        return Folder(target)
    # A server on this machine is never reached through a proxy, whatever the environment says.
    proxy = ("grpc.enable_http_proxy", int(not targets.is_loopback(target)))
    options = [*_CHANNEL_OPTIONS, proxy, *load_balancing.channel_options(balancing)]
    pipelines = load_balancing.takes_pipelines(balancing)
    return runtime.Channels(target, options, security, pipelines=pipelines)
