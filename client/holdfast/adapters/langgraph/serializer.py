"""The serializer of a saver: LangGraph's own, which reads the types that a graph puts into its state, but runs nothing.

LangGraph's default imports whatever module a checkpoint names and calls whatever it names there. This one calls a
class only if LangGraph could have written an instance of it: a model, a dataclass, an enum, a named tuple, or a
subclass of the plain types; and only if the program itself has imported its module. Everything else comes back as the
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
# How LangGraph's serializer tells what it writes: by methods, else by base classes.
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
    """Return a serializer. Neither pickles.

    Args:
        strict: restore only types that LangGraph knows as safe, and those that are allowed by name; None: if the
            environment says so (`LANGGRAPH_STRICT_MSGPACK`), as LangGraph does.

    """
    if strict is None:
        strict = os.environ.get(_STRICT, "").lower() in ("1", "true", "yes")
    return JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None) if strict else DataSerializer()


class DataSerializer(JsonPlusSerializer):
    """Restores the data types of the program beside those that are allowed by name."""

    def __init__(self, allowed: Iterable[Any] = ()) -> None:
        self._allowed = tuple(allowed)
        self._found: frozenset[_Named] = frozenset()
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=self._allowed or None)
        self._reader = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=self._allowed or None)

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[Any]) -> "DataSerializer":
        """As the base class has it."""
        return DataSerializer((*self._allowed, *extra_allowlist))

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """As the base class has it."""
        kind, content = data
        if kind == "msgpack":
            data_types = {each for each in _named_in(content) if _is_data(*each)}
            if not data_types <= self._found:
                self._found |= data_types
                allowed = (*self._allowed, *self._found)
                self._reader = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=allowed)
        return self._reader.loads_typed(data)


def _named_in(content: bytes) -> set[_Named]:
    """What a serialised value names, at any depth."""
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
    """Whether a name means a class whose instances LangGraph writes, in a module that the program has imported."""
    named = vars(sys.modules[module]).get(name) if module in sys.modules else None
    # A module that only uses a class is not where LangGraph says that it lies.
    if not isinstance(named, type) or (named.__module__, named.__name__) != (module, name):
        return False
    has_method = any(callable(getattr(named, method, None)) for method in _METHODS)
    return has_method or is_dataclass(named) or issubclass(named, _BASES)
