"""Convert values of states and events to JSON that loads as an equal value, and refuse all other values by their path.

JSON values and values of the standard library's types come back exactly: tuples, sets, bytes, datetimes and so on, NaN
and infinities, text with lone surrogates, keys of any such type. An object of another class is stored if the class is
allowed: the models and enumerations of `google.genai.types` and of ADK's credentials, and the classes that the
application names.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from google.adk.auth import auth_credential
from google.genai import types
from pydantic import BaseModel

from holdfast._core.errors import HoldfastError, of_reason
from holdfast.adapters.objects import UnsupportedValueError, decode, encode

Json = dict[str, Any]

# Other parts of ADK read sessions with pydantic's JSON parser, which does not accept deeper values.
MAX_DEPTH = 200
_MAX_VALUES = 10_000_000
_SHOWN_CHARACTERS = 200
# The errors that converting, comparing and restoring values may raise.
FAILURES = (TypeError, ValueError, ArithmeticError, RecursionError, LookupError, AttributeError, ImportError)
_ENGINE_MODULES = {module.__name__: module for module in (types, auth_credential)}


class Values:
    """The codec of values.

    Args:
        allowed_types: the application's classes that values may contain, as "module:qualname".

    """

    def __init__(self, allowed_types: Iterable[str] = ()) -> None:
        self._allowed_types = frozenset(allowed_types)

    def dump(self, where: str, values: Mapping[str, Any]) -> Json:
        """Return the JSON forms of a dictionary's values, after verifying that each loads as an equal value.

        Args:
            where: the dictionary's name in errors, such as "state".
            values: the values by their keys.

        Raises:
            InvalidRequestError: a value cannot be stored; `metadata["path"]` names it.

        """
        form: Json = {}
        for key, value in values.items():
            path = step(where, key)
            if type(key) is not str:
                raise unstorable(path, f"the key is of class {type(key).__name__!r}, expected a string")
            require_bounded(path, value)
            form[key] = self._dumped(path, value)
        try:
            # JSON joins the two halves of a surrogate pair in a key into one character.
            if json.loads(json.dumps(list(form))) == list(form):
                return form
        except FAILURES as error:
            raise unstorable(where, str(error)) from None
        changed = next(key for key in form if json.loads(json.dumps(key)) != key)
        raise unstorable(step(where, changed), "the key has no JSON form that is loaded as the same text")

    def load(self, form: Json) -> dict[str, Any]:
        """Return the values whose JSON forms `dump` returned.

        Raises:
            TypeError, ValueError, KeyError, AttributeError, RecursionError, ImportError: `dump` did not return them.

        """
        return {key: decode(value, self._is_allowed) for key, value in form.items()}

    def _dumped(self, path: str, value: Any) -> Any:
        try:
            form = json.loads(json.dumps(encode(value, self._is_allowed)))
            back = decode(form, self._is_allowed)
        except FAILURES:
            raise unstorable(*innermost(path, value, self._failure)) from None
        changed = difference(path, value, back)
        if changed is not None:
            raise unstorable(changed, "it would not be loaded as an equal value")
        return form

    def _failure(self, value: Any) -> str | None:
        try:
            decode(json.loads(json.dumps(encode(value, self._is_allowed))), self._is_allowed)
        except UnsupportedValueError as error:
            # The caller adds the whole path.
            return str(error).removeprefix(f"{error.path}: ")
        except FAILURES as error:
            return str(error) or type(error).__name__
        return None

    def _is_allowed(self, name: str) -> bool:
        if name in self._allowed_types:
            return True
        module, _, qualname = name.partition(":")
        found = getattr(_ENGINE_MODULES.get(module), qualname, None)
        return isinstance(found, type) and issubclass(found, BaseModel | Enum)


def unstorable(path: str, reason: str) -> HoldfastError:
    """Return the error for a value that cannot be stored."""
    path, reason = bounded(path), bounded(reason)
    return of_reason(
        "INVALID_REQUEST",
        f"{path} cannot be stored in a session: {reason}",
        advice="Use JSON values or the standard library's types, or name the class in allowed_types.",
        metadata={"path": path},
        field_violations=[(path, reason)],
    )


def innermost(path: str, value: Any, failure: Callable[[Any], str | None]) -> tuple[str, str]:
    """Find the innermost value that causes a value to fail.

    Args:
        path: the value's path.
        value: a value that fails.
        failure: returns why a value fails; None if it does not.

    Returns:
        The path of the innermost value, and why it fails.

    """
    reason = failure(value) or "it has no JSON form"
    inside = children(path, value)
    while (found := next(inside, None)) is not None:
        why = failure(found[1])
        if why is not None:
            path, reason = found[0], why
            inside = children(*found)
    return path, reason


def shown(value: Any) -> str:
    """Return the text of a value for an error."""
    try:
        return bounded(repr(value))
    except FAILURES:
        return f"<{type(value).__name__}>"


def bounded(text: str) -> str:
    """Return a text without lone surrogates, cut in the middle if it is long."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= 2 * _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}…{text[-_SHOWN_CHARACTERS:]}"


