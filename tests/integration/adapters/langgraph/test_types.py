"""Types in a graph's state are restored as by LangGraph's own savers, and nothing in a store runs code."""

import ipaddress
import re
import sys
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from subprocess import Popen
from typing import Any, NamedTuple, TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.required import require_engine

require_engine("langgraph.graph")

import ormsgpack  # noqa: E402
from holdfast.adapters.langgraph import HoldfastSaver  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer  # noqa: E402
from langgraph.graph import START, StateGraph  # noqa: E402
from langgraph.types import Command, Send, interrupt  # noqa: E402
from pydantic import BaseModel, SecretStr  # noqa: E402

from tests.integration.adapters.langgraph.savers import checkpoint, config  # noqa: E402


class Model(BaseModel):
    name: str
    inner: "Model | None" = None


@dataclass
class Draft:
    title: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    n: int


class Color(Enum):
    RED = "red"


class Text(StrEnum):
    A = "a"


class Number(IntEnum):
    ONE = 1


class Perm(Flag):
    R = 1
    W = 2


class Point(NamedTuple):
    x: int
    y: int


class Own(dict):
    pass


class Ids(set):
    pass


VALUES = [
    Model(name="a", inner=Model(name="b")),
    Draft("t", ["x"]),
    Frozen(1),
    Color.RED,
    Text.A,
    Number.ONE,
    Perm.R | Perm.W,
    Point(1, 2),
    Own(a=1),
    Ids({1}),
    SecretStr("s"),
    {"deep": [{"draft": Draft("t")}, {Color.RED}, deque([Frozen(2)])]},
    {Color.RED: Draft("key")},
    uuid.UUID(int=7),
    Decimal("1.50"),
    datetime(2026, 1, 2, 3, tzinfo=UTC),
    date(2026, 1, 2),
    time(1, 2),
    timedelta(days=1),
    ipaddress.ip_address("::1"),
    Path("/a/b"),
    Send("node", Draft("sent")),
    ValueError("kept as its text"),
    b"bytes",
    float("inf"),
]


def kept(saver: Any, value: Any) -> Any:
    """Return a value after a save and a load: from a checkpoint, and from a pending write."""
    made = checkpoint(x=value)
    at = saver.put(config(), made, {"source": "loop", "step": 1, "parents": {}}, made["channel_versions"])
    saver.put_writes(at, [("x", value)], "task")
    found = saver.get_tuple(at)
    return found.checkpoint["channel_values"]["x"], found.pending_writes[0][2]


def shape(value: Any) -> Any:
    """Return a value together with the types inside."""
    if isinstance(value, dict):
        return type(value), [(shape(key), shape(each)) for key, each in value.items()]
    if isinstance(value, list | tuple | deque | set):
        return type(value), [shape(each) for each in value]
    return type(value), value


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_with_langgraphs_own_saver(target, namespace, value):
    wanted = kept(InMemorySaver(), value)
    with HoldfastSaver.from_target(target, namespace=namespace) as saver:
        assert shape(kept(saver, value)) == shape(wanted)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**66), 2**66)
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from([Color.RED, Text.A, Perm(0), Perm.R | Perm.W, Point(1, 2), 1j, print, range(3), int, "\ud83c"])
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.frozensets(st.integers(0, 9), max_size=3)
)
KEYS = st.text(max_size=3) | st.integers(0, 9) | st.none() | st.booleans() | st.just(Color.RED) | st.just("\ud83c")
ANY = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Draft, st.just("t"), inner)
        | inner.map(lambda each: Own(a=each))
        # No depth near the serializer's limit: the saver in memory serializes each channel by itself.
        | st.sampled_from([1, 20, 400]).flatmap(lambda depth: inner.map(lambda each: nested(each, depth)))
    ),
    max_leaves=6,
)


def nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


@given(ANY)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_is_either_loaded_as_saved_or_refused_by_its_path(opened, value):
    def tried(saver: Any) -> Any:
        try:
            return repr([shape(each) for each in kept(saver, value)])
        except (TypeError, ValueError) as error:
            return error

    wanted, found = tried(InMemorySaver()), tried(opened)
    if isinstance(wanted, Exception):
        assert re.match(r"checkpoint\['channel_values'\]\['x'\].* cannot be saved: ", str(found))
        assert str(wanted) in str(found)
    else:
        assert found == wanted


@pytest.fixture(scope="module")
def opened(target: str) -> Iterator[HoldfastSaver]:
    with HoldfastSaver.from_target(target, namespace=uuid.uuid4().hex) as saver:
        yield saver


def test_a_value_that_cannot_be_saved_is_named_by_its_path(opened):
    made = checkpoint(x={"a": [1, {"b": Draft("t", [print])}]})
    with pytest.raises(
        TypeError, match=r"^checkpoint\['channel_values'\]\['x'\]\['a'\]\[1\]\['b'\]\.tags\[0\] cannot be"
    ):
        opened.put(config("path"), made, {}, {})
    with pytest.raises(TypeError, match=r"^the write to channel 'ch'\[0\] cannot be"):
        opened.put_writes(config("path", checkpoint_id="1"), [("ok", 1), ("ch", [print])], "task")
    assert opened.get_tuple(config("path")) is None


