"""Python objects as JSON and back, by their types' names and their state: no pickle, and no code that the data chooses.

Values that JSON has stay as they are; subclasses of text and numbers come back as the plain ones. Well-known types of
the standard library have a form of their own. Of any other object the class is named and the state kept, as
`__getstate__` gives it, besides what it holds as a container or an exception. Only classes that the caller allows are
written or restored, and none of their constructors is called; a member of an enumeration is looked up by its name, or
by its value if no name finds it. Objects that are shared come back as equals, not as one; cycles are refused.
"""

import json
import re
from collections import defaultdict, deque
from collections.abc import Iterable
from enum import Enum
from typing import Any

from holdfast.adapters.object_classes import BUILTINS, Allowed, find_class, layout_of, require_plain
from holdfast.adapters.object_errors import NotAllowedError, NotKeptError, Path, TooDeepError
from holdfast.adapters.object_forms import CONTAINERS, LARGEST_INT, SCALARS, type_name

__all__ = ["NotAllowedError", "NotKeptError", "TooDeepError", "decode", "dumps", "encode", "type_name"]

# How deep a form may be nested: a limit of its own, so that what a process saves can be loaded by any other, however
# much of its stack is in use.
MAX_DEPTH = 200
# What is shared is written in each of its places, so that a small value may have a form without end.
MOST_VALUES = 10_000_000

_TYPE = "$type"
# JSON makes one character of such a pair.
_SPLIT_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def encode(value: Any, allowed: Allowed, *, root: str = "value") -> Any:
    """The JSON form of a value.

    Args:
        value: the value.
        allowed: tells by its name whether a class may be written.
        root: the value's name in errors.

    Raises:
        NotAllowedError: it holds an object of a class that is not allowed.
        TooDeepError: it is nested deeper than 200 levels of JSON, or holds itself.
        NotKeptError: it holds an object that cannot be restored from its state, or the object's own code failed.

    """
    return _Encoder(allowed).of(value, (None, root), 0)


def decode(value: Any, allowed: Allowed, *, root: str = "value") -> Any:
    """The value of a JSON form.

    Args:
        value: what `encode` made.
        allowed: tells by its name whether a class may be restored.
        root: the value's name in errors.

    Raises:
        NotAllowedError: it names a class that is not allowed.
        NotKeptError: it is none that `encode` made, a class that it names is gone, or the class's own code failed.

    """
    return _Decoder(allowed).of(value, (None, root))


def dumps(value: Any, allowed: Allowed, *, root: str = "value") -> str:
    """The JSON text of a value, which was read back and found to be the same.

    Args:
        value: the value.
        allowed: tells by its name whether a class may be written.
        root: the value's name in errors.

    Raises:
        NotKeptError: as for `encode` and `decode`, or it would be read back as another value.

    """
    form = encode(value, allowed, root=root)
    text = json.dumps(form, allow_nan=False)
    again = encode(decode(json.loads(text), allowed, root=root), allowed, root=root)
    if json.dumps(again) != text and (path := _difference(form, again, (None, root))) is not None:
        raise NotKeptError(path, "it would come back as another value")
    return text


class _Encoder:
    """Makes forms of values."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._left = MOST_VALUES

    def of(self, value: Any, path: Path, depth: int) -> Any:  # noqa: PLR0911 - one for each kind
        if depth > MAX_DEPTH:
            raise TooDeepError(path, f"it is nested deeper than {MAX_DEPTH} levels of JSON, or holds itself")
        self._left -= 1
        if self._left < 0:
            raise NotKeptError(path, f"it is one of more than {MOST_VALUES} values, in each place that shares one")
        cls = type(value)
        if value is None or cls is bool:
            return value
        if isinstance(value, str | int | float) and not isinstance(value, Enum):
            return _scalar(value, path)
        if cls is list:
            return self._items(value, path, depth)
        if cls is dict and _TYPE not in value and all(type(key) is str for key in value):
            form = {}
            for key, each in value.items():
                form[_scalar(key, path)] = self.of(each, (path, (key,)), depth + 1)
            return form
        name = type_name(cls)
        if name in SCALARS:
            return {_TYPE: name, "value": self.of(SCALARS[name][0](value), path, depth + 1)}
        if name in CONTAINERS:
            return {_TYPE: name, "value": self._content(value, cls, path, depth + 1)}
        return self._object(value, path, depth)

    def _object(self, value: Any, path: Path, depth: int) -> Any:
        """The form of a class, of a member of an enumeration, or of any other object."""
        if isinstance(value, type):
            return {_TYPE: "class", "class": self._checked(value, path)}
        cls = type(value)
        name = self._checked(cls, path)
        if isinstance(value, Enum):
            if cls.__members__.get(value.name) is value:
                return {_TYPE: name, "member": value.name}
            return {_TYPE: name, "member_value": self.of(value.value, (path, ".value"), depth + 1)}
        layout = layout_of(cls)
        form: dict[str, Any] = {_TYPE: name}
        if issubclass(layout, BaseException):
            reduced = layout.__reduce__(value)
            form["args"] = self._items(reduced[1], (path, ".args"), depth + 1)
            state = reduced[2] if len(reduced) > 2 else None
        else:
            require_plain(cls, layout, path)
            state = _state(value, path)
            if layout is not object:
                form["content"] = self._content(value, layout, path, depth + 1)
        if type(state) is dict and _TYPE not in state and all(type(key) is str for key in state):
            form["state"] = {}
            for key, each in state.items():
                form["state"][key] = self.of(each, (path, f".{key}"), depth + 2)
        else:
            form["state"] = self.of(state, path, depth + 1)
        return form

    def _content(self, value: Any, layout: Any, path: Path, depth: int) -> Any:
        """The form of what a container holds, by its own methods, whichever its subclass may have."""
        if issubclass(layout, dict):
            pairs = []
            for key, each in layout.items(value):
                pairs.append([self.of(key, path, depth + 2), self.of(each, (path, (key,)), depth + 2)])
            return [self.of(value.default_factory, path, depth + 1), pairs] if layout is defaultdict else pairs
        items = self._items(layout.__iter__(value), path, depth)
        if layout is deque:
            return [value.maxlen, items]
        return sorted(items, key=json.dumps) if layout in (set, frozenset) else items

    def _items(self, values: Iterable[Any], path: Path, depth: int) -> list[Any]:
        form = []
        for index, each in enumerate(values):
            form.append(self.of(each, (path, (index,)), depth + 1))
        return form

    def _checked(self, cls: type, path: Path) -> str:
        """The name of a class that can be found again by it."""
        name = type_name(cls)
        if name not in BUILTINS and find_class(name, self._allowed, path) is not cls:
            raise NotKeptError(path, f"{name!r} is the name of another class now")
        return name


class _Decoder:
    """Makes values of forms, the innermost first."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed

    def of(self, form: Any, path: Path) -> Any:
        if isinstance(form, list):
            return [self.of(each, (path, (index,))) for index, each in enumerate(form)]
        if not isinstance(form, dict):
            return form
        if _TYPE not in form:
            return {key: self.of(each, (path, (key,))) for key, each in form.items()}
        name = form[_TYPE]
        if not isinstance(name, str):
            raise NotKeptError(path, f"a type's name is {name!r:.60}, expected text")
        if name == "class":
            return find_class(form.get("class"), self._allowed, path)
        inner = {key: self.of(each, path) for key, each in form.items() if key != _TYPE}
        is_own = name not in SCALARS and name not in CONTAINERS
        cls = find_class(name, self._allowed, path) if is_own else None
        try:
            return _restored(cls, inner) if is_own else _known(name, inner["value"])
        except Exception as error:
            raise NotKeptError(path, f"{name!r} cannot be restored: {error!r}") from error


