"""Small values are recognised, and anything that may be large, or cannot be measured, is not."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from uuid import UUID

import pydantic
import pytest
from holdfast._core.small_values import are_small


class Colour(Enum):
    RED = 1


@dataclass
class Point:
    x: object


@dataclass(slots=True)
class Slotted:
    x: object


class Model(pydantic.BaseModel):
    content: str


class Opaque:
    def __init__(self, data):
        self.data = data


class Text(str):
    pass


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text" * 1000,
        {"a": [1, 2.5, {"b": (b"x", None, True)}], "c": {UUID(int=1), datetime.now(UTC)}},
        [Point([Point(1)]), Colour.RED, Model(content="x" * 100)],
    ],
)
def test_a_few_plain_values_are_small(value):
    assert are_small(value)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        {"x" * 100_000: 1},
        [bytearray(40_000), "x" * 40_000],
        list(range(1000)),
        dict.fromkeys(range(1000)),
        {"a": [{"b": [[[]]] * 600}]},
        Point("x" * 100_000),
        Model(content="x" * 100_000),
        Slotted("x"),
        Opaque("x"),
        Text("x"),
        [memoryview(b"x")],
        iter([1]),
    ],
)
def test_large_values_and_those_that_cannot_be_measured_are_not(value):
    assert not are_small(value)


def test_a_value_that_contains_itself_is_large():
    value: list[object] = []
    value.append(value)
    assert not are_small(value)
    assert not are_small({"a": value})
