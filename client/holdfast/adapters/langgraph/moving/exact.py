"""A serializer that keeps what it cannot restore: objects stay the bytes that the graph's program wrote.

The program that moves threads need not know the classes of their values. LangGraph's serializer writes an object as an
extension of msgpack. This serializer leaves extensions as they are, so that it imports no module, calls no class and
writes the same bytes again.
"""

from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import EXT_DELTA_SNAPSHOT, JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from holdfast.adapters.langgraph.serializer import DataSerializer


class ExactSerializer(JsonPlusSerializer):
    """LangGraph's serializer, but objects are not restored and come back as they were written."""

    def __init__(self) -> None:
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=None)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Read a value from its type and bytes."""
        kind, content = data
        return _unpacked(content) if kind == "msgpack" else super().loads_typed(data)


def exact(serde: Any) -> Any:
    """Return a serializer that reads what another one reads, without restoring objects where that is possible.

    It is not for serializers with pickle, and for those of others: they are used as they are.
    """
    if isinstance(serde, EncryptedSerializer):
        return EncryptedSerializer(serde.cipher, exact(serde.serde))
    if type(serde) in (JsonPlusSerializer, DataSerializer) and not serde.pickle_fallback:
        return ExactSerializer()
    return serde


def _unpacked(content: bytes) -> Any:
    return ormsgpack.unpackb(content, ext_hook=_kept, option=ormsgpack.OPT_NON_STR_KEYS)


def _kept(code: int, content: bytes) -> Any:
    # Savers treat a snapshot of a delta channel in a way of its own.
    if code == EXT_DELTA_SNAPSHOT:
        return _DeltaSnapshot(_unpacked(content))
    return ormsgpack.Ext(code, content)
