"""Values that the storage for Agent Framework accepts are loaded equal. Others are refused by their path."""

import enum
import json
import math
import os
import subprocess
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import holdfast
import pytest
from hypothesis import strategies as st

from tests.support.required import require_engine

require_engine("agent_framework")

from agent_framework import (  # noqa: E402
    MCPStdioTool,
    WorkflowBuilder,
    WorkflowCheckpoint,
    WorkflowContext,
    executor,
    register_checkpoint_type,
)
from agent_framework.exceptions import WorkflowCheckpointException  # noqa: E402
from holdfast.adapters.agent_framework import FORMAT, HoldfastCheckpointStorage  # noqa: E402
from holdfast.adapters.unreadable import Unreadable  # noqa: E402

START = datetime(2026, 1, 2, tzinfo=UTC)


class Perm(enum.Flag):
    R = 4
    W = 2


class Word(enum.StrEnum):
    YES = "yes"


class Found(enum.Enum):
    KNOWN = "known"

    @classmethod
    def _missing_(cls, value: object) -> "Found":
        made = object.__new__(cls)
        made._name_, made._value_ = str(value).upper(), value
        return cls._value2member_map_.setdefault(value, made)  # type: ignore[return-value]


class Place(NamedTuple):
    row: Any
    column: Any = 0


class Rows(list[Any]):
    pass


class Table(dict[Any, Any]):
    pass


class FailedError(RuntimeError):
    def __init__(self, *, step: int) -> None:
        super().__init__(f"step {step}")
        self.step = step

    def __eq__(self, other: object) -> bool:
        return type(other) is FailedError and (other.args, other.step) == (self.args, self.step)

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Draft:
    title: Any


@dataclass
class Reduced:
    n: Any

    def __reduce__(self) -> Any:
        return type(self), (self.n,)


class OwnReduce:
    def __reduce__(self) -> Any:
        return type(self), ()


OWN = [
    f"{__name__}:{cls.__name__}"
    for cls in (Perm, Word, Found, Place, Rows, Table, FailedError, Draft, Reduced, OwnReduce)
]


@pytest.fixture
def storage(client: holdfast.AsyncClient) -> HoldfastCheckpointStorage:
    return HoldfastCheckpointStorage(client, namespace="n", workflow_id="run", allowed_checkpoint_types=OWN)


def checkpoint(checkpoint_id: str = "w-0", **fields: Any) -> WorkflowCheckpoint:
    fields.setdefault("timestamp", START.isoformat())
    return WorkflowCheckpoint("w", "hash", checkpoint_id=checkpoint_id, **fields)


STORABLE = [
    Perm.R | Perm.W,
    Perm(0),
    Word.YES,
    Found("other"),
    Place((1,), 2),
    Rows([1]),
    Table({1: "a", "b": (2,)}),
    FailedError(step=3),
    Reduced((1,)),
    Draft(Perm.R | Perm.W),
    {Perm.R | Perm.W: Place(1)},
    10**4299,
    "\ud83c",
]


@pytest.mark.parametrize("value", STORABLE, ids=lambda value: type(value).__name__)
async def test_a_value_is_loaded_equal_and_of_its_type(storage, value):
    await storage.save(checkpoint(state={"value": value}))
    found = (await storage.load("w-0")).state["value"]
    assert found == value
    assert type(found) is type(value)


async def test_a_registered_dataclass_with_its_own_reduce_is_stored_by_its_fields(client):
    register_checkpoint_type(Reduced)
    storage = HoldfastCheckpointStorage(client, namespace="n", workflow_id="run")
    await storage.save(checkpoint(state={"value": Reduced([1])}))
    assert (await storage.load("w-0")).state == {"value": Reduced([1])}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"a": [{"b": nested(1000)}]}, r"checkpoint\['state'\]\['a'\]\[0\]\['b'\].*nested deeper than 200 levels"),
        ({"a": "\ud83c\udf0a"}, r"checkpoint\['state'\]\['a'\]: the text contains a surrogate pair"),
        ({"a": {"\ud83c\udf0a": 1}}, r"checkpoint\['state'\]\['a'\]: the text contains a surrogate pair"),
        ({"a": [10**5000]}, r"checkpoint\['state'\]\['a'\]\[0\]: the number has more than 4300 digits"),
        ({"a": (OwnReduce(),)}, r"checkpoint\['state'\]\['a'\]\[0\]: .*use __getstate__ and __setstate__ instead"),
        ({"a": memoryview(b"")}, r"checkpoint\['state'\]\['a'\]: .*named in allowed_checkpoint_types"),
    ],
    ids=["deep", "surrogates", "surrogates in a key", "digits", "reduce", "memoryview"],
)
async def test_a_value_that_cannot_be_kept_is_refused_at_the_save_by_its_path(storage, state, problem):
    with pytest.raises(WorkflowCheckpointException, match=rf"^Checkpoint w-0 cannot be saved: {problem}"):
        await storage.save(checkpoint(state=state))
    assert await storage.list_checkpoint_ids(workflow_name="w") == []


