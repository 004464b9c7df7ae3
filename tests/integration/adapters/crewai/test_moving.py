"""Flows of CrewAI's SQLite persistence are imported: whole, equal, once, and without a change of the file."""

import asyncio
import json
import os
import sqlite3
import uuid
from contextlib import closing, suppress
from dataclasses import replace

import holdfast
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.adapters import commands, kill_points, pages
from tests.integration.adapters.killing import run
from tests.support.required import require_engine
from tests.support.untouched import untouched

require_engine("crewai")

for _name in ("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_TRACKING", "CREWAI_DISABLE_VERSION_CHECK", "CREWAI_TESTING"):
    os.environ[_name] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"

from crewai.flow.async_feedback.types import HumanFeedbackPending, PendingFeedbackContext  # noqa: E402
from crewai.flow.flow import Flow, FlowState, listen, start  # noqa: E402
from crewai.flow.human_feedback import human_feedback  # noqa: E402
from crewai.flow.persistence.sqlite import SQLiteFlowPersistence  # noqa: E402
from holdfast.adapters.crewai import HoldfastFlowPersistence, import_flows  # noqa: E402
from holdfast.moving import SourceError  # noqa: E402

PROGRAM = "tests.integration.adapters.programs.moving_crewai"


@pytest.fixture
async def target_client(target):
    async with holdfast.AsyncClient(target, timeout=20) as client:
        yield client


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder / "flows.db"


@pytest.fixture
def persistence(client, namespace):
    return HoldfastFlowPersistence(client, namespace=namespace)


def fill(file, *states):
    """Save states: flow, method, state."""
    source = SQLiteFlowPersistence(str(file))
    for state in states:
        source.save_state(*state)
    return source


def change(file, statement, *values):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement, values)


def problems(report):
    return {moved.name: (moved.problem.reason, moved.problem.message) for moved in report.problems}


def question(flow="f", **fields):
    return PendingFeedbackContext(
        **{
            "flow_id": flow,
            "flow_class": "app.Review",
            "method_name": "review",
            "method_output": {"draft": "Zoë"},
            "message": "Good?",
            "emit": ["yes", "no"],
            "metadata": {"ticket": 7},
            "llm": {"model": "m", "temperature": 0.5},
            **fields,
        }
    )


async def stored(client, namespace):
    return [
        (loaded.info.workflow_id, loaded.revision, dict(loaded.info.labels), dict(loaded.parts))
        async for loaded in client.history(namespace)
    ]


class Draft(FlowState):
    title: str = ""
    verdict: str = ""


class Provider:
    def request_feedback(self, context, flow):
        raise HumanFeedbackPending(context=context)


class Review(Flow[Draft]):
    @start()
    @human_feedback(message="Good?", provider=Provider())
    def write(self):
        self.state.title = "a draft"
        return self.state.title

    @listen(write)
    def publish(self, result):
        self.state.verdict = result.feedback
        return self.state.verdict


async def test_a_flow_that_waits_for_a_human_is_resumed_from_the_target(target_client, client, namespace, file):
    source = SQLiteFlowPersistence(str(file))
    waiting = await asyncio.to_thread(Review(persistence=source).kickoff)
    flow = waiting.context.flow_id
    with untouched(file.parent):
        report = await import_flows(file, target_client, namespace=namespace)
    assert (report.items, report.failed) == (1, 0)
    assert report.verified == report.written > 0

    def resumed():
        persistence = HoldfastFlowPersistence(client, namespace=namespace)
        assert persistence.load_state(flow) == source.load_state(flow)
        return Review.from_pending(flow, persistence).resume("fine"), persistence.load_pending_feedback(flow)

    assert await asyncio.to_thread(resumed) == ("fine", None)


async def test_every_state_is_imported_and_the_newest_is_loaded(target_client, persistence, namespace, file):
    fill(file, ("f", "one", {"id": "f", "n": 1}), ("g", "m", {"id": "g"}), ("f", "two", {"id": "f", "n": 2}))
    report = await import_flows(file, target_client, namespace=namespace)
    assert (report.items, report.failed, report.written, report.verified) == (2, 0, 3, 3)
    assert persistence.load_state("f") == {"id": "f", "n": 2}
    found = [(name, labels["method"]) for name, _, labels, _ in await stored(target_client, namespace)]
    assert sorted(found) == [("f", "one"), ("f", "two"), ("g", "m")]


