"""Errors of values that have no JSON form, with the path of the value."""

from typing import Any

# The path of a value, linked from the value to the root: the parent's path, and a step. A step is text such as
# ".name", or a tuple with a key or index.
Path = tuple[Any, str | tuple[Any]] | None

_SHOWN_CHARACTERS = 60
_SHOWN_STEPS = 12


class UnsupportedValueError(TypeError):
    """A value cannot be converted to JSON, or not be restored from it.

    Attributes:
        path: where the value is.

    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path = _shown(path)
        super().__init__(f"{self.path}: {problem}")


class NotAllowedError(UnsupportedValueError):
    """An object has a class that the caller does not allow."""


class TooDeepError(UnsupportedValueError, RecursionError):
    """A value is nested too deep, or contains itself."""


def _shown(path: Path) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(step if isinstance(step, str) else f"[{shown_key(step[0])}]")
    steps.reverse()
    shown = "".join(steps[:_SHOWN_STEPS]) + ("…" if len(steps) > _SHOWN_STEPS else "")
    return shown.encode("utf-8", "backslashreplace").decode()


def shown_key(key: Any) -> str:
    """Return a key as an error shows it, cut to a bounded length."""
    try:
        shown = repr(key)
    except Exception:  # noqa: BLE001 - the key's own code may raise anything
        return f"a key of {type(key).__qualname__!r}"
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
