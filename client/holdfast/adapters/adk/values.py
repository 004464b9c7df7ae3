"""Values of states and events as JSON: each is read back as an equal, or refused with its path before it is stored.

JSON values and the standard library's own types are kept as they are: tuples, sets, bytes, datetimes and so on, NaN and
infinities, text with lone surrogates, keys of any such type. Objects of other classes are kept if the class is allowed:
the models and enumerations of `google.genai.types` and of ADK's credentials, and those that the application names.
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

# As deep as pydantic's reader of JSON goes, which other parts of ADK read sessions with.
MOST_LEVELS = 200
_MOST_VALUES = 10_000_000
_SHOWN_CHARACTERS = 200
# What converting, comparing and restoring values raises.
FAILURES = (TypeError, ValueError, ArithmeticError, RecursionError, LookupError, AttributeError, ImportError)
_ENGINE_MODULES = {module.__name__: module for module in (types, auth_credential)}


class Values:
    """The codec of values.

    Args:
        allowed_types: the application's own classes that may be kept, as "module:qualname".

    """

    def __init__(self, allowed_types: Iterable[str] = ()) -> None:
        self._allowed_types = frozenset(allowed_types)

    def dump(self, where: str, values: Mapping[str, Any]) -> Json:
        """Return the JSON form of a dictionary's values, each verified to be read back as an equal.

        Args:
            where: the name of the dictionary in errors, such as "state".
            values: values by their names.

        Raises:
            InvalidRequestError: a value cannot be kept; `metadata["path"]` names it.

        """
        form: Json = {}
        for key, value in values.items():
            path = step(where, key)
            if type(key) is not str:
                raise unkept(path, f"the key is of class {type(key).__name__!r}, expected a string")
            require_bounded(path, value)
            form[key] = self._dumped(path, value)
        try:
            # A key of two halves of a surrogate pair would be read back as one character.
            if json.loads(json.dumps(list(form))) == list(form):
                return form
        except FAILURES as error:
            raise unkept(where, str(error)) from None
        changed = next(key for key in form if json.loads(json.dumps(key)) != key)
        raise unkept(step(where, changed), "the key has no JSON form that is read back as the same text")

    def load(self, form: Json) -> dict[str, Any]:
        """Return the values that `dump` made the JSON form of.

        Raises:
            TypeError, ValueError, KeyError, AttributeError, RecursionError, ImportError: it did not make it.

        """
        return {key: decode(value, self._is_allowed) for key, value in form.items()}

    def _dumped(self, path: str, value: Any) -> Any:
        try:
            form = json.loads(json.dumps(encode(value, self._is_allowed)))
            back = decode(form, self._is_allowed)
        except FAILURES:
            raise unkept(*innermost(path, value, self._failure)) from None
        changed = difference(path, value, back)
        if changed is not None:
            raise unkept(changed, "it would not be read back as an equal")
        return form

    def _failure(self, value: Any) -> str | None:
        try:
            decode(json.loads(json.dumps(encode(value, self._is_allowed))), self._is_allowed)
        except UnsupportedValueError as error:
            # The path from the session on is known better here.
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


def unkept(path: str, reason: str) -> HoldfastError:
    """Return the error of a value that cannot be kept."""
    path, reason = bounded(path), bounded(reason)
    return of_reason(
        "INVALID_REQUEST",
        f"{path} cannot be kept in a session: {reason}",
        advice="Store values of JSON or of the standard library, or name the class in allowed_types.",
        metadata={"path": path},
        field_violations=[(path, reason)],
    )


def innermost(path: str, value: Any, failure: Callable[[Any], str | None]) -> tuple[str, str]:
    """Find the innermost value that fails inside of one that does.

    Args:
        path: the path of the value.
        value: a value that fails.
        failure: returns why a value fails, None if it does not.

    Returns:
        The path of the innermost one, and why it fails.

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
    """Return what an error shows of a value."""
    try:
        return bounded(repr(value))
    except FAILURES:
        return f"<{type(value).__name__}>"


