"""Both persisters of Burr, with the same tests, and Burr applications that use them."""

import asyncio
import datetime
import inspect
import json

import holdfast
import pytest

from tests.integration.adapters import kill_points, pages
from tests.integration.adapters.killing import run
from tests.support import servers
from tests.support.damage import damage_marker, damage_newest
from tests.support.required import require_engine
from tests.support.servers import server, start

require_engine("burr")

from burr.core import ApplicationBuilder, Result, State, action, default, expr  # noqa: E402
from burr.core.parallelism import MapStates  # noqa: E402
from burr.core.persistence import AsyncBaseStatePersister, BaseStatePersister, SQLitePersister  # noqa: E402
from burr.integrations.serde import pydantic as _registered  # noqa: E402, F401
from holdfast.adapters.burr import FORMAT, AsyncHoldfastPersister, HoldfastPersister, workflow_id  # noqa: E402
from pydantic import BaseModel  # noqa: E402

NAMESPACE = "agents"
LARGE = "x" * 100_000  # too large for a commit marker: it lies in a blob


class Point(BaseModel):
    x: int
    y: float


ALLOW = {"allowed_classes": [Point]}


class Either:
    """A persister of either kind behind an asynchronous interface."""

    def __init__(self, persister) -> None:
        self.real = persister

    def __getattr__(self, name):
        method = getattr(self.real, name)
        if inspect.iscoroutinefunction(method):
            return method
        return lambda *arguments, **keywords: asyncio.to_thread(method, *arguments, **keywords)

    async def put(self, app_id, sequence_id, state, *, partition_key="p", position="step", status="completed"):
        await self.save(partition_key, app_id, sequence_id, position, State(state), status)


@pytest.fixture(params=["async", "sync"])
async def make(request, served):
    """A factory of persisters of one kind."""
    if request.param == "async":
        async with holdfast.AsyncClient(served.target, timeout=20) as client:
            yield lambda **options: Either(AsyncHoldfastPersister(client, namespace=NAMESPACE, **{**ALLOW, **options}))
    else:
        with holdfast.Client(served.target, timeout=20) as client:
            yield lambda **options: Either(HoldfastPersister(client, namespace=NAMESPACE, **{**ALLOW, **options}))


@pytest.fixture
async def persister(make):
    return make()


async def test_a_state_comes_back_with_everything_that_burr_stores_with_it(persister):
    before = datetime.datetime.now(datetime.UTC)
    await persister.save("p", "app", 3, "greet", State({"a": 1}), "failed")
    loaded = await persister.load("p", "app")
    created = datetime.datetime.fromisoformat(loaded.pop("created_at"))
    assert before - datetime.timedelta(seconds=5) < created < datetime.datetime.now(datetime.UTC)
    assert isinstance(loaded["state"], State)
    assert loaded.pop("state").get_all() == {"a": 1}
    expected = {"partition_key": "p", "app_id": "app", "sequence_id": 3, "position": "greet", "status": "failed"}
    assert loaded == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**70),
        1.5,
        "",
        "\0 é 😀 \ud800",
        [],
        [1, [2, {"a": None}]],
        {"k": {"é": []}},
        Point(x=1, y=2.5),
    ],
)
async def test_values_come_back_as_burr_serialises_them(persister, value):
    await persister.put("app", 0, {"value": value})
    assert (await persister.load("p", "app"))["state"]["value"] == value


async def test_a_loaded_state_equals_the_one_from_burrs_own_sqlite(persister, tmp_path):
    state = State({"tuple": (1, 2), "time": datetime.datetime(2020, 1, 1), "point": Point(x=1, y=2), 5: {6: "keys"}})
    own = SQLitePersister(str(tmp_path / "db"))
    own.initialize()
    own.save("p", "app", 1, "step", state, "completed")
    await persister.save("p", "app", 1, "step", state, "completed")
    mine, theirs = await persister.load("p", "app"), own.load("p", "app")
    assert mine["state"].get_all() == theirs["state"].get_all()
    assert {**mine, "state": 0, "created_at": 0} == {**theirs, "state": 0, "created_at": 0}


