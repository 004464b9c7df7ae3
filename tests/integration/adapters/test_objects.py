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
from zoneinfo import ZoneInfo

import pytest
from holdfast.adapters.objects import (
    NotAllowedError,
    TooDeepError,
    UnsupportedValueError,
    codec,
    decode,
    dumps,
    encode,
    type_name,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.names import name_of

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


class Perm(enum.Flag):
    R = 4
    W = 2


class IntPerm(enum.IntFlag):
    R = 4
    W = 2


class Loose(enum.Flag, boundary=enum.KEEP):
    R = 4


class Found(enum.Enum):
    KNOWN = "known"

    @classmethod
    def _missing_(cls, value: object) -> "Found":
        made = object.__new__(cls)
        made._name_, made._value_ = str(value).upper(), value
        return cls._value2member_map_.setdefault(value, made)  # type: ignore[return-value]


class Unfindable(enum.Enum):
    KNOWN = 1


class Named(NamedTuple):
    a: Any
    b: Any = 0


class Rows(list[Any]):
    def __init__(self, *rows: Any) -> None:
        super().__init__(rows)

    def __eq__(self, other: object) -> bool:
        return type(other) is Rows and list(other) == list(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]


class Table(dict[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        raise AssertionError("its own methods are not used")

    __setitem__ = __iter__ = items = __getitem__  # type: ignore[assignment]


class Tags(set[Any]):
    pass


class Words(frozenset[Any]):
    pass


class Votes(Counter[Any]):
    pass


class Sparse(defaultdict[Any, Any]):
    pass


class Ordered(OrderedDict[Any, Any]):
    pass


class Recent(deque[Any]):
    pass


class FailedError(RuntimeError):
    def __init__(self, *, step: int) -> None:
        super().__init__(f"step {step}")
        self.step = step


@dataclass
class Reduced:
    n: Any

    def __reduce__(self) -> Any:
        return type(self), (self.n,)


class OwnReduce:
    def __reduce__(self) -> Any:
        return type(self), ()


class Unstable:
    def __init__(self) -> None:
        self.key = 5

    def __getstate__(self) -> dict[Any, Any]:
        return {5: 1}


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
    Perm.R | Perm.W,
    Perm(0),
    IntPerm.R | IntPerm.W | 64,
    Loose(7),
    Found("other"),
    Named(1, (2,)),
    Tags({1}),
    Words({1}),
    Votes("aab"),
    Ordered(b=1, a=2),
    Recent([1, 2], 2),
    Reduced((1,)),
    10**4299,
    -(10**4299),
    range(1, 5, 2),
    slice(1, None, (2,)),
    datetime(2026, 10, 25, 1, 30, tzinfo=ZoneInfo("Europe/London"), fold=1),
    datetime(2026, 10, 25, 1, 30, fold=1),
    time(3, 4, tzinfo=ZoneInfo("Asia/Tokyo")),
    timezone(timedelta(hours=1), "CET"),
    ZoneInfo("Europe/London"),
    Decimal("-Infinity"),
]


def _name(value):
    """Name a value alike in every process: the order of a set differs from one to another."""
    if type(value) is int:
        return "int"
    shown = repr(sorted(value, key=repr)) if isinstance(value, set | frozenset) else repr(value)
    return f"{type(value).__name__} {shown:.40}"


@pytest.mark.parametrize("value", VALUES, ids=_name)
def test_a_value_comes_back_as_an_equal_one_of_its_type(value):
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


def test_the_details_of_containers_come_back():
    assert there_and_back(deque([1], 5)).maxlen == 5
    assert there_and_back(defaultdict(int))["new"] == 0
    assert list(there_and_back(OrderedDict(b=1, a=2))) == ["b", "a"]
    assert math.isnan(there_and_back(float("nan")))


def test_a_subclass_of_a_container_comes_back_with_its_attributes_and_none_of_its_methods_is_called():
    rows = Rows(1, (2,))
    rows.name = "r"
    back = there_and_back(rows)
    assert back == rows
    table = Table(a=1)
    dict.__setitem__(table, (1,), [2])
    back = there_and_back(table)
    assert type(back) is Table
    assert dict(dict.items(back)) == {"a": 1, (1,): [2]}
    sparse = there_and_back(Sparse(list, a=[1]))
    assert (type(sparse), sparse["a"], sparse["new"]) == (Sparse, [1], [])
    assert there_and_back(Recent([1], 5)).maxlen == 5


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x", (1,)),
        KeyError("k"),
        OSError(2, "gone", "/a"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        StopIteration(5),
        ImportError("no", name="m", path="p"),
        ExceptionGroup("two", [ValueError("a"), FailedError(step=1)]),
        FailedError(step=3),
    ],
    ids=repr,
)
def test_an_exception_comes_back_with_its_arguments_and_attributes(error):
    error.add_note("a note")
    back = there_and_back(error, lambda name: here(name) or name.startswith("builtins:"))
    assert type(back) is type(error)
    assert (repr(back), str(back), vars(back)) == (repr(error), str(error), vars(error))
    for name in ("errno", "filename", "reason", "value", "name", "path"):
        assert getattr(back, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_lacks_come_back_out_of_strict_json(value):
    text = json.dumps(encode([value, complex(value, 0)], here), allow_nan=False)
    assert repr(decode(json.loads(text), here)) == repr([value, complex(value, 0)])


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


def test_no_constructor_is_called_but_getstate_and_setstate_are():
    assert there_and_back(Plain(3)).needed == 3
    back = there_and_back(Hooked())
    assert (back.kept, back.live) == (1, None)


def test_a_generic_class_comes_back_without_the_attribute_that_typing_adds():
    assert vars(there_and_back(Box[int](1))) == {"value": 1}


def test_sets_are_written_in_one_order():
    assert encode({"b", "a", 1}, here)["value"] == ["a", "b", 1]


def local() -> Any:
    class Local:
        pass

    return Local()


@pytest.mark.parametrize(
    "value", [lambda: 0, threading.Lock(), local(), json, OwnReduce(), memoryview(b"x")], ids=name_of
)
def test_an_object_that_its_state_does_not_describe_is_refused_by_its_path(value):
    with pytest.raises(UnsupportedValueError, match=r"^state\['a'\]\[0\]\.x: "):
        encode({"a": [Point(value)]}, lambda name: True, root="state")


def test_the_error_of_a_refused_object_says_what_to_do():
    with pytest.raises(UnsupportedValueError, match="use __getstate__ and __setstate__ instead"):
        encode(OwnReduce(), here)
    with pytest.raises(UnsupportedValueError, match="leave it out in its __getstate__"):
        encode(memoryview(b"x"), lambda name: True)
    with pytest.raises(UnsupportedValueError, match="at the top of a module"):
        encode(local(), lambda name: True)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": "\ud83c\udf0a"}, r"value\['a'\]"),
        ({"\ud83c\udf0a": 1}, "value"),
        ([Unstable()], r"value\[0\]"),
        ([10**5000], r"value\[0\]"),
        ({10**5000: 1}, "value"),
    ],
)
def test_a_value_that_would_come_back_changed_is_refused_by_its_path(value, path):
    with pytest.raises(UnsupportedValueError, match=f"^{path}: "):
        dumps(value, here)


