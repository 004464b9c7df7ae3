"""List items that stand for stored data that cannot be read, so that one of them does not hide the others."""

from dataclasses import fields
from functools import cache
from typing import Any


class Unreadable:
    """A list item of which only some fields are known, because the stored data cannot be read.

    It is also an instance of the dataclass of the other items. Reading an unknown field raises the error.

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
        names = [
            field.name
            for field in fields(self)  # type: ignore[arg-type]
            if not isinstance(vars(type(self)).get(field.name), property)
        ]
        return {name: getattr(self, name) for name in names}


def unreadable(cls: Any, error: Exception, **known: Any) -> Any:
    """Return an item that stands for one that cannot be read.

    Args:
        cls: the dataclass of the list's items.
        error: why the item cannot be read; raised when an unknown field is read.
        **known: the fields that are known.

    Returns:
        An instance of both `cls` and `Unreadable`.

    """
    item: Any = object.__new__(_subclass(cls, frozenset(known)))
    for name, value in known.items():
        object.__setattr__(item, name, value)
    object.__setattr__(item, "error", error)
    return item


@cache
def _subclass(cls: Any, known: frozenset[str]) -> Any:
    def raising(self: Any) -> Any:
        raise self.error.with_traceback(None)

    unknown = {field.name: property(raising) for field in fields(cls) if field.name not in known}
    return type(cls.__name__, (Unreadable, cls), {"__doc__": Unreadable.__doc__, **unknown})