@pytest.mark.parametrize("name", ["\ud800", None, 7, b"w", "x" * 1025])
async def test_an_invalid_workflow_name_is_refused(storage, name):
    saved = checkpoint()
    saved.workflow_name = name
    for call in (
        lambda: storage.save(saved),
        lambda: storage.get_latest(workflow_name=name),
        lambda: storage.list_checkpoints(workflow_name=name),
        lambda: storage.list_checkpoint_ids(workflow_name=name),
    ):
        with pytest.raises(WorkflowCheckpointException, match="a workflow's name must"):
            await call()


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([4299, 4300, 6000]).map(lambda digits: 10**digits)
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.binary()
    | st.complex_numbers()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([Perm.R | Perm.W, Perm(0), Perm.R, Word.YES, Found.KNOWN, Found("late"), Perm, int, Draft])
)
hashable = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=[]))
    | st.sampled_from(list(Perm))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.lists(inner).map(Rows)
        | st.lists(inner).map(deque)
        | st.dictionaries(hashable | st.just("$type"), inner)
        | st.dictionaries(hashable, inner).map(Table)
        | st.dictionaries(hashable, inner).map(OrderedDict)
        | st.dictionaries(hashable, inner).map(lambda value: defaultdict(list, value))
        | st.lists(hashable).map(Counter)
        | st.frozensets(hashable)
        | st.sets(hashable)
        | st.builds(Place, inner, inner)
        | st.builds(Draft, inner)
        | st.builds(Reduced, inner)
        | st.lists(inner, max_size=3).map(lambda value: RuntimeError(*value))
        | st.integers(0, 300).map(nested)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Return whether values, and all values inside, are equal and of the same type. NaN counts as equal to NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(map(same, one.values(), other.values()))
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Draft | Reduced):
        return same(vars(one), vars(other))
    if isinstance(one, BaseException):
        return same(one.args, other.args)
    return bool(one == other)


async def test_one_unreadable_checkpoint_is_reported_in_its_place_among_the_others(storage, client):
    await storage.save(checkpoint("w-0", iteration_count=0))
    await storage.save(checkpoint("w-1", iteration_count=1, state={"draft": Draft("t")}))
    await storage.save(checkpoint("w-2", iteration_count=2))
    labels = {"workflow_name": "w", "checkpoint_id": "w-3", "timestamp": START.isoformat()}
    await client.save("n", "run", b"[]", format=FORMAT, checkpoint_id="w-3", labels=labels)
    stranger = HoldfastCheckpointStorage(client, namespace="n", workflow_id="run")
    listed = await stranger.list_checkpoints(workflow_name="w")
    assert [each.checkpoint_id for each in listed] == ["w-0", "w-1", "w-2", "w-3"]
    assert [isinstance(each, Unreadable) for each in listed] == [False, True, False, True]
    with pytest.raises(
        WorkflowCheckpointException, match=r"Draft' is not allowed.*Name it in allowed_checkpoint_types"
    ):
        listed[1].state  # noqa: B018
    with pytest.raises(WorkflowCheckpointException, match="expected a JSON object"):
        listed[3].to_dict()
    assert await stranger.list_checkpoint_ids(workflow_name="w") == ["w-0", "w-1", "w-2", "w-3"]


async def test_a_foreign_checkpoint_without_labels_hides_no_other(storage, client):
    for labels in ({"workflow_name": "w"}, {"workflow_name": "w", "timestamp": "yesterday"}):
        await client.save("n", "run", b"{}", format=FORMAT, labels=labels)
    saved = checkpoint("w-0", timestamp="2999-01-01T00:00:00+00:00")
    await storage.save(saved)
    assert [isinstance(each, Unreadable) for each in await storage.list_checkpoints(workflow_name="w")] == [
        True,
        True,
        False,
    ]
    assert (await storage.list_checkpoint_ids(workflow_name="w"))[-1] == "w-0"
    assert await storage.get_latest(workflow_name="w") == saved