def test_a_member_that_no_name_and_no_value_finds_is_refused():
    stray = object.__new__(Unfindable)
    stray._name_, stray._value_ = "STRAY", 2
    with pytest.raises(UnsupportedValueError, match=r"^value: .*Unfindable.* cannot be restored"):
        dumps(stray, here)


def nested(levels: int, around: Any) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = around(value)
    return value


@pytest.mark.parametrize("around", [lambda x: [x], lambda x: {"a": x}, lambda x: (x,), lambda x: {1: x}, Point, Rows])
def test_a_value_that_is_accepted_can_be_loaded_with_most_of_the_stack_in_use(around):
    deepest = 0
    for levels in range(20, 260, 20):
        try:
            text = dumps(nested(levels, around), here)
        except TooDeepError:
            break
        assert under(400, lambda text=text: dumps(decode(json.loads(text), here), here)) == text
        deepest = levels
    assert 60 <= deepest <= 200


def under(frames: int, call: Any) -> Any:
    return call() if frames == 0 else under(frames - 1, call)


def test_a_cycle_is_refused():
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(
        RecursionError, match=r"^value\[0\]\[0\].*: it is nested deeper than 200 levels .*or contains itself"
    ):
        encode(ring, here)


def test_a_class_that_is_not_allowed_is_neither_written_nor_restored():
    for value in (Point(1), Point, Colour.RED):
        with pytest.raises(NotAllowedError, match="is not allowed"):
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
def test_a_name_that_is_not_the_name_of_a_class_is_not_restored(form):
    with pytest.raises(TypeError, match="no class found"):
        decode(form, lambda name: True)


def test_the_name_of_a_class_contains_its_module():
    assert type_name(Point) == f"{__name__}:Point"


def test_a_small_value_whose_form_would_be_huge_is_refused(monkeypatch):
    monkeypatch.setattr(codec, "MAX_VALUES", 10_000)
    shared: list[Any] = [1]
    for _ in range(100):
        shared = [shared, shared]
    with pytest.raises(UnsupportedValueError, match="more than 10000 values"):
        encode(shared, here)
