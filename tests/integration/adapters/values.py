"""Values for property tests of adapters: JSON values, and values at and beyond its limits."""

import enum
import json
import math
from typing import Any

from hypothesis import strategies as st


class Colour(enum.IntEnum):
    RED = 1


class Word(enum.StrEnum):
    YES = "yes"


class Odd:
    """An object of a class that no serializer knows."""


texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([4200, 4299, 4300, 5000]).map(lambda digits: -(10**digits))
    | st.sampled_from([2**63, -0.0, "\ud83c\udf00", "\ud83c", "\0", Colour.RED, Word.YES])
    | st.floats()
    | texts
)
keys = texts | st.integers(-3, 3) | st.sampled_from(["1", "True", "true", "null", "__burr_serde__", "$type", ""])
odd_keys = keys | st.booleans() | st.none() | st.floats() | st.tuples(st.integers())


def deep(levels: int) -> Any:
    """Return a value with this many levels of nesting."""
    value: Any = 1
    for index in range(levels):
        value = [value] if index % 2 else {"k": value}
    return value


def anything() -> st.SearchStrategy[Any]:
    """Return a strategy of values that an adapter may accept or refuse."""
    leaves = scalars | st.binary(max_size=4) | st.builds(Odd) | st.sampled_from([100, 127, 128, 129, 250]).map(deep)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(odd_keys, inner, max_size=4)
            | st.tuples(inner)
            | st.sets(st.integers(), max_size=3)
        ),
        max_leaves=12,
    )


def as_json(value: Any) -> Any:
    """Return a value after its conversion to JSON and back: text keys, lists for tuples and sets, text for bytes."""
    if isinstance(value, dict):
        return {_key(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [as_json(each) for each in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key)
