"""Previews of records. A pending write of LangGraph is shown as its task, channel and value."""

import json

from holdfast_server.console.preview.preview import Preview, preview_of
from holdfast_server.console.preview.tree import LIST, MAP, TEXT, Node

_MAX_NODES = 300
_WRITES, _REFERENCE = b"w", b"r"
_MAX_WRITES = 20


def preview_of_record(data: bytes, size_bytes: int) -> Preview:
    """Return the preview of a record.

    Args:
        data: its first bytes.
        size_bytes: its size.

    """
    return _of_writes(data, size_bytes) or preview_of(data, size_bytes, max_nodes=_MAX_NODES)


def _of_writes(data: bytes, size_bytes: int) -> Preview | None:
    """Return the preview of a record of LangGraph's adapter; None if it is none.

    It begins with "w", the size of a description in 4 bytes, the description in JSON, and the values; or with "r" and
    a reference to chunks in JSON.
    """
    try:
        if data[:1] == _REFERENCE:
            reference = json.loads(data[1:])
            chunks = int(reference["chunks"])
            return Preview(
                "writes of LangGraph in other records", size_bytes, len(data), (f"They are cut into {chunks} records.",)
            )
        if data[:1] != _WRITES:
            return None
        start = 5 + int.from_bytes(data[1:5])
        described = json.loads(data[5:start])
        task = Node(TEXT, str(described["task_id"]))
        writes: list[tuple[str, Node]] = [("task_id", task)]
        for index, channel, kind, size in described["writes"][:_MAX_WRITES]:
            value = data[start : start + size]
            start += size
            writes.append((f"[{int(index)}]", _write(str(channel), str(kind), value, int(size))))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    is_cut = len(described["writes"]) > _MAX_WRITES or len(data) < size_bytes
    notes = ("Only the first writes are shown.",) if is_cut else ()
    return Preview("writes of LangGraph", size_bytes, len(data), notes, tree=Node(LIST, "", tuple(writes), is_cut))


def _write(channel: str, kind: str, data: bytes, size_bytes: int) -> Node:
    found = preview_of(data, size_bytes, format_name="langgraph-checkpoint", part=f"value.{kind}", max_nodes=_MAX_NODES)
    value = found.tree or Node(TEXT, found.text or found.title)
    fields = (("channel", Node(TEXT, channel)), ("type", Node(TEXT, kind)), ("value", value))
    return Node(MAP, "", fields)
