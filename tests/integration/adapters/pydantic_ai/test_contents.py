"""Items that the store for Pydantic AI accepts are loaded equal. It refuses others at the save, by their path."""

import json
import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import holdfast
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.required import require_engine

require_engine("pydantic_ai_harness")

from holdfast.adapters.pydantic_ai import RUN_FORMAT, SNAPSHOT_FORMAT, TOOL_EFFECT_FORMAT, HoldfastStepStore, contents  # noqa: E402
from holdfast.adapters.unreadable import Unreadable  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from pydantic_ai import Agent, BinaryContent, ToolCallPart  # noqa: E402
from pydantic_ai.messages import (  # noqa: E402
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel  # noqa: E402
from pydantic_ai_harness.step_persistence import (  # noqa: E402
    ContinuableSnapshot,
    RunRecord,
    StepEvent,
    StepPersistence,
    ToolEffectRecord,
    continue_run,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Model(BaseModel):
    x: int


@dataclass
class Point:
    x: int


@pytest.fixture
def store(client):
    return HoldfastStepStore(client, namespace="agents")


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


LOOP: list[Any] = []
LOOP.append(LOOP)


def with_value(value: Any, run_id: str = "r") -> ContinuableSnapshot:
    messages = [
        ModelRequest(parts=[UserPromptPart(content="go")]),
        ModelResponse(parts=[ToolCallPart(tool_name="t", args={"a": value}, tool_call_id="1")]),
        ModelRequest(parts=[ToolReturnPart(tool_name="t", content=value, metadata=[value], tool_call_id="1")]),
    ]
    return ContinuableSnapshot(run_id=run_id, step_index=1, messages=messages, timestamp=NOON)


def values_of(snapshot: ContinuableSnapshot) -> list[Any]:
    call, result = snapshot.messages[1].parts[0], snapshot.messages[2].parts[0]
    return [call.args["a"], result.content, result.metadata[0]]


def loaded(cls: Any, data: Any, form: holdfast.Format = RUN_FORMAT) -> Any:
    info = holdfast.Checkpoint(*("n", "w", "x", 1, "", form, {}, (), 0, NOON, None, 0, "", ""))
    parts = data if isinstance(data, dict) else {"": data}
    return contents.read(cls, holdfast.LoadedCheckpoint(info, parts, form))


STORABLE = [
    math.nan,
    -math.inf,
    b"\xff",
    bytearray(b"a"),
    (1, (2,)),
    {1, 2},
    frozenset({"a"}),
    {1: "a", "b": (2,)},
    {"a": {"b": (b"x", math.nan)}},
    Decimal("1.50"),
    UUID(int=7),
    NOON,
    1 + 2j,
    10**4299,
    {"kind": "binary", "data": "eA==", "media_type": "image/png"},
]


@pytest.mark.parametrize("value", STORABLE, ids=lambda value: type(value).__name__)
async def test_a_value_that_json_would_change_is_loaded_equal(store, value):
    await store.save_snapshot(with_value(value))
    for each in values_of(await store.latest_snapshot(run_id="r")):
        assert repr(each) == repr(value)
    (listed,) = await store.list_snapshots(run_id="r")
    assert list(map(repr, values_of(listed))) == [repr(value)] * 3


@pytest.mark.parametrize(("value", "form"), [(Model(x=1), {"x": 1}), ([Point(2)], [{"x": 2}])])
async def test_an_object_of_another_class_is_loaded_in_its_json_form_as_with_the_engine_s_stores(store, value, form):
    await store.save_snapshot(with_value(value))
    assert values_of(await store.latest_snapshot(run_id="r")) == [form] * 3


async def test_a_part_that_the_engine_loads_as_another_kind_is_not_changed(store):
    @dataclass
    class Own(ToolReturnPart):
        extra: int = 1

    retry = RetryPromptPart(content="again", tool_name="t", tool_call_id="1")
    picture = UserPromptPart(content=[BinaryContent(b"x", media_type="image/png", vendor_metadata={"a": (1,)})])
    own = Own(tool_name="t", content=(1,), tool_call_id="2")
    saved = ContinuableSnapshot(run_id="r", step_index=1, messages=[ModelRequest(parts=[retry, picture, own])])
    await store.save_snapshot(saved)
    retried, seen, returned = (await store.latest_snapshot(run_id="r")).messages[0].parts
    assert (type(retried), retried.part_kind, retried.outcome) == (ToolReturnPart, "tool-return", "retried")
    assert (seen.content[0].data, seen.content[0].vendor_metadata) == (b"x", {"a": (1,)})
    assert (type(returned), returned.content) == (ToolReturnPart, [1])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (nested(250), "exceeded"),
        (nested(196), "recursion limit exceeded"),
        (nested(2000), "depth exceeded"),
        ("\ud83c", "surrogates not allowed"),
        ({"\ud83c": 1}, "surrogates not allowed"),
        (10**5000, "number out of range"),
        (object(), "Unable to serialize unknown type"),
        (range(3), "Unable to serialize unknown type"),
        (deque([1]), "Unable to serialize unknown type"),
        ({"b": (each for each in "ab")}, "an iterator"),
    ],
    ids=[
        *("250 deep", "196 deep", "2000 deep", "surrogate", "surrogate key", "huge int", "object", "range", "deque"),
        "generator",
    ],
)
async def test_a_value_that_cannot_be_kept_is_refused_at_the_save_by_its_path(store, value, reason):
    with pytest.raises(holdfast.InvalidRequestError) as refused:
        await store.save_snapshot(with_value(value))
    assert refused.value.field_violations[0][0].startswith("messages[1].parts[0].args['a']")
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert await store.list_snapshots(run_id="r", include_interrupted=True) == []