async def test_the_payload_is_burrs_json_with_the_adapters_format(persister, client):
    await persister.put("app", 7, {"point": Point(x=1, y=2)})
    loaded = await client.load(NAMESPACE, workflow_id("p", "app"), "7")
    assert loaded.format == FORMAT == holdfast.Format("burr-state", 1)
    assert json.loads(loaded.data) == State({"point": Point(x=1, y=2)}).serialize()
    assert loaded.info.labels == {"sequence_id": "7", "position": "step", "status": "completed"}


async def test_arguments_for_burrs_serde_are_passed_on(make):
    seen = []

    class Odd:
        pass

    from burr.core import serde  # noqa: PLC0415

    @serde.serialize.register(Odd)
    def _(value, odd_options=None, **options):
        seen.append(odd_options)
        return {serde.KEY: "odd", "value": 1}

    @serde.deserializer.register("odd")
    def _(value, odd_options=None, **options):
        seen.append(odd_options)
        return "odd again"

    persister = make(serde_kwargs={"odd_options": {"deep": True}})
    await persister.put("app", 0, {"odd": Odd()})
    assert (await persister.load("p", "app"))["state"]["odd"] == "odd again"
    assert seen == [{"deep": True}, {"deep": True}]


async def test_a_large_state_comes_back(persister):
    await persister.put("app", 0, {"text": LARGE * 50})
    assert (await persister.load("p", "app"))["state"]["text"] == LARGE * 50


async def test_without_a_sequence_id_the_state_saved_last_is_loaded_failed_or_not(persister):
    for sequence_id in range(12):
        await persister.put(
            "app", sequence_id, {"n": sequence_id}, status="failed" if sequence_id == 11 else "completed"
        )
    loaded = await persister.load("p", "app")
    assert (loaded["sequence_id"], loaded["state"]["n"], loaded["status"]) == (11, 11, "failed")


async def test_a_sequence_id_loads_the_state_after_that_step(persister):
    for sequence_id in range(12):
        await persister.put("app", sequence_id, {"n": sequence_id})
    for sequence_id in (0, 1, 10, 11):
        assert (await persister.load("p", "app", sequence_id))["state"]["n"] == sequence_id


@pytest.mark.parametrize(
    ("partition_key", "app_id", "sequence_id"),
    [
        ("p", "other", None),
        ("p", "app", 2),
        ("p", "other", 2),
        ("q", "app", None),
        (None, "app", None),
        ("q", None, None),
    ],
)
async def test_a_state_that_was_never_saved_loads_as_none(persister, partition_key, app_id, sequence_id):
    await persister.put("app", 1, {})
    assert await persister.load(partition_key, app_id, sequence_id) is None


async def test_an_empty_namespace_has_no_applications(persister):
    assert await persister.load("p", "app") is None
    assert await persister.load("p", None) is None
    assert await persister.list_app_ids("p") == []


async def test_no_partition_key_is_the_same_as_an_empty_one(persister):
    await persister.put("app", 1, {"n": 1}, partition_key=None)
    assert (await persister.load("", "app"))["state"]["n"] == 1
    assert (await persister.load(None, "app"))["partition_key"] == ""
    assert await persister.list_app_ids(None) == await persister.list_app_ids("") == ["app"]


async def test_without_an_app_id_the_application_of_the_partition_that_was_saved_last_is_loaded(persister):
    await persister.put("first", 0, {})
    await persister.put("second", 0, {})
    await persister.put("first", 1, {})
    await persister.put("third", 0, {}, partition_key="q")
    assert (await persister.load("p", None))["app_id"] == "first"
    assert (await persister.load("q", None))["app_id"] == "third"


async def test_applications_are_listed_by_partition_most_recently_saved_first(persister):
    for app_id in ("a", "b", "c"):
        await persister.put(app_id, 0, {})
    await persister.put("a", 1, {})
    await persister.put("d", 0, {}, partition_key="pp")
    await persister.put("e", 0, {}, partition_key="")
    assert await persister.list_app_ids("p") == ["a", "c", "b"]
    assert await persister.list_app_ids("pp") == ["d"]
    assert await persister.list_app_ids(None) == ["e"]


