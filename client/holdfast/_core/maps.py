"""Maps of messages in an order that is the same each time: the protobuf library has them in any order."""

from collections.abc import Mapping
from typing import TypeVar

_Value = TypeVar("_Value")


def by_key(given: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return a map sorted by its keys."""
    return dict(sorted(given.items()) if len(given) > 1 else given)