@pytest.mark.parametrize("part", ["args", "content", "metadata", "vendor_metadata"])
@pytest.mark.parametrize(
    "value", [nested(250), nested(300), nested(2000), LOOP, {"a": LOOP}], ids=lambda each: type(each).__name__
)
async def test_a_value_that_is_nested_too_deep_is_refused_at_once_in_each_part_of_a_message(store, part, value):
    # Pydantic alone would take hours to write such a result of a tool.
    parts = {
        "args": ToolCallPart(tool_name="t", args={"a": value}, tool_call_id="1"),
        "content": ToolReturnPart(tool_name="t", content=value, tool_call_id="1"),
        "metadata": ToolReturnPart(tool_name="t", content="", metadata=value, tool_call_id="1"),
        "vendor_metadata": UserPromptPart(
            content=[BinaryContent(b"x", media_type="image/png", vendor_metadata={"a": value})]
        ),
    }
    message = (ModelResponse if part == "args" else ModelRequest)(parts=[parts[part]])
    with pytest.raises(holdfast.InvalidRequestError, match="nesting depth exceeded") as refused:
        await store.save_snapshot(ContinuableSnapshot(run_id="r", step_index=1, messages=[message], timestamp=NOON))
    path = refused.value.field_violations[0][0]
    assert path.startswith("messages[0].parts[0].")
    assert part in path
    assert await store.list_snapshots(run_id="r", include_interrupted=True) == []


async def test_a_save_raises_no_error_of_an_object_s_own_code_or_of_a_missing_field(store):
    class Failing(list):
        def __iter__(self):
            raise OSError("not today")

    # The engine writes the list without calling its methods.
    await store.save_snapshot(with_value(Failing([1])))
    assert values_of(await store.latest_snapshot(run_id="r")) == [[1]] * 3
    empty = ContinuableSnapshot(run_id="e", step_index=1, messages=[ModelRequest(parts=[object.__new__(TextPart)])])
    with pytest.raises(holdfast.InvalidRequestError) as refused:
        await store.save_snapshot(empty)
    assert refused.value.field_violations[0][0] == "messages[0].parts[0]"


