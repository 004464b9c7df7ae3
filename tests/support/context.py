"""A gRPC context without a connection: its metadata, and the status with which the service aborted it."""

import grpc
from google.protobuf.message import Message


class Context:
    """A call's context. `ended` has code, message and trailing metadata if the call was aborted."""

    def __init__(self, metadata: tuple[tuple[str, str | bytes], ...] = (), seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._metadata = metadata
        self.initial: dict[str, str] = {}
        self.ended: tuple[grpc.StatusCode, str, dict[str, bytes]] | None = None

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    def time_remaining(self) -> float | None:
        return self._seconds

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.initial.update(metadata)

    async def write(self, message: Message) -> None:
        message.SerializeToString()

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: tuple = ()) -> None:
        self.ended = (code, details, dict(trailing_metadata))
        raise grpc.aio.AbortError
