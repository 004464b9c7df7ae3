"""Encode values as JSON forms and decode them. The package's docstring describes the rules."""

import json
import re
from collections import defaultdict, deque
from collections.abc import Iterable
from enum import Enum
from typing import Any

from holdfast.adapters.objects.classes import BUILTINS, Allowed, find_class, layout_of, require_plain
from holdfast.adapters.objects.errors import Path, TooDeepError, UnsupportedValueError
from holdfast.adapters.objects.forms import CONTAINERS, LARGEST_INT, SCALARS, type_name

# The maximum nesting of a form. It does not depend on the free stack of the process that saves, so any other process
# can load the form.
MAX_DEPTH = 200
# An object that is referenced n times is written n times, so a small value can have a huge form.
MAX_VALUES = 10_000_000

_TYPE = "$type"
# JSON would join such a pair into one character.
_SPLIT_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def encode(value: Any, allowed: Allowed, *, root: str = "value") -> Any:
    """Return the JSON form of a value.

    Args:
        value: the value.
        allowed: returns whether a class may be written, by its name.
        root: the value's name in errors.

    Raises:
        NotAllowedError: the value contains an object of a class that is not allowed.
        TooDeepError: the value is nested deeper than 200 levels of JSON, or contains itself.
        UnsupportedValueError: the value contains an object that cannot be restored from its state, or that object's
            own code failed.

    """
    return _Encoder(allowed).of(value, (None, root), 0)


def decode(value: Any, allowed: Allowed, *, root: str = "value") -> Any:
    """Return the value of a JSON form.

    Args:
        value: the form, as `encode` returned it.
        allowed: returns whether a class may be restored, by its name.
        root: the value's name in errors.

    Raises:
        NotAllowedError: the form names a class that is not allowed.
        UnsupportedValueError: `encode` did not make the form, a class that it names does not exist any more, or the
            class's own code failed.

    """
    return _Decoder(allowed).of(value, (None, root))


def dumps(value: Any, allowed: Allowed, *, root: str = "value") -> str:
    """Return the JSON text of a value, after decoding the text and comparing the result.

    Args:
        value: the value.
        allowed: returns whether a class may be written, by its name.
        root: the value's name in errors.

    Raises:
        UnsupportedValueError: as for `encode` and `decode`, or the text would be decoded to another value.

    """
    form = encode(value, allowed, root=root)
    text = json.dumps(form, allow_nan=False)
    again = encode(decode(json.loads(text), allowed, root=root), allowed, root=root)
    if json.dumps(again) != text and (path := _difference(form, again, (None, root))) is not None:
        raise UnsupportedValueError(path, "it would come back as another value")
    return text


class _Encoder:
    """An encoding of one value, with a limit on the number of values inside."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._left = MAX_VALUES

    def of(self, value: Any, path: Path, depth: int) -> Any:  # noqa: PLR0911 - one return for each kind of value
        if depth > MAX_DEPTH:
            raise TooDeepError(path, f"it is nested deeper than {MAX_DEPTH} levels of JSON, or contains itself")
        self._left -= 1
        if self._left < 0:
            raise UnsupportedValueError(
                path, f"more than {MAX_VALUES} values, counting a shared object at each reference"
            )
        cls = type(value)
        if value is None or cls is bool:
            return value
        if isinstance(value, str | int | float) and not isinstance(value, Enum):
            return _scalar(value, path)
        if cls is list:
            return self._items(value, path, depth)
        if cls is dict and _TYPE not in value and all(type(key) is str for key in value):
            form = {}
            for key, inner in value.items():
                form[_scalar(key, path)] = self.of(inner, (path, (key,)), depth + 1)
            return form
        name = type_name(cls)
        if name in SCALARS:
            return {_TYPE: name, "value": self.of(SCALARS[name][0](value), path, depth + 1)}
        if name in CONTAINERS:
            return {_TYPE: name, "value": self._content(value, cls, path, depth + 1)}
        return self._object(value, path, depth)

    def _object(self, value: Any, path: Path, depth: int) -> Any:
        """Return the form of a class, of a member of an enumeration, or of any other object."""
        if isinstance(value, type):
            return {_TYPE: "class", "class": self._findable_name(value, path)}
        cls = type(value)
        name = self._findable_name(cls, path)
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
            for key, inner in state.items():
                form["state"][key] = self.of(inner, (path, f".{key}"), depth + 2)
        else:
            form["state"] = self.of(state, path, depth + 1)
        return form

    def _content(self, value: Any, layout: Any, path: Path, depth: int) -> Any:
        """Return the form of a container's content, read by the methods of `layout`, not by those of a subclass."""
        if issubclass(layout, dict):
            pairs = []
            for key, inner in layout.items(value):
                pairs.append([self.of(key, path, depth + 2), self.of(inner, (path, (key,)), depth + 2)])
            return [self.of(value.default_factory, path, depth + 1), pairs] if layout is defaultdict else pairs
        items = self._items(layout.__iter__(value), path, depth)
        if layout is deque:
            return [value.maxlen, items]
        return sorted(items, key=json.dumps) if layout in (set, frozenset) else items

    def _items(self, values: Iterable[Any], path: Path, depth: int) -> list[Any]:
        form = []
        for index, value in enumerate(values):
            form.append(self.of(value, (path, (index,)), depth + 1))
        return form

    def _findable_name(self, cls: type, path: Path) -> str:
        """Return the name of a class, after finding the class by it."""
        name = type_name(cls)
        if name not in BUILTINS and find_class(name, self._allowed, path) is not cls:
            raise UnsupportedValueError(path, f"{name!r} is now the name of another class")
        return name