ODD_IDS = ["", ".", "..", "a/b", "a\\b", "a:b", "%2F", "a%3Ab", "é😀", " ", "line\nbreak", "\0", "u" * 400, "é" * 200]


async def test_ids_may_be_any_text(persister):
    for index, odd in enumerate(ODD_IDS):
        await persister.put(odd, index, {"id": odd}, partition_key="p")
        await persister.put("app", index, {"id": odd}, partition_key=f"key {odd}")
    assert sorted(await persister.list_app_ids("p")) == sorted(ODD_IDS)
    for odd in ODD_IDS:
        assert (await persister.load("p", odd))["state"]["id"] == odd
        loaded = await persister.load(f"key {odd}", "app")
        assert (loaded["state"]["id"], loaded["partition_key"]) == (odd, f"key {odd}")


async def test_partition_key_and_app_id_are_never_confused(persister):
    pairs = [("a:b", "c"), ("a", "b:c"), ("", "a:b:c"), ("a%3Ab", "c")]
    for index, (partition_key, app_id) in enumerate(pairs):
        await persister.put(app_id, 0, {"n": index}, partition_key=partition_key)
    for index, (partition_key, app_id) in enumerate(pairs):
        assert (await persister.load(partition_key, app_id))["state"]["n"] == index
        assert await persister.list_app_ids(partition_key) == [app_id]


@pytest.mark.parametrize(
    ("partition_key", "app_id", "error", "what"),
    [
        ("p", 5, TypeError, "app_id must be a string, not int"),
        (0, "app", TypeError, "partition_key must be a string, not int"),
        ("p" * 300, "a" * 300, ValueError, "601 bytes together, the limit is 512"),
        ("p", "é" * 256, ValueError, "514 bytes together"),
        ("p", "\ud800", ValueError, "without lone surrogates"),
    ],
)
async def test_ids_that_cannot_be_stored_are_refused(persister, partition_key, app_id, error, what):
    with pytest.raises(error, match=what):
        await persister.put(app_id, 0, {}, partition_key=partition_key)
    with pytest.raises(error, match=what):
        await persister.load(partition_key, app_id)


async def test_other_bad_input_is_refused(persister):
    with pytest.raises(TypeError, match="sequence_id must be an integer, not str"):
        await persister.put("app", "1", {})
    with pytest.raises(TypeError, match="sequence_id must be an integer, not float"):
        await persister.load("p", "app", 1.0)
    with pytest.raises(ValueError, match="sequence_id requires app_id"):
        await persister.load("p", None, 1)
    with pytest.raises(ValueError, match='"completed" or "failed", not \'done\''):
        await persister.put("app", 1, {}, status="done")
    with pytest.raises(TypeError, match="not JSON serializable"):
        await persister.put("app", 1, {"broken": _with_time()})
    assert await persister.load("p", "app") is None


def _with_time():
    class WithTime(BaseModel):
        time: datetime.datetime

    return WithTime(time=datetime.datetime(2020, 1, 1))


async def test_a_step_is_saved_once_and_only_equal_content_is_accepted_again(persister):
    await persister.put("app", 1, {"n": 1})
    await persister.put("app", 1, {"n": 1})
    for other in ({"state": {"n": 2}}, {"state": {"n": 1}, "position": "x"}, {"state": {"n": 1}, "status": "failed"}):
        with pytest.raises(holdfast.CheckpointIdReusedError):
            await persister.put("app", 1, **other)
    loaded = await persister.load("p", "app")
    assert (loaded["state"]["n"], loaded["position"], loaded["status"]) == (1, "step", "completed")


async def test_of_two_writers_of_one_step_one_wins(make):
    first, second = make(), make()
    results = await asyncio.gather(
        first.put("app", 1, {"by": "first"}), second.put("app", 1, {"by": "second"}), return_exceptions=True
    )
    lost = [each for each in results if each is not None]
    assert [type(each) for each in lost] == [holdfast.CheckpointIdReusedError]
    winner = "first" if results[0] is None else "second"
    assert (await first.load("p", "app"))["state"]["by"] == winner


