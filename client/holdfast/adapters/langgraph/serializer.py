"""The serializer of a saver: LangGraph's own, restricted to data types that the program has imported.

LangGraph's default imports any module that a checkpoint names and calls anything that it names there. This serializer
calls a class only if LangGraph could have written an instance of it (a model, a dataclass, an enum, a named tuple or a
subclass of the plain types), and only if the program itself has imported the module. Everything else comes back as the
plain data that was stored, as with `LANGGRAPH_STRICT_MSGPACK=true`.
"""

import os
import pathlib
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import is_dataclass
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

_STRICT = "LANGGRAPH_STRICT_MSGPACK"
# LangGraph's serializer recognises the objects that it can write by these methods, otherwise by these base classes.
_METHODS = ("model_dump", "get_secret_value", "dict", "_asdict")
_BASES = (
    Enum,
    pathlib.PurePath,
    UUID,
    Decimal,
    set,
    frozenset,
    deque,
    date,
    time,
    timedelta,
    tzinfo,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
)

# A module and the name of a class in it.
_Named = tuple[str, str]


def serializer(*, strict: bool | None) -> JsonPlusSerializer:
    """Return a serializer, which never uses pickle.

    Args:
        strict: restore only types that LangGraph knows as safe, and those that are allowed by name; None: as the
            environment variable `LANGGRAPH_STRICT_MSGPACK` says, like LangGraph.

    """
    if strict is None:
        strict = os.environ.get(_STRICT, "").lower() in ("1", "true", "yes")
    return JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None) if strict else DataSerializer()


class DataSerializer(JsonPlusSerializer):
    """A serializer that restores data types that the program has imported, and those that are allowed by name."""

    def __init__(self, allowed: Iterable[Any] = ()) -> None:
        self._allowed = tuple(allowed)
        self._found: frozenset[_Named] = frozenset()
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=self._allowed or None)
        self._reader = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=self._allowed or None)

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[Any]) -> "DataSerializer":
        """Return a serializer that allows further types by name."""
        return DataSerializer((*self._allowed, *extra_allowlist))

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Restore a value from its type and bytes."""
        kind, content = data
        if kind == "msgpack":
            data_types = {named for named in _named_in(content) if _is_data(*named)}
            if not data_types <= self._found:
                self._found |= data_types
                allowed = (*self._allowed, *self._found)
                self._reader = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=allowed)
        return self._reader.loads_typed(data)


def _named_in(content: bytes) -> set[_Named]:
    """Return the modules and names in a serialized value, at any depth."""
    found: set[_Named] = set()

    def collect(_code: int, data: bytes) -> None:
        try:
            inner = ormsgpack.unpackb(data, ext_hook=collect, option=ormsgpack.OPT_NON_STR_KEYS)
        except ormsgpack.MsgpackDecodeError:
            return
        if isinstance(inner, list) and len(inner) > 1 and isinstance(inner[0], str) and isinstance(inner[1], str):
            found.add((inner[0], inner[1]))

    ormsgpack.unpackb(content, ext_hook=collect, option=ormsgpack.OPT_NON_STR_KEYS)
    return found


def _is_data(module: str, name: str) -> bool:
    """Return whether a name is that of a class whose instances LangGraph writes, in an imported module."""
    named = vars(sys.modules[module]).get(name) if module in sys.modules else None
    # LangGraph names the module that defines a class, never one that imports it.
    if not isinstance(named, type) or (named.__module__, named.__name__) != (module, name):
        return False
    has_method = any(callable(getattr(named, method, None)) for method in _METHODS)
    return has_method or is_dataclass(named) or issubclass(named, _BASES)