@pytest.mark.parametrize(
    ("item", "path"),
    [
        (RunRecord(run_id="r", metadata={"k": 5}), "['metadata']['k']"),
        (RunRecord(run_id="r", metadata={"k": "\ud83c"}), "metadata['k']"),
        (RunRecord(run_id=5), "['run_id']"),
        (RunRecord(run_id="\ud83c"), "run_id"),
        (RunRecord(run_id="r", started_at="yesterday"), "['started_at']"),
        (StepEvent(run_id="r", kind="unknown", step_index=1), "['kind']"),
        (StepEvent(run_id="r", kind="run_started", step_index=1.5), "['step_index']"),
        (StepEvent(run_id="r", kind="run_started", step_index=10**5000), "step_index"),
        (StepEvent(run_id="r", kind="run_started", step_index=1, metadata={"k": object()}), "metadata['k']"),
        (ToolEffectRecord(tool_call_id=None, tool_name="t", run_id="r", status="started"), "['tool_call_id']"),
        (ToolEffectRecord(tool_call_id="1", tool_name="t", run_id="r", status=["started"]), "['status']"),
        (ContinuableSnapshot(run_id="r", step_index=1, messages=[], state="lost"), "['state']"),
        (ContinuableSnapshot(run_id="r", step_index=1, messages=["hello"]), "messages[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_a_field_that_pydantic_writes_but_does_not_read_is_refused_at_the_save(store, item, path):
    save = {
        RunRecord: store.register_run,
        StepEvent: store.append_event,
        ToolEffectRecord: store.record_tool_effect,
        ContinuableSnapshot: store.save_snapshot,
    }[type(item)]
    with pytest.raises(holdfast.InvalidRequestError) as refused:
        await save(item)
    assert refused.value.field_violations[0][0] == path
    assert (
        await store.list_runs() == await store.list_events(run_id="r") == await store.list_snapshots(run_id="r") == []
    )


@pytest.mark.parametrize("name", [None, 5, b"r", "\ud83c"])
async def test_an_id_that_is_not_text_is_refused(store, name):
    for call in (
        lambda: store.get_run(run_id=name),
        lambda: store.list_events(run_id=name),
        lambda: store.latest_snapshot(run_id=name),
        lambda: store.get_tool_effect(run_id="r", tool_call_id=name),
        lambda: store.list_unresolved_tool_effects(run_id=name),
    ):
        with pytest.raises(holdfast.InvalidRequestError, match="expected Unicode text"):
            await call()


@pytest.mark.parametrize("most", [1.5, True, False, 0, -1, "3", math.nan, b"1", Decimal(2)])
def test_an_invalid_number_of_snapshots_is_refused_before_anything_is_stored(client, most):
    with pytest.raises(ValueError, match=r"max_snapshots_per_run is .*, expected an integer of at least 1, or None"):
        HoldfastStepStore(client, namespace="agents", max_snapshots_per_run=most)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([4299, 4300, 6000]).map(lambda digits: 10**digits)
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.timedeltas()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.lists(inner).map(deque)
        | st.sets(st.integers() | st.text())
        | st.dictionaries(st.text(st.characters(exclude_categories=[])) | st.integers() | st.none(), inner)
        | st.dictionaries(st.text(), inner).map(OrderedDict)
        | st.builds(lambda data: {"kind": "binary", "data": data, "media_type": "image/png"}, inner)
        | st.integers(0, 300).map(nested)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Return whether values, and all values inside, are equal. NaN counts as equal to NaN."""
    if isinstance(one, float):
        return one == other or (math.isnan(one) and isinstance(other, float) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, list | tuple | deque) and type(one) is type(other):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(json_values)
def test_whatever_a_save_accepts_is_loaded_equal(value):
    saved = with_value(value)
    try:
        parts = contents.snapshot(saved)
    except holdfast.InvalidRequestError as refused:
        assert refused.field_violations[0][0].startswith("messages[1].parts[0].args")  # noqa: PT017 - only some values are refused
        return
    back = loaded(ContinuableSnapshot, parts, SNAPSHOT_FORMAT)
    for each in values_of(back):
        assert same(value, each)
    for part in parts.values():
        json.loads(part, parse_constant=pytest.fail)


texts = st.text(st.characters(exclude_categories=[]))
fields = st.none() | texts | st.integers() | st.floats() | st.binary()


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        RunRecord, run_id=texts, agent_name=fields, metadata=st.dictionaries(texts, fields), started_at=st.datetimes()
    )
    | st.builds(
        StepEvent, run_id=texts, kind=st.just("run_started"), step_index=st.integers() | st.floats(), error=fields
    )
    | st.builds(ToolEffectRecord, tool_call_id=fields, tool_name=fields, run_id=texts, status=st.just("started"))
)
def test_every_accepted_record_is_loaded_equal(item):
    try:
        data = contents.record(item)
    except holdfast.InvalidRequestError as refused:
        assert refused.field_violations  # noqa: PT017 - only some values are refused
        return
    assert loaded(type(item), data) == item


async def test_one_unreadable_item_is_reported_in_its_place_among_the_others(store, client):
    await store.register_run(RunRecord(run_id="a", started_at=NOON))
    await client.save("agents", "runs", b'{"run_id": 5}', format=RUN_FORMAT, checkpoint_id="run-b%2Fc")
    first, broken = await store.list_runs()
    assert (first.run_id, broken.run_id) == ("a", "b/c")
    assert isinstance(broken, Unreadable)
    assert isinstance(broken, RunRecord)
    with pytest.raises(
        holdfast.FormatIncompatibleError, match="cannot be read as RunRecord: run_id: Input should be a valid"
    ):
        broken.metadata  # noqa: B018
    with pytest.raises(holdfast.FormatIncompatibleError):
        await store.get_run(run_id="b/c")
    newer = holdfast.Format(RUN_FORMAT.name, 2)
    await client.save("agents", "runs", b"{}", format=newer, checkpoint_id="run-d")
    await store.register_run(RunRecord(run_id="e", started_at=NOON))
    assert [each.run_id for each in await store.list_runs()] == ["a", "e", "b/c", "d"]


async def test_a_foreign_effect_without_labels_hides_no_other(store, client):
    await client.save("agents", "run:r:effects", b"{}", format=TOOL_EFFECT_FORMAT, checkpoint_id="strange")
    await store.record_tool_effect(ToolEffectRecord(tool_call_id="1", tool_name="t", run_id="r", status="started"))
    strange, known = await store.list_unresolved_tool_effects(run_id="r")
    assert (strange.tool_call_id, known.tool_call_id) == ("strange", "1")
    assert isinstance(strange, Unreadable)


@pytest.mark.parametrize(
    "exact",
    [
        b'[[[0, "__class__"], 1]]',
        b'[[[0, "parts", 0, "__dict__", "x"], 1]]',
        b'[[[0, "parts", 9], 1]]',
        b"[[[], 1]]",
        b'[[[0, "parts", 0, "content"], {"$type": "class", "class": "os:system"}]]',
        b'[[[0, "parts", 0, "content"], {"$type": "subprocess:Popen", "state": {"args": "true"}}]]',
        b'[[[0, "parts", 0, "content"], {"$type": "pydantic_ai.messages:BinaryContent", "state": {}}]]',
        b"{",
    ],
)
async def test_stored_data_never_runs_code_and_sets_only_data_fields(store, client, exact):
    await store.save_snapshot(with_value(1))
    parts = {**(await client.load("agents", "run:r:snapshots")).parts, "exact": exact}
    await client.save("agents", "run:r:snapshots", parts, format=SNAPSHOT_FORMAT, labels={"state": "complete"})
    with pytest.raises(holdfast.FormatIncompatibleError, match="cannot be read as ContinuableSnapshot"):
        await store.latest_snapshot(run_id="r")


async def test_runs_without_a_time_zone_are_listed_among_the_others(store):
    await store.register_run(RunRecord(run_id="late", started_at=datetime(2026, 1, 1, 13)))
    await store.register_run(RunRecord(run_id="early", started_at=NOON))
    assert [each.run_id for each in await store.list_runs()] == ["early", "late"]


async def test_a_prune_removes_no_run_event_or_effect_and_not_the_newest_complete_snapshot(store, client):
    for number in range(3):
        await store.register_run(RunRecord(run_id=str(number)))
        await store.append_event(StepEvent(run_id="r", kind="run_started", step_index=number))
        await store.record_tool_effect(
            ToolEffectRecord(tool_call_id=str(number), tool_name="t", run_id="r", status="started")
        )
        await store.save_snapshot(with_value(number))
    for number in range(2):
        broken = with_value(number)
        broken.state = "interrupted"
        await store.save_snapshot(broken)
    for workflow in ("runs", "run:r:events", "run:r:effects", "run:r:snapshots"):
        await client.prune("agents", workflow, keep_last=1)
    assert len(await store.list_runs()) == len(await store.list_events(run_id="r")) == 3
    assert len(await store.list_unresolved_tool_effects(run_id="r")) == 3
    assert values_of(await store.latest_snapshot(run_id="r"))[0] == 2
    with pytest.raises(ValueError, match="already in the store"):
        await store.register_run(RunRecord(run_id="0"))


async def test_an_agent_whose_tool_returns_such_values_continues_with_them(store):
    def scripted(messages: Any, info: AgentInfo) -> ModelResponse:
        if len(messages) > 1:
            return ModelResponse(parts=[TextPart("done")])
        return ModelResponse(parts=[ToolCallPart(tool_name="work", args={"x": 1}, tool_call_id="1")])

    agent = Agent(FunctionModel(scripted), capabilities=[StepPersistence(store=store, run_id="r")])

    @agent.tool_plain
    def work(x: int) -> dict[str, Any]:
        return {
            "pair": (x, math.nan),
            "model": Model(x=x),
            "when": NOON,
            "picture": BinaryContent(b"x", media_type="image/png"),
        }

    await agent.run("go")
    history = await continue_run(store, run_id="r")
    content = history[2].parts[0].content
    assert (repr(content["pair"]), content["model"], content["when"]) == ("(1, nan)", {"x": 1}, NOON)
    assert content["picture"].data == b"x"