async def test_a_question_takes_the_place_of_its_state(target_client, persistence, namespace, file):
    source = fill(file, ("f", "one", {"id": "f", "n": 1}))
    source.save_pending_feedback("f", question(), {"id": "f", "n": 2})
    source.save_state("f", "later", {"id": "f", "n": 3})
    report = await import_flows(file, target_client, namespace=namespace)
    assert (report.failed, report.written, report.verified) == (0, 3, 3)
    state, context = persistence.load_pending_feedback("f")
    of_crewai = source.load_pending_feedback("f")
    assert (state, context) == of_crewai
    assert persistence.load_state("f") == {"id": "f", "n": 3}
    persistence.clear_pending_feedback("f")
    assert persistence.load_state("f") == {"id": "f", "n": 3}


async def test_a_question_whose_states_were_removed_is_imported(target_client, persistence, namespace, file):
    source = fill(file)
    source.save_pending_feedback("f", question(), {"id": "f", "n": 2})
    change(file, "DELETE FROM flow_states")
    report = await import_flows(file, target_client, namespace=namespace)
    assert (report.failed, report.written, report.verified) == (0, 1, 1)
    assert persistence.load_pending_feedback("f") == source.load_pending_feedback("f")


async def test_connection_settings_of_a_model_are_not_imported(target_client, namespace, file):
    source = fill(file)
    source.save_pending_feedback("f", question(llm={"model": "m", "api_key": "sesame"}), {"id": "f"})
    report = await import_flows(file, target_client, namespace=namespace)
    assert (report.failed, report.verified) == (0, 1)
    assert "sesame" not in str(await stored(target_client, namespace))


async def test_an_import_that_is_repeated_writes_nothing_and_catches_up(target_client, namespace, file):
    source = fill(file, ("f", "m", {"id": "f"}))
    await import_flows(file, target_client, namespace=namespace)
    before = await stored(target_client, namespace)
    report = await import_flows(file, target_client, namespace=namespace)
    assert (report.failed, report.written, report.present, report.verified) == (0, 0, 1, 1)
    assert await stored(target_client, namespace) == before
    source.save_pending_feedback("f", question(), {"id": "f", "n": 2})
    report = await import_flows(file, target_client, namespace=namespace)
    assert (report.failed, report.written, report.present, report.verified) == (0, 1, 1, 2)


async def test_a_flow_that_continued_in_the_target_stays_as_it_is(target_client, persistence, namespace, file):
    fill(file, ("f", "m", {"id": "f"}))
    await import_flows(file, target_client, namespace=namespace)
    persistence.save_state("f", "m", {"id": "f", "n": 2})
    report = await import_flows(file, target_client, namespace=namespace)
    assert (report.failed, report.written, report.present) == (0, 0, 1)
    assert persistence.load_state("f") == {"id": "f", "n": 2}


async def test_other_content_is_refused_by_name_and_not_overwritten(target_client, persistence, namespace, file):
    persistence.save_state("f", "m", {"id": "f", "n": 1})
    before = await stored(target_client, namespace)
    fill(file, ("f", "m", {"id": "f", "n": 2}), ("g", "m", {"id": "g"}))
    report = await import_flows(file, target_client, namespace=namespace, flows=["f"])
    [(reason, message)] = problems(report).values()
    assert reason == "OTHER_CONTENT"
    assert "row 1 of flow_states has other content in the target" in message
    assert await stored(target_client, namespace) == before
    report = await import_flows(file, target_client, namespace=namespace)
    assert (list(problems(report)), report.written) == (["f"], 1)


async def test_a_dry_run_finds_the_same_and_writes_nothing(target_client, namespace, file):
    fill(file, ("f", "m", {"id": "f"}), ("g", "m", {"id": "g"}))
    change(file, "UPDATE flow_states SET state_json = '[]' WHERE flow_uuid = 'g'")
    dry = await import_flows(file, target_client, namespace=namespace, dry_run=True)
    assert await stored(target_client, namespace) == []
    assert replace(await import_flows(file, target_client, namespace=namespace), verified=0) == dry


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE flow_states SET state_json = '{' WHERE id = 2", "row 2 of flow_states in "),
        ("UPDATE flow_states SET state_json = '[]' WHERE id = 2", "expected a JSON object, not list"),
        ("UPDATE flow_states SET state_json = x'ff' WHERE id = 2", "row 2 of flow_states in "),
        ("UPDATE flow_states SET method_name = printf('%.1100c', 'x') WHERE id = 2", "at most 1024 bytes"),
        ("UPDATE flow_states SET flow_uuid = ''", "an id must not be empty"),
        ("UPDATE flow_states SET flow_uuid = CAST('f' AS BLOB)", "the id is not text in "),
        ("UPDATE flow_states SET flow_uuid = CAST(x'ff' AS TEXT)", "without lone surrogates"),
        (
            "INSERT INTO pending_feedback VALUES (1, 'f', '{}', '{}', '')",
            "cannot be loaded by CrewAI",
        ),
        (
            "INSERT INTO pending_feedback VALUES (1, 'f', '{', '{}', '')",
            "the question that waits in ",
        ),
    ],
)
async def test_a_row_that_cannot_be_kept_fails_its_flow_alone(target_client, namespace, file, statement, problem):
    fill(file, ("f", "m", {"id": "f"}), ("f", "m", {"id": "f", "n": 2}))
    change(file, statement)
    fill(file, ("g", "m", {"id": "g"}))
    report = await import_flows(file, target_client, namespace=namespace)
    [(reason, message)] = problems(report).values()
    assert reason == "UNREADABLE"
    assert problem in message
    assert [each[0] for each in await stored(target_client, namespace)] == ["g"]


