"""Whether values are so small that serialising them holds up an event loop less than a thread would.

Waking a thread and being woken by it takes 50 microseconds or more. What cannot be measured counts as large.
"""

from collections import deque
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

# Serialised in less time than a thread takes to do it.
_MOST_BYTES = 64 << 10
# What a value costs beside its bytes.
_VALUE_BYTES = 128
_OTHER_TEXTS = frozenset({bytes, bytearray})
_SCALARS = frozenset({bool, int, float, complex, type(None), Decimal, UUID, date, datetime, time, timedelta})
_SEQUENCES = frozenset({list, tuple, set, frozenset, deque})
# Attributes of classes whose instances keep all they have in their own attributes: dataclasses, models of Pydantic.
_MARKS = ("__dataclass_fields__", "__pydantic_fields__")


def are_small(*values: Any) -> bool:
    """Return whether values have few parts and few bytes together. Looks at a bounded number of them."""
    left = _MOST_BYTES
    waiting: list[Iterable[Any]] = [values]
    while waiting:
        for value in waiting.pop():
            kind = type(value)
            if kind is str or kind in _OTHER_TEXTS:
                left -= len(value)
            elif kind in _SCALARS:
                continue
            elif kind in _SEQUENCES:
                left -= _VALUE_BYTES * len(value)
                waiting.append(value)
            elif kind is dict or any(hasattr(kind, mark) for mark in _MARKS):
                fields = value if kind is dict else getattr(value, "__dict__", None)
                if fields is None:
                    return False
                left -= _VALUE_BYTES * len(fields)
                waiting.append(fields.values())
                try:
                    left -= sum(map(len, fields)) if left > 0 else 0
                except TypeError:
                    # Not all of the keys are text.
                    waiting.append(fields)
            elif not isinstance(value, Enum):
                return False
        if left < 0:
            return False
    return True
