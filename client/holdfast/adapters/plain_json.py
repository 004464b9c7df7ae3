"""Convert values to JSON that loads as an equal value, and refuse all other values by their path.

The limits are constants, so that a value that one process saves can be loaded by any other: the maximum depth does not
depend on the stack of the process that saves, nor the maximum number of digits on its settings.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from holdfast._core.errors import InvalidRequestError

MAX_DEPTH = 128
# As many as Python converts from text by default.
_MAX_DIGITS = 4300
_MAX_BITS = math.floor(_MAX_DIGITS * math.log2(10))
_PATH_CHARACTERS = 200
_SHOWN_CHARACTERS = 60
# The path of a value: text for the root; for any other value the path of its container, and its key or index.
Path: TypeAlias = "str | tuple[Path, Any]"

# JSON would join such a pair into one character.
_SPLIT_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class UnsavableValueError(InvalidRequestError, TypeError, ValueError):
    """A value would not be loaded as an equal value, so nothing was saved.

    Attributes:
        path: where the value is inside the one to save.

    """

    def __init__(self, what: str, path: Path, problem: str) -> None:
        text = path_text(path)
        super().__init__(
            f"{what} cannot be saved: {text}: {problem}",
            reason="INVALID_REQUEST",
            advice="Change the value, or leave it out.",
            field_violations=[(text, problem)],
        )
        self.path = text


def dumps(what: str, value: Any, *, convert: Callable[[Any], Any] | None = None, root: str = "state") -> bytes:
    """Return the JSON of a value. `json.loads` makes an equal value from it, except that tuples become lists.

    Keys that are numbers, booleans or None become text, as `json.dumps` writes them.

    Args:
        what: the value's name in errors, such as "the flow's state".
        value: the value.
        convert: converts an object without a JSON form to a JSON value, or raises; None refuses such objects.
        root: the first element of paths in errors.

    Raises:
        UnsavableValueError: a value inside has no JSON form, two keys become the same text, the nesting exceeds 128
            levels (always so if a value contains itself), or a number has more than 4300 digits.

    """
    return json.dumps(plain_copy(what, value, convert=convert, root=root)).encode()


def plain_copy(what: str, value: Any, *, convert: Callable[[Any], Any] | None = None, root: Path = "state") -> Any:
    """Return a copy of a value that consists of JSON types only.

    Arguments and errors are those of `dumps`.
    """
    return _Copy(what, convert).of(value, root, 0)


def path_text(path: Path) -> str:
    """Return a path as a Python expression, cut to a bounded length."""
    keys = []
    while isinstance(path, tuple):
        path, key = path
        name = _name(key)
        keys.append(f"[{name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + '…'}]")
    text = path + "".join(reversed(keys))
    return text if len(text) <= _PATH_CHARACTERS else f"{text[:_PATH_CHARACTERS]}…"


def _name(key: Any) -> str:
    try:
        return repr(key)
    except Exception:  # noqa: BLE001 - the key's own code may raise anything
        return type(key).__qualname__


class _Copy:
    """The settings of one copy."""

    def __init__(self, what: str, convert: Callable[[Any], Any] | None) -> None:
        self._what = what
        self._convert = convert

    def of(self, value: Any, path: Path, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        if depth > MAX_DEPTH:
            self._refuse(path, f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")
        if isinstance(value, str | int | float):
            return self._scalar(value, path)
        if isinstance(value, dict):
            return self._mapping(value, path, depth)
        if isinstance(value, list | tuple):
            return [self.of(item, (path, index), depth + 1) for index, item in enumerate(value)]
        return self.of(self._converted(value, path), path, depth + 1)

    def _mapping(self, value: dict[Any, Any], path: Path, depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        for key, item in value.items():
            inside = (path, key)
            name = self._key(key, inside)
            if name in copied:
                self._refuse(inside, f"another key becomes the same text, {name!r}")
            copied[name] = self.of(item, inside, depth + 1)
        return copied

    def _key(self, key: Any, path: Path) -> str:
        if isinstance(key, str):
            return str(self._scalar(key, path))
        if key is None or isinstance(key, bool):
            return json.dumps(key)
        if isinstance(key, int | float):
            return json.dumps(self._scalar(key, path))
        return self._refuse(path, f"keys must be text, numbers, booleans or None, not {type(key).__name__}")

    def _scalar(self, value: str | float, path: Path) -> str | float:
        """Return text or a number as its JSON type, without the value's own subclass."""
        if isinstance(value, str):
            if _SPLIT_PAIR.search(value):
                self._refuse(path, "the text contains a surrogate pair, which would come back as one character")
            return str.__str__(value)
        if isinstance(value, float):
            return float.__float__(value)
        if value.bit_length() > _MAX_BITS:
            self._refuse(path, f"the number has more than {_MAX_DIGITS} digits")
        return int.__int__(value)

    def _converted(self, value: Any, path: Path) -> Any:
        problem = f"an object of type {type(value).__qualname__} is not JSON serializable"
        if self._convert is None:
            return self._refuse(path, problem)
        try:
            return self._convert(value)
        except UnsavableValueError:
            raise
        except Exception as error:
            raise UnsavableValueError(self._what, path, f"{problem}: {error}") from error

    def _refuse(self, path: Path, problem: str) -> Any:
        raise UnsavableValueError(self._what, path, problem)
