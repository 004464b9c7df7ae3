"""The connection of a client to its server: what every call is sent through."""

from collections.abc import AsyncIterator
from typing import Any, Self

from holdfast._async import runtime
from holdfast._async.calls import Caller, Try
from holdfast._core import arguments, targets
from holdfast._core.answers import Tokens, answered
from holdfast._core.budget import Budget
from holdfast._core.retry import RetryBucket, RetryPolicy
from holdfast.v1 import checkpoint_pb2

_CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.enable_retries", 0),
    # A connection of its own for each client, since a server bounds the calls of each.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # What a connection may take to be made; an address that does not answer is passed over long before.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # While a call waits, a server that is silent is asked, and given up if it stays silent. Servers of Holdfast refuse
    # to be asked more often than every 5 seconds.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Pings that measure a connection would meet that limit where data queues up: a wide window instead.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 << 20),
    ("grpc.max_receive_message_length", 8 << 20),
]


class AsyncConnection:
    """A connection, which lives until it is closed, at the latest by the end of its `async with`."""

    def __init__(
        self,
        target: str,
        *,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        producer: tuple[str, str] = ("", ""),
    ) -> None:
        self._timeout = arguments.seconds("timeout", timeout)
        name, version = arguments.instance("producer", producer, tuple)
        self._producer = arguments.request(checkpoint_pb2.Producer, name=name, version=version)
        policy = RetryPolicy() if retry is None else arguments.instance("retry", retry, RetryPolicy)
        target = targets.checked(target)
        # What listens on this machine is never behind a proxy, whatever the environment says.
        proxy = ("grpc.enable_http_proxy", int(not targets.is_loopback(target)))
        self._channels = runtime.Channels(target, [*_CHANNEL_OPTIONS, proxy])
        self._stub: Any = runtime.Methods(self._channels)
        self._caller = Caller(self._channels, policy, RetryBucket(policy))

    async def __aenter__(self) -> Self:
        self._channels.current()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client for good. Calls that run end with `ClientClosedError`, as every later call does."""
        await self._channels.close()

    async def _unary(self, method: str, request: Any, timeout: float | None) -> Any:
        async def send(attempt: Try) -> Any:
            if "attempt" in request.DESCRIPTOR.fields_by_name:
                request.attempt.CopyFrom(attempt.attempt)
            response = await getattr(self._stub, method)(
                request, timeout=attempt.timeout_seconds, metadata=attempt.metadata
            )
            return answered(response)

        request_id = getattr(request, "request_id", "")
        return await self._caller.call(method, send, timeout_seconds=self._time(timeout), request_id=request_id)

    async def _pages(self, method: str, request: Any, budget: Budget) -> AsyncIterator[Any]:
        """The answers to a request, page by page, all of them within one budget of time.

        A page that has changed something begins it again: a deletion of many goes on as long as it gets somewhere.
        """
        tokens = Tokens()
        while True:
            with budget.spending() as seconds:
                response = await self._unary(method, request, seconds)
            if getattr(response, "deleted", 0) > 0:
                budget.renew()
            yield response
            if not response.next_page_token:
                return
            tokens.require_new(response.next_page_token)
            request.page_token = response.next_page_token

    def _budget(self, timeout: float | None) -> Budget:
        return Budget(self._time(timeout))

    def _time(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else arguments.seconds("timeout", timeout)
