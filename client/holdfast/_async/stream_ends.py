"""The status with which a server ends a stream that the client is still sending.

If a message cannot be sent any more, gRPC's asyncio library puts an error of its own in the place of the status that it
has received (grpc/grpc#36066). That would turn each refusal into a broken connection, which is retried.
"""

from typing import Any

import grpc

from holdfast._core.statuses import SEND_FAILED


class StreamEnd:
    """How the server of a stream has ended it.

    Args:
        call: the stream, just started. Streams of an embedded service have no callbacks, and never break.

    """

    def __init__(self, call: Any) -> None:
        self._status: list[grpc.aio.AioRpcError] = []
        if isinstance(call, grpc.aio.Call):
            call.add_done_callback(self._note)

    def error(self, raised: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Return the server's status as an error if it is kept and gRPC has replaced it, otherwise `raised`.

        Args:
            raised: what gRPC has raised.

        """
        # Drop it here: a kept error would be part of a cycle with its traceback.
        return self._status.pop() if self._status and raised.details() == SEND_FAILED else raised

    def _note(self, call: Any) -> None:
        """Keep the status of a call. gRPC calls this when it first knows it."""
        keeping = self._keep(call)
        try:
            # It does not wait: the status is there.
            keeping.send(None)
        except StopIteration:
            return
        keeping.close()

    async def _keep(self, call: Any) -> None:
        code, details = await call.code(), await call.details()
        if code is not grpc.StatusCode.OK and details != SEND_FAILED:
            metadata = await call.initial_metadata(), await call.trailing_metadata()
            self._status = [grpc.aio.AioRpcError(code, *metadata, details, await call.debug_error_string())]
