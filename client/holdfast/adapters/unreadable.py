"""Items of lists that cannot be read, in their places among the others."""

from dataclasses import fields
from functools import cache
from typing import Any


class Unreadable:
    """An item of a list of an engine's dataclasses, of which only some fields are known.

    It is an instance of the dataclass, too. Reading a field that is not known raises the error.

    Attributes:
        error: why the item cannot be read.

    """

    error: Exception

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={value!r}" for name, value in self._known().items())
        return f"<unreadable {type(self).__name__}({known}): {self.error}>"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def _known(self) -> dict[str, Any]:
        names = [each.name for each in fields(self) if not isinstance(vars(type(self)).get(each.name), property)]  # type: ignore[arg-type]
        return {name: getattr(self, name) for name in names}


def unreadable(cls: Any, error: Exception, **known: Any) -> Any:
    """Return an item that stands for one that cannot be read.

    Args:
        cls: the dataclass of the list's items.
        error: why this one cannot be read: raised where a field is read that is not known.
        known: the fields that are known.

    """
    made: Any = object.__new__(_subclass(cls, frozenset(known)))
    for name, value in known.items():
        object.__setattr__(made, name, value)
    object.__setattr__(made, "error", error)
    return made


@cache
def _subclass(cls: Any, known: frozenset[str]) -> Any:
    def raising(self: Any) -> Any:
        raise self.error.with_traceback(None)

    unknown = {each.name: property(raising) for each in fields(cls) if each.name not in known}
    return type(cls.__name__, (Unreadable, cls), {"__doc__": Unreadable.__doc__, **unknown})
