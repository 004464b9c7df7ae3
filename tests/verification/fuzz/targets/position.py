"""The position from which a server resumes a broken upload: the client follows any text, or raises its own error."""

from holdfast import HoldfastError
from holdfast._core.payload import Outgoing

from tests.verification.fuzz.reader import Reader

_PARTS = {"": b"0" * 10, "b": b"", "c": b"xyz"}
_TOTAL = 13


def check(data: bytes) -> None:
    reader = Reader(data)
    received = reader.rest().decode(errors="replace") if reader.below(2) else f"{reader.byte()}:{reader.byte()}"
    try:
        messages = list(Outgoing(_PARTS).messages(received, None))
    except HoldfastError:
        return
    assert messages.pop().finish.size_bytes == _TOTAL
    part, byte = map(int, received.split(":")) if received else (0, 0)
    names = list(_PARTS)
    for message in messages:
        chunk = message.chunk
        index = names.index(chunk.part)
        assert index > part or (index == part and chunk.offset >= byte)
        assert chunk.data == _PARTS[chunk.part][chunk.offset :][: len(chunk.data)]
    # No byte is missing between those that the server has and those that it gets.
    owed = sum(
        max(0, len(_PARTS[name]) - (byte if index == part else 0)) for index, name in enumerate(names) if index >= part
    )
    assert sum(len(message.chunk.data) for message in messages) == owed