def require_bounded(path: str, value: Any) -> None:
    """Refuse a value that is nested too deep, contains too many values, or contains itself or an iterator.

    Raises:
        InvalidRequestError: it is such a value; `metadata["path"]` names the cause.

    """
    # Depth first: a list that contains itself twice has two values at the first level, and millions soon after.
    waiting = [(value, 1)]
    seen = 0
    while waiting:
        current, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > _MAX_VALUES:
            raise unstorable(
                _first(path, value, _is_too_deep),
                f"more than {MAX_DEPTH} levels or {_MAX_VALUES} values, or it contains itself",
            )
        if isinstance(current, Iterator):
            # Writing it would use it up, and leave it empty for the caller.
            raise unstorable(
                _first(path, value, _is_iterator), "an iterator is not allowed, because saving would use it up"
            )
        waiting += [(inner, depth + 1) for inner in _inside(current)]


def _is_too_deep(_value: Any, depth: int) -> bool:
    return depth > MAX_DEPTH


def _is_iterator(value: Any, _depth: int) -> bool:
    return isinstance(value, Iterator)


def _first(path: str, value: Any, matches: Callable[[Any, int], bool]) -> str:
    """Return the path of the first value inside that matches, given the value and its depth; `path` if none does."""
    waiting = [(path, value, 1)]
    for _ in range(_MAX_VALUES):
        if not waiting:
            break
        current_path, current, depth = waiting.pop()
        if matches(current, depth):
            return current_path
        waiting += ((inner_path, inner, depth + 1) for inner_path, inner in children(current_path, current))
    return path


def difference(path: str, one: Any, other: Any) -> str | None:
    """Return the path of the first difference; None if the values are equal. NaN counts as equal to NaN."""
    if _is_equal(one, other):
        return None
    pairs: Iterable[tuple[str, Any, Any]] = ()
    if isinstance(one, dict) and isinstance(other, dict):
        missing = next((key for key in (*one, *other) if key not in one or key not in other), None)
        if missing is not None:
            return step(path, missing)
        pairs = ((step(path, key), value, other[key]) for key, value in one.items())
    elif isinstance(one, list | tuple | deque) and type(one) is type(other) and len(one) == len(other):
        pairs = ((step(path, index), *pair) for index, pair in enumerate(zip(one, other, strict=True)))
    elif isinstance(one, BaseModel) and type(one) is type(other) and one.__dict__.keys() == other.__dict__.keys():
        pairs = ((f"{path}.{name}", value, other.__dict__[name]) for name, value in one.__dict__.items())
    else:
        return path
    return next((found for pair in pairs if (found := difference(*pair)) is not None), None)


def _is_equal(one: Any, other: Any) -> bool:
    try:
        # Only NaN differs from itself.
        return bool(one == other) or (bool(one != one) and bool(other != other))  # noqa: PLR0124
    except FAILURES:
        return False


def children(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the values directly inside a value, with their paths."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str | int | float):
                yield f"{path}<key {shown(key)}>", key
            yield step(path, key), inner
    elif isinstance(value, list | tuple | deque):
        yield from ((step(path, index), inner) for index, inner in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((f"{path}<element>", inner) for inner in value)
    elif isinstance(value, BaseModel):
        yield from ((f"{path}.{name}", inner) for name, inner in value.__dict__.items())


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    if isinstance(value, list | tuple | deque | set | frozenset):
        return value
    return value.__dict__.values() if isinstance(value, BaseModel) else ()


def step(path: str, key: Any) -> str:
    """Return the path of the value that a container at `path` has under a key or an index."""
    return f"{path}[{json.dumps(key)}]" if type(key) is str else f"{path}[{shown(key)}]"
