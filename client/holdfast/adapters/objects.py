"""Python objects as JSON and back, by their types' names and their state: no pickle, and no code that the data chooses.

Values that JSON has stay as they are; subclasses of them come back as the plain ones. Well-known types of the standard
library have a form of their own. Of any other object the class is named and the state kept, as `__getstate__` gives it.
Only classes that the caller allows are written or restored, and none of their constructors is called. Objects that are
shared come back as equals, not as one; cycles are refused.
"""

import importlib
import json
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

Allowed = Callable[[str], bool]
_Inner = Callable[[Any], Any]

_TYPE = "$type"
_HEAP_TYPE = 1 << 9


def type_name(cls: type) -> str:
    """The name of a class: its module, a colon, its qualified name."""
    return f"{cls.__module__}:{cls.__qualname__}"


def encode(value: Any, allowed: Allowed) -> Any:
    """The JSON form of a value.

    Args:
        value: the value.
        allowed: tells by its name whether a class may be written.

    Raises:
        TypeError: it holds an object of a class that is not allowed, or that cannot be told by its state.
        RecursionError: it holds itself.

    """

    def inner(each: Any) -> Any:
        return encode(each, allowed)

    cls = type(value)
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, Enum)):
        return value
    if cls is list:
        return [inner(each) for each in value]
    if cls is dict and _TYPE not in value and all(type(key) is str for key in value):
        return {key: inner(each) for key, each in value.items()}
    name = type_name(cls)
    if name in _VALUES:
        return {_TYPE: name, "value": _VALUES[name][0](value, inner)}
    return _object(value, allowed)


def decode(value: Any, allowed: Allowed) -> Any:
    """The value of a JSON form.

    Args:
        value: what `encode` made.
        allowed: tells by its name whether a class may be restored.

    Raises:
        TypeError: it names a class that is not allowed, or none.
        ValueError, KeyError: it is none that `encode` made.
        ImportError: an allowed class's module is gone.

    """

    def inner(each: Any) -> Any:
        return decode(each, allowed)

    if isinstance(value, list):
        return [inner(each) for each in value]
    if not isinstance(value, dict):
        return value
    if _TYPE not in value:
        return {key: inner(each) for key, each in value.items()}
    name = value[_TYPE]
    if name in _VALUES:
        return _VALUES[name][1](value["value"], inner)
    return _restored(value, allowed)


def _object(value: Any, allowed: Allowed) -> Any:
    """The JSON form of a class, of a member of an enumeration, or of any other object."""
    if isinstance(value, type):
        return {_TYPE: "class", "class": _checked(value, allowed)}
    name = _checked(type(value), allowed)
    if isinstance(value, Enum):
        return {_TYPE: name, "member": value.name}
    return {_TYPE: name, "state": encode(_state(value), allowed)}


def _restored(form: Any, allowed: Allowed) -> Any:
    """What `_object` made the form of."""
    if form[_TYPE] == "class":
        return _class(form["class"], allowed)
    cls = _class(form[_TYPE], allowed)
    if issubclass(cls, Enum):
        return cls[form["member"]]
    restored: Any = object.__new__(cls)
    state = decode(form["state"], allowed)
    if state is None:
        return restored
    if hasattr(cls, "__setstate__"):
        restored.__setstate__(state)
        return restored
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for key, each in {**(attributes or {}), **(slots or {})}.items():
        object.__setattr__(restored, key, each)
    return restored


def _checked(cls: type, allowed: Allowed) -> str:
    """The name of a class that can be found again by it.

    Raises:
        TypeError: it is not allowed, or cannot be found.

    """
    name = type_name(cls)
    if name not in _BUILTINS and _class(name, allowed) is not cls:
        raise TypeError(f"{name!r} is the name of another class now")
    return name


def _class(name: str, allowed: Allowed) -> type:
    if name in _BUILTINS:
        return _BUILTINS[name]
    if not allowed(name):
        raise TypeError(f"class {name!r} is not allowed")
    module, _, qualname = name.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    if not isinstance(found, type) or type_name(found) != name:
        raise TypeError(f"no class is found by the name {name!r}")
    return found


def _state(value: Any) -> Any:
    """What tells one object of a class from another.

    Raises:
        TypeError: there is more to it than its attributes.

    """
    cls: Any = type(value)
    layout = next(base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE)
    own_ways = cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__
    if layout is not object or own_ways or hasattr(cls, "__getnewargs__") or hasattr(cls, "__getnewargs_ex__"):
        raise TypeError(f"an object of {type_name(cls)!r} has no JSON form")
    state = value.__getstate__()
    if isinstance(state, dict):
        # Left there by typing, where a generic class was called with its arguments.
        return {key: each for key, each in state.items() if key != "__orig_class__"}
    return state


def _pairs(value: Any, inner: _Inner) -> Any:
    return [[inner(key), inner(each)] for key, each in value.items()]


def _from_pairs(value: Any, inner: _Inner) -> dict[Any, Any]:
    return {inner(key): inner(each) for key, each in value}


def _sorted(value: Any, inner: _Inner) -> Any:
    return sorted((inner(each) for each in value), key=json.dumps)


def _items(value: Any, inner: _Inner) -> Any:
    return [inner(each) for each in value]


_BUILTINS: dict[str, type] = {
    type_name(cls): cls
    for cls in (object, type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
}
# The forms of well-known types: to JSON and back, each given the value and what to do with values inside of it.
_VALUES: dict[str, tuple[Callable[[Any, _Inner], Any], Callable[[Any, _Inner], Any]]] = {
    type_name(cls): form
    for cls, form in {
        dict: (_pairs, _from_pairs),
        OrderedDict: (_pairs, lambda value, inner: OrderedDict(_from_pairs(value, inner))),
        Counter: (_pairs, lambda value, inner: Counter(_from_pairs(value, inner))),
        defaultdict: (
            lambda value, inner: [inner(value.default_factory), _pairs(value, inner)],
            lambda value, inner: defaultdict(inner(value[0]), _from_pairs(value[1], inner)),
        ),
        tuple: (_items, lambda value, inner: tuple(map(inner, value))),
        set: (_sorted, lambda value, inner: set(map(inner, value))),
        frozenset: (_sorted, lambda value, inner: frozenset(map(inner, value))),
        deque: (
            lambda value, inner: [value.maxlen, _items(value, inner)],
            lambda value, inner: deque(map(inner, value[1]), value[0]),
        ),
        bytes: (lambda value, _: b64encode(value).decode(), lambda value, _: b64decode(value, validate=True)),
        bytearray: (
            lambda value, _: b64encode(value).decode(),
            lambda value, _: bytearray(b64decode(value, validate=True)),
        ),
        complex: (lambda value, _: [value.real, value.imag], lambda value, _: complex(*value)),
        datetime: (lambda value, _: value.isoformat(), lambda value, _: datetime.fromisoformat(value)),
        date: (lambda value, _: value.isoformat(), lambda value, _: date.fromisoformat(value)),
        time: (lambda value, _: value.isoformat(), lambda value, _: time.fromisoformat(value)),
        timedelta: (
            lambda value, _: [value.days, value.seconds, value.microseconds],
            lambda value, _: timedelta(*value),
        ),
        Decimal: (lambda value, _: str(value), lambda value, _: Decimal(value)),
        UUID: (lambda value, _: str(value), lambda value, _: UUID(value)),
    }.items()
}