async def test_many_applications_are_saved_concurrently(persister):
    async def one(number: int) -> None:
        for sequence_id in range(3):
            await persister.put(f"app-{number}", sequence_id, {"n": number})
        assert (await persister.load("p", f"app-{number}"))["state"]["n"] == number

    await asyncio.gather(*(one(number) for number in range(40)))
    assert len(await persister.list_app_ids("p")) == 40


async def test_a_deleted_application_is_gone_and_may_begin_again(persister, client):
    await persister.put("app", 1, {"n": 1})
    await persister.put("other", 1, {})
    await client.delete_workflow(NAMESPACE, workflow_id("p", "app"))
    assert await persister.load("p", "app") is None
    assert await persister.load("p", "app", 1) is None
    assert await persister.list_app_ids("p") == ["other"]
    assert (await persister.load("p", None))["app_id"] == "other"
    await persister.put("app", 1, {"n": 2})
    assert (await persister.load("p", "app"))["state"]["n"] == 2
    assert (await persister.load("p", "app", 1))["state"]["n"] == 2
    assert await persister.list_app_ids("p") == ["app", "other"]


async def test_a_step_that_was_deleted_may_be_done_again(persister, client):
    for sequence_id in range(3):
        await persister.put("app", sequence_id, {"n": sequence_id})
    await client.delete(NAMESPACE, workflow_id("p", "app"), "2")
    assert (await persister.load("p", "app"))["sequence_id"] == 1
    assert await persister.load("p", "app", 2) is None
    await persister.put("app", 2, {"n": "again"})
    assert (await persister.load("p", "app"))["state"]["n"] == "again"
    assert (await persister.load("p", "app", 2))["state"]["n"] == "again"


@pytest.mark.without_deltas
async def test_a_damaged_newest_state_is_an_error_and_no_older_one_is_loaded_silently(persister, served):
    await persister.put("app", 1, {"n": 1, "text": LARGE})
    await persister.put("app", 2, {"n": 2, "text": LARGE})
    damage_newest(served.folder)
    for arguments in (("p", "app"), ("p", "app", 2), ("p", None)):
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await persister.load(*arguments)
    assert (await persister.load("p", "app", 1))["state"]["n"] == 1


@pytest.mark.without_deltas
async def test_a_caller_with_fallback_gets_the_last_good_state_and_can_continue_from_it(make, served):
    persister = make(fallback=True)
    await persister.put("app", 1, {"n": 1, "text": LARGE})
    await persister.put("app", 2, {"n": 2, "text": LARGE})
    damage_newest(served.folder)
    assert (await persister.load("p", "app"))["sequence_id"] == 1
    # A load of a step by its id never falls back.
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await persister.load("p", "app", 2)
    await persister.put("app", 2, {"n": "again"})
    await persister.put("app", 3, {"n": 3})
    assert (await persister.load("p", "app"))["sequence_id"] == 3
    assert (await persister.load("p", "app", 2))["state"]["n"] == "again"


@pytest.mark.without_deltas
async def test_a_damaged_step_that_is_saved_again_with_equal_content_is_whole_again(make, served):
    persister = make(fallback=True)
    await persister.put("app", 1, {"n": 1, "text": LARGE})
    damage_newest(served.folder)
    await persister.put("app", 1, {"n": 1, "text": LARGE})
    assert (await persister.load("p", "app", 1))["state"]["text"] == LARGE
    assert (await persister.load("p", "app"))["sequence_id"] == 1


async def test_fallback_replaces_no_whole_step(make):
    persister = make(fallback=True)
    await persister.put("app", 1, {"n": 1})
    with pytest.raises(holdfast.CheckpointIdReusedError):
        await persister.put("app", 1, {"n": 2})


@pytest.mark.without_deltas
async def test_with_fallback_but_no_whole_state_the_damage_is_reported(make, served):
    persister = make(fallback=True)
    await persister.put("app", 1, {"text": LARGE})
    damage_newest(served.folder)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await persister.load("p", "app")