async def test_a_file_that_cannot_be_read_is_an_error(target_client, namespace, file):
    with pytest.raises(SourceError, match="No such file"):
        await import_flows(file, target_client, namespace=namespace)
    assert not file.exists()
    change(file, "CREATE TABLE other (id)")
    with untouched(file.parent), pytest.raises(SourceError, match="has no table 'flow_states'"):
        await import_flows(file, target_client, namespace=namespace)


async def test_what_a_write_ahead_log_holds_is_imported_and_stays_there(target_client, persistence, namespace, file):
    source = fill(file, ("f", "m", {"id": "f"}))
    with closing(sqlite3.connect(file)) as held:
        held.execute("SELECT * FROM flow_states").fetchall()
        source.save_state("f", "m", {"id": "f", "n": 2})
        assert file.with_name("flows.db-wal").stat().st_size
        with untouched(file.parent):
            await import_flows(file, target_client, namespace=namespace)
    assert persistence.load_state("f") == {"id": "f", "n": 2}


def test_an_import_that_is_killed_and_repeated_has_the_same_result(target, tmp_path):
    calm = run(PROGRAM, target, tmp_path / "calm")
    assert calm.result[:2] == [0, 7]
    for kill_at in kill_points.points(calm):
        assert run(PROGRAM, target, tmp_path / str(kill_at), kill_at=kill_at).result == calm.result


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
STATES = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)


@given(
    saves=st.lists(
        st.tuples(st.sampled_from(["f", "g", "ü/%:"]), st.text(max_size=5), STATES, st.booleans()), max_size=8
    ),
    stop_after=st.integers(0, 20),
)
@settings(max_examples=40, deadline=None)
def test_every_history_is_loaded_as_crewai_loads_it(target, tmp_path_factory, saves, stop_after):
    """Also if the import is stopped anywhere and repeated."""
    file = tmp_path_factory.mktemp("crewai") / "flows.db"
    source = SQLiteFlowPersistence(str(file))
    for flow, method, state, asks in saves:
        try:
            if asks:
                source.save_pending_feedback(flow, question(flow, method_name=method), state)
            else:
                source.save_state(flow, method, state)
        except UnicodeEncodeError:
            return

    class StoppedError(Exception):
        pass

    async def moved(namespace):
        calls = 0

        def stop(_):
            nonlocal calls
            calls += 1
            if calls > stop_after:
                raise StoppedError

        async with holdfast.AsyncClient(target, timeout=20) as client:
            with suppress(StoppedError):
                await import_flows(file, client, namespace=namespace, progress=stop)
            return await import_flows(file, client, namespace=namespace)

    namespace = uuid.uuid4().hex
    report = asyncio.run(moved(namespace))
    refused = problems(report)
    assert {reason for reason, _ in refused.values()} <= {"UNREADABLE"}
    with holdfast.Client(target, timeout=20) as client:
        persistence = HoldfastFlowPersistence(client, namespace=namespace)
        for flow in {flow for flow, *_ in saves} - refused.keys():
            assert json.dumps(persistence.load_state(flow)) == json.dumps(source.load_state(flow))
            assert persistence.load_pending_feedback(flow) == source.load_pending_feedback(flow)


def test_the_command_of_the_page_prints_what_it_shows(target, namespace, tmp_path):
    fill(tmp_path / "flow_states.db", ("run-42", "m", {"id": "run-42"}), ("run-42", "m", {"id": "run-42", "n": 1}))
    [(command, shown), _] = pages.commands_of("crewai")
    arguments = command.replace("my-flows", namespace).split()
    assert commands.run(target, *arguments, folder=tmp_path).stdout == shown
