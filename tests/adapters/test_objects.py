import enum
import json
import math
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import pytest
from holdfast.adapters.objects import decode, encode, type_name
from hypothesis import given
from hypothesis import strategies as st

T = TypeVar("T")


class Colour(enum.Enum):
    RED = 1


class Word(enum.StrEnum):
    YES = "yes"


@dataclass
class Point:
    x: Any
    y: Any = 0


@dataclass(frozen=True, slots=True)
class Slots:
    a: Any
    b: tuple[int, ...] = ()


@dataclass(slots=True)
class Open:
    a: Any = field(default_factory=list)


class Plain:
    def __init__(self, needed: int) -> None:
        self.needed = needed
        self._private = {"n": needed}

    def __eq__(self, other: object) -> bool:
        return type(other) is Plain and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]


class Hooked:
    def __init__(self) -> None:
        self.kept, self.live = 1, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.kept, self.live = state["kept"], None


class Box(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value


class Named(NamedTuple):
    a: int


class Rows(list[int]):
    pass


def here(name: str) -> bool:
    return name.startswith(f"{__name__}:")


def there_and_back(value: Any, allowed: Any = here) -> Any:
    return decode(json.loads(json.dumps(encode(value, allowed))), allowed)


VALUES = [
    None,
    True,
    2**70,
    0.1,
    "Zoë\ud800\0",
    [],
    {},
    {"$type": "tuple", "value": 1},
    {1: "a", "1": "b", None: 0, (1, 2): {}},
    (1, (2,), [3]),
    {1, "a"},
    frozenset({1}),
    OrderedDict(b=1, a=2),
    Counter("aab"),
    defaultdict(list, a=[1]),
    deque([1, 2], 2),
    b"\xff\0",
    bytearray(b"a"),
    1 + 2j,
    datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=5, minutes=30))),
    datetime(2026, 1, 2, 3),
    date(2026, 1, 2),
    time(3, 4, tzinfo=UTC),
    timedelta(-1, 2, 3),
    Decimal("1.50"),
    UUID(int=7),
    int,
    type(None),
    Point,
    Colour.RED,
    Word.YES,
    {Word.YES: 1},
    Point(Point((1,)), {"a": {2}}),
    Slots("a", (1,)),
    Open([1]),
    Plain(7),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_a_value_comes_back_as_an_equal_one_of_its_type(value):
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


def test_the_details_of_containers_come_back():
    assert there_and_back(deque([1], 5)).maxlen == 5
    assert there_and_back(defaultdict(int))["new"] == 0
    assert list(there_and_back(OrderedDict(b=1, a=2))) == ["b", "a"]
    assert math.isnan(there_and_back(float("nan")))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.uuids(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text() | st.just("$type") | st.integers(), inner)
            | st.tuples(inner, inner)
            | st.builds(Point, inner, inner)
        ),
        max_leaves=20,
    )
)
def test_any_nesting_comes_back(value):
    assert there_and_back(value) == value


def test_no_constructor_is_called_and_the_state_s_own_ways_are_kept():
    assert there_and_back(Plain(3)).needed == 3
    back = there_and_back(Hooked())
    assert (back.kept, back.live) == (1, None)


def test_a_generic_class_comes_back_without_what_typing_left_on_it():
    assert vars(there_and_back(Box[int](1))) == {"value": 1}


def test_sets_are_written_in_one_order():
    assert encode({"b", "a", 1}, here)["value"] == ["a", "b", 1]


def local() -> Any:
    class Local:
        pass

    return Local()


@pytest.mark.parametrize("value", [lambda: 0, threading.Lock(), ValueError("x"), Named(1), Rows(), local(), json])
def test_what_cannot_be_told_by_its_state_is_refused(value):
    with pytest.raises(TypeError):
        encode([value], lambda name: True)


def test_a_ring_is_refused():
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(RecursionError):
        encode(ring, here)


def test_a_class_that_is_not_allowed_is_neither_written_nor_restored():
    for value in (Point(1), Point, Colour.RED):
        with pytest.raises(TypeError, match="is not allowed"):
            encode(value, lambda name: False)
        with pytest.raises(TypeError, match="is not allowed"):
            decode(encode(value, here), lambda name: False)


@pytest.mark.parametrize(
    "form",
    [
        {"$type": "os:system", "state": ["true"]},
        {"$type": "os:nothing", "state": None},
        {"$type": "builtins:eval", "state": None},
        {"$type": "class", "class": "os:system"},
        {"$type": f"{__name__}:Point.__init__", "state": {}},
        {"$type": "json.decoder:JSONDecoder.decode", "state": {}},
        {"$type": "json:JSONDecoder", "state": {}},
    ],
)
def test_what_is_no_class_of_its_name_is_not_restored(form):
    with pytest.raises(TypeError, match="no class is found"):
        decode(form, lambda name: True)


def test_the_name_of_a_class_tells_its_module():
    assert type_name(Point) == f"{__name__}:Point"