def test_after_a_damaged_marker_an_application_continues_once_the_store_is_repaired(tmp_path):
    url = (tmp_path / "store").as_uri()
    with server(url) as target, HoldfastPersister.from_target(target, namespace=NAMESPACE) as persister:
        for sequence_id in range(3):
            persister.save("p", "app", sequence_id, "step", State({"n": sequence_id}), "completed")
    damage_marker(tmp_path / "store")
    with server(url) as target, holdfast.Client(target) as client:
        persister = HoldfastPersister(client, namespace=NAMESPACE, fallback=True)
        with pytest.raises(holdfast.CheckpointCorruptedError):
            HoldfastPersister(client, namespace=NAMESPACE).load("p", "app")
        assert persister.load("p", "app")["sequence_id"] == 1
        with pytest.raises(holdfast.CheckpointCorruptedError):
            persister.save("p", "app", 2, "step", State({"n": "again"}), "completed")
    servers.run("fsck", "--store", url, "--repair")
    with server(url) as target, HoldfastPersister.from_target(target, namespace=NAMESPACE) as persister:
        assert persister.load("p", "app")["sequence_id"] == 1
        persister.save("p", "app", 2, "step", State({"n": "again"}), "completed")
        assert persister.load("p", "app")["state"]["n"] == "again"


async def test_a_state_of_another_format_version_is_refused(make, client):
    newer = holdfast.Format("burr-state", 2)
    await client.save(NAMESPACE, workflow_id("p", "app"), b"?", format=newer, checkpoint_id="1")
    for persister in (make(), make(fallback=True)):
        with pytest.raises(holdfast.FormatIncompatibleError):
            await persister.load("p", "app")


async def test_a_server_that_cannot_be_reached_is_a_typed_error(unused_target):
    async with AsyncHoldfastPersister.from_target(unused_target, namespace=NAMESPACE, timeout=1) as persister:
        for call in (persister.load("p", "app"), persister.list_app_ids("p"), Either(persister).put("app", 1, {})):
            with pytest.raises((holdfast.ServerUnavailableError, holdfast.DeadlineExceededError)):
                await call
    with (
        HoldfastPersister.from_target(unused_target, namespace=NAMESPACE, timeout=1) as persister,
        pytest.raises((holdfast.ServerUnavailableError, holdfast.DeadlineExceededError)),
    ):
        persister.load("p", "app")


@pytest.fixture
def unused_target(tmp_path):
    process, target = start((tmp_path / "gone").as_uri())
    process.kill()
    process.wait()
    return target


async def test_the_persisters_implement_burrs_interfaces_and_need_no_initialisation(served):
    async with AsyncHoldfastPersister.from_target(served.target, namespace=NAMESPACE) as persister:
        assert isinstance(persister, AsyncBaseStatePersister)
        assert persister.is_async()
        assert await persister.is_initialized()
        await persister.initialize()
    with HoldfastPersister.from_target(served.target, namespace=NAMESPACE) as persister:
        assert isinstance(persister, BaseStatePersister)
        assert not persister.is_async()
        assert persister.is_initialized()
        persister.initialize()


# Applications of Burr.


@action(reads=["count"], writes=["count"])
def count(state: State) -> State:
    return state.update(count=state["count"] + 1)


@action(reads=["count"], writes=["count"])
async def acount(state: State) -> State:
    return state.update(count=state["count"] + 1)


def counting(step, persister, app_id: str, **fork):
    return (
        ApplicationBuilder()
        .with_actions(count=step, done=Result("count"))
        .with_transitions(("count", "count", expr("count < 3")), ("count", "done", default))
        .with_identifiers(app_id=app_id, partition_key="p")
        .initialize_from(
            persister, resume_at_next_action=True, default_state={"count": 0}, default_entrypoint="count", **fork
        )
        .with_state_persister(persister)
    )


async def test_an_asynchronous_application_continues_where_it_stopped(served):
    async with AsyncHoldfastPersister.from_target(served.target, namespace=NAMESPACE) as persister:
        first = await counting(acount, persister, "app").abuild()
        await first.astep()
        second = await counting(acount, persister, "app").abuild()
        assert second.state["count"] == 1
        _, _, state = await second.arun(halt_after=["done"])
        assert state["count"] == 3
        saved = await persister.load("p", "app")
        assert (saved["position"], saved["sequence_id"], saved["status"]) == ("done", 3, "completed")