def planted(marker: Path) -> list[tuple[str, Any]]:
    """Return JSON forms that would run a command if the objects they describe were restored."""
    tool = {"name": "t", "command": "touch", "args": [str(marker)], "env": None}
    system = {"$type": "class", "class": "os:system"}
    return [
        ("tool", {"$type": "agent_framework._mcp:MCPStdioTool", "state": tool}),
        ("tool's class", {"$type": "class", "class": "agent_framework._mcp:MCPStdioTool"}),
        ("function tool", {"$type": "agent_framework._tools:FunctionTool", "state": {"name": "t", "func": system}}),
        ("agent", {"$type": "agent_framework._agents:Agent", "state": {}}),
        ("skill", {"$type": "agent_framework._skills:FileSkillScript", "state": {"path": str(marker)}}),
        ("store", {"$type": "agent_framework._workflows._checkpoint:FileCheckpointStorage", "state": {}}),
        ("executor", {"$type": "agent_framework._workflows._agent_executor:AgentExecutor", "state": {}}),
        ("function", {"$type": "os:system", "args": [f"touch {marker}"], "state": None}),
        ("class of os", {"$type": "subprocess:Popen", "state": {"args": ["touch", str(marker)]}}),
        ("factory", {"$type": "collections:defaultdict", "value": [system, []]}),
        ("eval", {"$type": "builtins:eval", "args": [f"open({str(marker)!r}, 'w')"], "state": None}),
        ("engine's function", {"$type": "agent_framework._types:prepend_instructions_to_messages", "state": None}),
        ("a module's own module", {"$type": "agent_framework._workflows._checkpoint:os.system", "state": None}),
        ("class of a module", {"$type": "agent_framework._types:BaseModel", "state": {}}),
        ("file", {"$type": "_io:FileIO", "content": [str(marker), "w"], "state": None}),
        ("pickle", {"__pickled__": "gASVBQAAAAAAAABLAS4=", "__type__": "builtins:int"}),
        ("environment", {"$type": "agent_framework._settings:SecretString", "state": {}}),
    ]


@pytest.mark.parametrize("number", range(17))
async def test_stored_data_never_runs_code_and_restores_only_data(storage, client, tmp_path, monkeypatch, number):
    marker = tmp_path / "ran"
    name, form = planted(marker)[number]
    ran = []
    for module, function in ((os, "system"), (subprocess, "Popen")):
        monkeypatch.setattr(module, function, lambda *args, **_: ran.append(args))
    state = {"state": {"value": form}, "workflow_name": "w", "graph_signature_hash": "h"}
    labels = {"workflow_name": "w", "checkpoint_id": "x", "timestamp": START.isoformat()}
    await client.save("n", "run", json.dumps(state).encode(), format=FORMAT, checkpoint_id="x", labels=labels)
    if name == "pickle":
        assert (await storage.load("x")).state["value"] == form
    else:
        with pytest.raises(WorkflowCheckpointException, match="cannot be restored"):
            await storage.load("x")
    assert ran == []
    assert not marker.exists()


async def test_a_tool_with_a_command_line_is_not_saved_either(storage):
    with pytest.raises(WorkflowCheckpointException, match=r"checkpoint\['state'\]\['tool'\]: class .*is not allowed"):
        await storage.save(checkpoint(state={"tool": MCPStdioTool(name="t", command="touch", args=["x"])}))


async def test_a_checkpoint_of_the_first_format_is_loaded(storage, client):
    payload = {
        "workflow_name": "w",
        "graph_signature_hash": "h",
        "state": {
            "nan": math.nan,
            "tuple": {"$type": "builtins:tuple", "value": [1, {"$type": "builtins:bytes", "value": "eA=="}]},
            "keys": {"$type": "builtins:dict", "value": [[1, "a"]]},
            "draft": {"$type": f"{__name__}:Draft", "state": {"title": "t"}},
            "when": {"$type": "datetime:datetime", "value": "2026-01-02T00:00:00+00:00"},
            "word": {"$type": f"{__name__}:Word", "member": "YES"},
        },
    }
    labels = {"workflow_name": "w", "checkpoint_id": "x", "timestamp": START.isoformat()}
    await client.save(
        "n",
        "run",
        json.dumps(payload).encode(),
        format=holdfast.Format(FORMAT.name, 1),
        checkpoint_id="x",
        labels=labels,
    )
    state = (await storage.load("x")).state
    assert math.isnan(state.pop("nan"))
    assert state == {"tuple": (1, b"x"), "keys": {1: "a"}, "draft": Draft("t"), "when": START, "word": Word.YES}


@executor(id="fill")
async def fill(value: int, ctx: WorkflowContext[None, int]) -> None:
    ctx.set_state("perm", Perm.R | Perm.W)
    ctx.set_state("place", Place(1))
    await ctx.yield_output(value)


async def test_a_workflow_s_state_of_such_types_is_restored_by_the_engine(storage):
    def built() -> Any:
        return WorkflowBuilder(name="w", start_executor=fill, checkpoint_storage=storage).build()

    await built().run(3)
    latest = await storage.get_latest(workflow_name="w")
    assert (latest.state["perm"], latest.state["place"]) == (Perm.R | Perm.W, Place(1))
    await built().run(checkpoint_id=latest.checkpoint_id)