class _Decoder:
    """A decoding of one form. Inner values are restored before the values that contain them."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed

    def of(self, form: Any, path: Path) -> Any:
        if isinstance(form, list):
            return [self.of(inner, (path, (index,))) for index, inner in enumerate(form)]
        if not isinstance(form, dict):
            return form
        if _TYPE not in form:
            return {key: self.of(inner, (path, (key,))) for key, inner in form.items()}
        name = form[_TYPE]
        if not isinstance(name, str):
            raise UnsupportedValueError(path, f"the name of a type must be text, not {name!r:.60}")
        if name == "class":
            return find_class(form.get("class"), self._allowed, path)
        content = {key: self.of(inner, path) for key, inner in form.items() if key != _TYPE}
        is_well_known = name in SCALARS or name in CONTAINERS
        cls = None if is_well_known else find_class(name, self._allowed, path)
        try:
            return _well_known(name, content["value"]) if is_well_known else _restored(cls, content)
        except Exception as error:
            raise UnsupportedValueError(path, f"{name!r} cannot be restored: {error!r}") from error


def _well_known(name: str, content: Any) -> Any:
    """Return the value of a well-known type with this content."""
    if name in SCALARS:
        return SCALARS[name][1](content)
    base, make = CONTAINERS[name]
    return make(base, content)


def _restored(cls: Any, form: dict[str, Any]) -> Any:
    """Return the object with this form, whose inner values are already restored."""
    if issubclass(cls, Enum):
        return cls[form["member"]] if "member" in form else cls(form["member_value"])
    layout: Any = layout_of(cls)
    state = form["state"]
    if issubclass(layout, BaseException):
        # Those of the built-in class set only the arguments; those of `cls` could run any code.
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
    for key, value in {**(attributes or {}), **(slots or {})}.items():
        object.__setattr__(restored, key, value)
    return restored


def _state(value: Any, path: Path) -> Any:
    try:
        state = value.__getstate__()
    except Exception as error:
        raise UnsupportedValueError(path, f"its __getstate__ failed: {error!r}") from error
    if isinstance(state, dict):
        # `typing` adds this attribute to an instance of a subscripted generic class.
        return {key: inner for key, inner in state.items() if key != "__orig_class__"}
    return state


def _scalar(value: Any, path: Path) -> Any:
    """Return the form of text or a number."""
    if isinstance(value, str):
        if not value.isascii() and _SPLIT_PAIR.search(value):
            raise UnsupportedValueError(
                path, "the text contains a surrogate pair, which would come back as one character"
            )
        return value
    if isinstance(value, int):
        if not -LARGEST_INT < value < LARGEST_INT:
            raise UnsupportedValueError(path, "the number has more than 4300 digits")
        return value
    if value - value == 0:
        return value
    return {_TYPE: type_name(float), "value": float.__repr__(value)}


def _difference(one: Any, other: Any, path: Path) -> Path:
    """Return the path at which two forms first differ; None if they are equal.

    The states of a class with a `__setstate__` are not compared: it may change the state as it likes.
    """
    if isinstance(one, dict) and isinstance(other, dict) and list(one) == list(other):
        if _TYPE in one and one[_TYPE] == other[_TYPE] and _has_setstate(one[_TYPE]):
            return None
        hidden = ("value", "state", "content") if _TYPE in one else ()
        pairs = [(one[key], other[key], path if key in hidden else (path, (key,))) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(inner, other[index], (path, (index,))) for index, inner in enumerate(one)]
    else:
        return None if one == other and type(one) is type(other) else path
    return next((found for pair in pairs if (found := _difference(*pair)) is not None), None)


def _has_setstate(name: str) -> bool:
    return (
        name not in SCALARS
        and name not in CONTAINERS
        and name != "class"
        and hasattr(find_class(name, lambda _: True, None), "__setstate__")
    )
