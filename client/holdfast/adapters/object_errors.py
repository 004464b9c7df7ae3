"""Why an object has no JSON form, and where it lies: used by `objects`, which has the public names."""

from typing import Any

# The steps from the root to a value, the last one first: the parent's, and a text such as ".name", or (key,).
Path = tuple[Any, str | tuple[Any]] | None

_SHOWN_CHARACTERS = 60
_SHOWN_STEPS = 12


class NotKeptError(TypeError):
    """A value that cannot be kept, or not be restored.

    Attributes:
        path: where it lies.

    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path = _shown(path)
        super().__init__(f"{self.path}: {problem}")


class NotAllowedError(NotKeptError):
    """An object of a class that the caller does not allow."""


class TooDeepError(NotKeptError, RecursionError):
    """A value that is nested too deep, or holds itself."""


def _shown(path: Path) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(step if isinstance(step, str) else f"[{shown_key(step[0])}]")
    steps.reverse()
    shown = "".join(steps[:_SHOWN_STEPS]) + ("…" if len(steps) > _SHOWN_STEPS else "")
    return shown.encode("utf-8", "backslashreplace").decode()


def shown_key(key: Any) -> str:
    """Return a key as an error names it, bounded."""
    try:
        shown = repr(key)
    except Exception:  # noqa: BLE001 - an error's text must not fail for what the key's own code raises
        return f"a key of {type(key).__qualname__!r}"
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