def _known(name: str, content: Any) -> Any:
    """The value of a well-known type, of its content."""
    if name in SCALARS:
        return SCALARS[name][1](content)
    base, make = CONTAINERS[name]
    return make(base, content)


def _restored(cls: Any, form: dict[str, Any]) -> Any:
    """The object of a class that an encoder made the form of, whose inner values are restored already."""
    if issubclass(cls, Enum):
        return cls[form["member"]] if "member" in form else cls(form["member_value"])
    layout: Any = layout_of(cls)
    state = form["state"]
    if issubclass(layout, BaseException):
        # The built-in class's own, which set nothing but the arguments.
        restored = layout.__new__(cls, *form["args"])
        layout.__init__(restored, *form["args"])
    elif layout is object:
        restored = object.__new__(cls)
    else:
        restored = CONTAINERS[type_name(layout)][1](cls, form["content"])
    if state is None:
        return restored
    if hasattr(cls, "__setstate__") and not issubclass(layout, BaseException):
        restored.__setstate__(state)
        return restored
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for key, each in {**(attributes or {}), **(slots or {})}.items():
        object.__setattr__(restored, key, each)
    return restored


def _state(value: Any, path: Path) -> Any:
    try:
        state = value.__getstate__()
    except Exception as error:
        raise NotKeptError(path, f"its __getstate__ failed: {error!r}") from error
    if isinstance(state, dict):
        # Left there by typing, where a generic class was called with its arguments.
        return {key: each for key, each in state.items() if key != "__orig_class__"}
    return state


def _scalar(value: Any, path: Path) -> Any:
    """The form of text or a number, which a reader of JSON makes the same of."""
    if isinstance(value, str):
        if not value.isascii() and _SPLIT_PAIR.search(value):
            raise NotKeptError(
                path, "its text has the two surrogates of one character, and would not be read back as an equal"
            )
        return value
    if isinstance(value, int):
        if not -LARGEST_INT < value < LARGEST_INT:
            raise NotKeptError(path, "its number has more than 4300 digits")
        return value
    if value - value == 0:
        return value
    return {_TYPE: type_name(float), "value": float.__repr__(value)}


def _difference(one: Any, other: Any, path: Path) -> Path:
    """The path of the first place where two forms differ; None where there is none.

    What a class's own `__setstate__` makes of its state is the class's own affair.
    """
    if isinstance(one, dict) and isinstance(other, dict) and list(one) == list(other):
        if _TYPE in one and one[_TYPE] == other[_TYPE] and _has_hook(one[_TYPE]):
            return None
        hidden = ("value", "state", "content") if _TYPE in one else ()
        pairs = [(one[key], other[key], path if key in hidden else (path, (key,))) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(each, other[index], (path, (index,))) for index, each in enumerate(one)]
    else:
        return None if one == other and type(one) is type(other) else path
    return next((found for pair in pairs if (found := _difference(*pair)) is not None), None)


def _has_hook(name: str) -> bool:
    return (
        name not in SCALARS
        and name not in CONTAINERS
        and name != "class"
        and hasattr(find_class(name, lambda _: True, None), "__setstate__")
    )
