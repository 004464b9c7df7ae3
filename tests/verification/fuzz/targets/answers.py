"""Answers of a server: the client turns any message into a value or one of its own errors."""

from collections.abc import AsyncIterator

from holdfast import AsyncClient, Format, HoldfastError
from holdfast.v1 import checkpoint_service_pb2 as api

from tests.support.inline_loop import run
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader

_SERVICE = api.DESCRIPTOR.services_by_name["CheckpointService"]


def check(data: bytes) -> None:
    reader = Reader(data)
    run(_call(reader, reader.below(6)))


async def _call(reader: Reader, which: int) -> None:
    async with AsyncClient("none.invalid:1") as client:
        client._transport.stub = _Stub(reader)
        try:
            if which == 0:
                saved = await client.save("n", "w", b"data", format=Format("f", 1))
                assert saved.created.year
            elif which == 1:
                loaded = await client.load("n", "w")
                assert loaded.parts.keys() == {part.name for part in loaded.info.parts}
            elif which == 2:
                async for each in client.list("n", "w"):
                    assert each.created.year
            elif which == 3:
                async for info in client.list_workflows("n"):
                    assert info.updated.year
            elif which == 4:
                await client.validate("n", "w")
            else:
                await client.resume("n", "w", format=Format("f", 1), fallback=True)
        except HoldfastError:
            pass


def _named(response: object) -> object:
    """Set the ids that were requested: an answer with other ids is refused at once."""
    single = [getattr(response, name, None) for name in ("checkpoint", "last_good")]
    for each in (*filter(None, single), *getattr(response, "checkpoints", ())):
        each.namespace, each.workflow_id = "n", "w"
        each.checkpoint_id, each.revision = each.checkpoint_id or "c", max(1, each.revision)
    for each in getattr(response, "workflows", ()):
        each.namespace = "n"
    return response


class _Stub:
    """A stub that answers each call with any message while choices are left, then with an empty one."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getattr__(self, method: str) -> object:
        if method == "LoadStream":
            return lambda request, **_: _Stream(self._messages())

        async def answer(request: object, **_: object) -> object:
            response = getattr(api, _SERVICE.methods_by_name[method].output_type.name)()
            return _named(fill(response, self._reader))

        return answer

    async def _messages(self) -> AsyncIterator[object]:
        while not self._reader.is_used_up:
            yield fill(api.LoadStreamResponse(), self._reader)
        # A stream that ends early would be retried forever.
        yield api.LoadStreamResponse(chunk={"part": "none of the header's"})


class _Stream:
    """A stream of messages with the interface of a gRPC call."""

    def __init__(self, messages: AsyncIterator[object]) -> None:
        self._messages = messages

    def __aiter__(self) -> AsyncIterator[object]:
        return self._messages

    def cancel(self) -> None:
        pass