class State(TypedDict, total=False):
    anything: Any


def asking(saver: Any) -> Any:
    def ask(state: State) -> State:
        draft = state["anything"]["draft"]
        answer = interrupt(draft.title)
        return {"anything": {"draft": Draft(answer), "model": state["anything"]["model"].inner.name}}

    return StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile(checkpointer=saver)


def test_a_graph_with_objects_in_a_channel_of_any_type_is_resumed_by_another_saver(target, namespace):
    given: Any = {"anything": {"draft": Draft("old"), "model": VALUES[0]}}
    with HoldfastSaver.from_target(target, namespace=namespace) as saver:
        asking(saver).invoke(given, config())
    with HoldfastSaver.from_target(target, namespace=namespace) as saver:
        found = asking(saver).invoke(Command(resume="new"), config())
    assert found == {"anything": {"draft": Draft("new"), "model": "b"}}


# Strictness


@pytest.mark.parametrize("strict", [True, None])
def test_a_strict_saver_reads_unknown_types_as_data_and_allowed_ones_as_themselves(
    target, namespace, monkeypatch, strict
):
    if strict is None:
        monkeypatch.setenv("LANGGRAPH_STRICT_MSGPACK", "true")
    with HoldfastSaver.from_target(target, namespace=namespace, strict=strict) as saver:
        assert kept(saver, [Draft("t"), Frozen(1)]) == ([{"title": "t", "tags": []}, {"n": 1}],) * 2
        allowing = saver.with_allowlist([(__name__, "Draft")])
        assert kept(allowing, [Draft("t"), Frozen(1)]) == ([Draft("t"), {"n": 1}],) * 2
        assert kept(saver, Draft("t"))[0] == {"title": "t", "tags": []}


def test_strict_false_overrides_the_environment(target, namespace, monkeypatch):
    monkeypatch.setenv("LANGGRAPH_STRICT_MSGPACK", "true")
    with HoldfastSaver.from_target(target, namespace=namespace, strict=False) as saver:
        assert kept(saver, Draft("t"))[0] == Draft("t")


def test_strict_and_a_serializer_together_are_refused():
    with pytest.raises(ValueError, match="strict"):
        HoldfastSaver("127.0.0.1:1", namespace="n", serde=JsonPlusSerializer(), strict=True)


# Attacks


def mark(path: Any) -> Any:
    """Run by a reader that calls anything that a checkpoint names."""
    Path(path).write_text("ran")
    return path


class Runs:
    """A class, but not a data type."""

    def __init__(self, path: Any = None, **given: Any) -> None:
        mark(path or given["path"])


class Evil(JsonPlusSerializer):
    """A serializer that writes data which no serializer of LangGraph writes."""

    def __init__(self, code: int, named: list[Any]) -> None:
        super().__init__()
        self.value = ormsgpack.packb({"x": ormsgpack.Ext(code, ormsgpack.packb(named))})

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return super().dumps_typed(obj) if "ts" not in obj else ("msgpack", self.value)


SINGLE, POSITIONAL, KEYWORDS, METHOD, PYDANTIC_V1, PYDANTIC_V2 = range(6)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("code", range(6))
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("subprocess", "Popen"),
        (__name__, "Popen"),
        (__name__, "mark"),
        (__name__, "Runs"),
        ("builtins", "eval"),
        ("tests.integration.adapters.programs.runs_when_imported", "Model"),
    ],
)
def test_a_checkpoint_that_names_something_to_run_runs_nothing(
    target, namespace, tmp_path, monkeypatch, strict, code, module, name
):
    ran = tmp_path / "ran"
    monkeypatch.setenv("RAN", str(ran))
    path: Any = f"touch {ran}" if module == "os" else f"__import__('pathlib').Path({str(ran)!r}).touch()"
    path = path if module in ("os", "builtins") else ["touch", str(ran)] if name == "Popen" else str(ran)
    arguments = {POSITIONAL: [path], KEYWORDS: {"path": path}, PYDANTIC_V1: {"path": path}, PYDANTIC_V2: {"path": path}}
    given = arguments.get(code, path)
    with HoldfastSaver.from_target(
        target, namespace=namespace, serde=Evil(code, [module, name, given, "__call__"])
    ) as evil:
        evil.put(config(), checkpoint(), {"source": "loop", "step": 1, "parents": {}}, {})
    with HoldfastSaver.from_target(target, namespace=namespace, strict=strict) as saver:
        assert saver.get_tuple(config()).checkpoint == {"x": given}
        assert [each.checkpoint for each in saver.list(config())] == [{"x": given}]
    assert not ran.exists()
    assert "tests.integration.adapters.programs.runs_when_imported" not in sys.modules
    assert Popen.__name__ == "Popen"