def test_an_application_continues_where_it_stopped_and_a_fork_does_not_change_it(tmp_path):
    with (
        server((tmp_path / "store").as_uri()) as target,
        HoldfastPersister.from_target(target, namespace=NAMESPACE) as persister,
    ):
        _, _, state = counting(count, persister, "app").build().run(halt_after=["done"])
        assert state["count"] == 3
        fork = {"fork_from_app_id": "app", "fork_from_partition_key": "p", "fork_from_sequence_id": 1}
        forked = counting(count, persister, "forked", **fork).build()
        assert forked.state["count"] == 2
        forked.run(halt_after=["done"])
        assert persister.load("p", "forked")["sequence_id"] == 3
        assert persister.list_app_ids("p") == ["forked", "app"]


def test_a_failed_action_runs_again(tmp_path):
    broken = True

    @action(reads=["count"], writes=["count"])
    def sometimes(state: State) -> State:
        if broken and state["count"] == 1:
            raise RuntimeError("not now")
        return state.update(count=state["count"] + 1)

    with (
        server((tmp_path / "store").as_uri()) as target,
        HoldfastPersister.from_target(target, namespace=NAMESPACE) as persister,
    ):
        with pytest.raises(RuntimeError, match="not now"):
            counting(sometimes, persister, "app").build().run(halt_after=["done"])
        saved = persister.load("p", "app")
        assert (saved["status"], saved["position"], saved["state"]["count"]) == ("failed", "count", 1)
        broken = False
        _, _, state = counting(sometimes, persister, "app").build().run(halt_after=["done"])
        assert state["count"] == 3


class Doubled(MapStates):
    def action(self, state, inputs):
        @action(reads=["n"], writes=["n"])
        def double(state: State) -> State:
            return state.update(n=state["n"] * 2)

        return double

    def states(self, state, context, inputs):
        for number in range(8):
            yield state.update(n=number)

    def reduce(self, state, states):
        return state.update(total=sum(each["n"] for each in states))

    @property
    def reads(self):
        return []

    @property
    def writes(self):
        return ["total"]


def test_applications_that_an_action_runs_in_parallel_are_saved_too(tmp_path):
    with (
        server((tmp_path / "store").as_uri()) as target,
        HoldfastPersister.from_target(target, namespace=NAMESPACE) as persister,
    ):
        application = (
            ApplicationBuilder()
            .with_actions(doubled=Doubled(), done=Result("total"))
            .with_transitions(("doubled", "done"))
            .with_identifiers(app_id="app", partition_key="p")
            .initialize_from(persister, resume_at_next_action=True, default_state={}, default_entrypoint="doubled")
            .with_state_persister(persister)
            .build()
        )
        _, _, state = application.run(halt_after=["done"])
        assert state["total"] == 56
        assert len(persister.list_app_ids("p")) == 9


@pytest.mark.verification
def test_an_application_killed_anywhere_ends_as_if_it_had_not_been(target, tmp_path):
    calm = run("tests.integration.adapters.programs.burr", target, tmp_path / "calm")
    assert calm.kills == 0
    assert calm.result["notes"][-1] == "published draft 3"
    for kill_at in kill_points.points(calm):
        killed = run("tests.integration.adapters.programs.burr", target, tmp_path / str(kill_at), kill_at=kill_at)
        assert killed.result == calm.result, f"killed at {calm.points[kill_at - 1]}"
        _only_the_step_in_progress_ran_twice(killed.points, kill_at, calm.points)


def _only_the_step_in_progress_ran_twice(points: list[str], kill_at: int, calm: list[str]) -> None:
    before, after = points[:kill_at], points[kill_at:]
    assert before == calm[:kill_at]
    steps = [name for name in after if name.startswith("before step")]
    saved = {name.removeprefix("after save ") for name in before if name.startswith("after save ")}
    again = [name for name in steps if name in before]
    assert len(again) <= 1
    assert not saved & {name.removeprefix("before step ") for name in steps}


def test_the_code_of_the_page_runs_as_written(tmp_path):
    assert [pages.output_of("burr", tmp_path) for _ in range(2)] == ["1\n", "2\n"]
