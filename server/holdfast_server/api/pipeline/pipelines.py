"""The open pipelines of a server: how many there may be, and that they end with the server."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from holdfast_server import telemetry
from holdfast_server.api import failures
from holdfast_server.api.call_context import CallerGoneError, StreamContext
from holdfast_server.api.calls import Calls
from holdfast_server.api.pipeline.pipeline import METHOD, Pipeline
from holdfast_server.api.service import CheckpointService
from holdfast_server.protocol.errors import Reason


class Pipelines:
    """The open pipelines of a server.

    Args:
        service: serves the calls of the pipelines.
        calls: admits them.
        age_seconds: time after which a pipeline says that it goes away; it varies by pipeline.

    """

    def __init__(self, service: CheckpointService, calls: Calls, *, age_seconds: float) -> None:
        self._service = service
        self._calls = calls
        self._admission = calls.admission
        self._age_seconds = age_seconds
        self._open: set[Pipeline] = set()

    def drain(self) -> None:
        """Say on every pipeline that it goes away. Calls in flight continue as `Calls.drain` lets them."""
        for pipeline in self._open:
            pipeline.drain()

    async def serve(self, messages: AsyncIterator[bytes], stream: StreamContext) -> None:
        """Serve a pipeline.

        Args:
            messages: the messages of the caller, as bytes.
            stream: the stream, whose messages are bytes as well.

        Raises:
            CallFailedError: the pipeline was refused, or ended because of its caller.
            CallerGoneError: the caller has vanished.

        """
        try:
            with self._admission.pipeline(stream.peer) as permit:
                # Each of its calls finds its principal again, since the credentials may expire.
                await self._calls.principal_of(stream)
                permit.require_capacity()
                pipeline = Pipeline(self._service, permit, stream, self._age_seconds)
                try:
                    with self._opened(pipeline):
                        await pipeline.serve(messages)
                finally:
                    permit.release()
                    await pipeline.settle()
        except CallerGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - every failure becomes a status here
            trace_id = telemetry.trace_id_of(stream.headers)
            failure = failures.to_holdfast_error(error, trace_id=trace_id, is_draining=self._admission.is_draining)
            if self._calls.audit is not None and failure.reason is Reason.UNAUTHENTICATED:
                self._calls.audit.refused(
                    "Pipeline", peer=stream.peer, principal="", reason=failure.reason, trace_id=trace_id
                )
            raise failures.failed_call(failure, method=METHOD, request_id="", trace_id=trace_id) from None

    @contextmanager
    def _opened(self, pipeline: Pipeline) -> Iterator[None]:
        self._open.add(pipeline)
        telemetry.PIPELINES.add(1)
        try:
            yield
        finally:
            telemetry.PIPELINES.add(-1)
            self._open.discard(pipeline)