def bounded(text: str) -> str:
    """Return a text that can be printed, cut in its middle if it is long."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= 2 * _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}…{text[-_SHOWN_CHARACTERS:]}"


def require_bounded(path: str, value: Any) -> None:
    """Check that a value is not nested too deep, holds no cycle and no iterator, and is not without end.

    Raises:
        InvalidRequestError: it is.

    """
    # Depth first: the levels of a list that contains itself twice soon have millions of values.
    waiting = [(value, 1)]
    seen = 0
    while waiting:
        each, depth = waiting.pop()
        seen += 1
        if depth > MOST_LEVELS or seen > _MOST_VALUES:
            raise unkept(
                _first(path, value, _is_too_deep),
                f"more than {MOST_LEVELS} levels or {_MOST_VALUES} values, or it contains itself",
            )
        if isinstance(each, Iterator):
            # Whoever writes it uses it up, and its caller finds it empty.
            raise unkept(_first(path, value, _is_iterator), "an iterator, which can be read only once, is not allowed")
        waiting += [(inner, depth + 1) for inner in _inside(each)]


def _is_too_deep(_value: Any, depth: int) -> bool:
    return depth > MOST_LEVELS


def _is_iterator(value: Any, _depth: int) -> bool:
    return isinstance(value, Iterator)


def _first(path: str, value: Any, is_meant: Callable[[Any, int], bool]) -> str:
    """Return the path of the first value inside that is meant, by itself and its depth, or of the value itself."""
    waiting = [(path, value, 1)]
    for _ in range(_MOST_VALUES):
        if not waiting:
            break
        at, each, depth = waiting.pop()
        if is_meant(each, depth):
            return at
        waiting += ((inner_path, inner, depth + 1) for inner_path, inner in children(at, each))
    return path


def difference(path: str, one: Any, other: Any) -> str | None:
    """Return the path of the first value that differs; None if both are equal. NaN equals NaN."""
    if _is_equal(one, other):
        return None
    pairs: Iterable[tuple[str, Any, Any]] = ()
    if isinstance(one, dict) and isinstance(other, dict):
        missing = next((key for key in (*one, *other) if key not in one or key not in other), None)
        if missing is not None:
            return step(path, missing)
        pairs = ((step(path, key), each, other[key]) for key, each in one.items())
    elif isinstance(one, list | tuple | deque) and type(one) is type(other) and len(one) == len(other):
        pairs = ((step(path, index), *pair) for index, pair in enumerate(zip(one, other, strict=True)))
    elif isinstance(one, BaseModel) and type(one) is type(other) and one.__dict__.keys() == other.__dict__.keys():
        pairs = ((f"{path}.{name}", each, other.__dict__[name]) for name, each in one.__dict__.items())
    else:
        return path
    return next((found for pair in pairs if (found := difference(*pair)) is not None), None)


def _is_equal(one: Any, other: Any) -> bool:
    try:
        # Only numbers that are not numbers differ from themselves.
        return bool(one == other) or (bool(one != one) and bool(other != other))  # noqa: PLR0124
    except FAILURES:
        return False


def children(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the values directly inside of a value, with their paths."""
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str | int | float):
                yield f"{path}<key {shown(key)}>", key
            yield step(path, key), each
    elif isinstance(value, list | tuple | deque):
        yield from ((step(path, index), each) for index, each in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((f"{path}<element>", each) for each in value)
    elif isinstance(value, BaseModel):
        yield from ((f"{path}.{name}", each) for name, each in value.__dict__.items())


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    if isinstance(value, list | tuple | deque | set | frozenset):
        return value
    return value.__dict__.values() if isinstance(value, BaseModel) else ()


def step(path: str, key: Any) -> str:
    """Return the path of a value by its key or index."""
    return f"{path}[{json.dumps(key)}]" if type(key) is str else f"{path}[{shown(key)}]"
