"""CrewAI's own checkpoints of a SQLite file are imported: whole, equal, once, and without a change of the file."""

import asyncio
import json
import os
import re
import sqlite3
from contextlib import closing
from dataclasses import replace

import holdfast
import pytest

from tests.integration.adapters import commands, kill_points, pages
from tests.integration.adapters.killing import run
from tests.support.jsonb import give_sqlite_jsonb
from tests.support.required import require_engine
from tests.support.untouched import untouched

require_engine("crewai")

for _name in ("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_TRACKING", "CREWAI_DISABLE_VERSION_CHECK", "CREWAI_TESTING"):
    os.environ[_name] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"

from crewai import Agent, Crew, Task  # noqa: E402
from crewai.events.event_bus import crewai_event_bus  # noqa: E402
from crewai.flow.flow import Flow, FlowState, listen, start  # noqa: E402
from crewai.flow.persistence.sqlite import SQLiteFlowPersistence  # noqa: E402
from crewai.llms.base_llm import BaseLLM  # noqa: E402
from crewai.state.checkpoint_config import CheckpointConfig  # noqa: E402
from crewai.state.provider import sqlite_provider  # noqa: E402
from holdfast.adapters.crewai import HoldfastCheckpointProvider, import_checkpoints, import_flows  # noqa: E402
from holdfast.moving import SourceError  # noqa: E402
from pydantic import PrivateAttr  # noqa: E402

PROGRAM = "tests.integration.adapters.programs.moving_crewai_checkpoints"


@pytest.fixture
async def target_client(target):
    async with holdfast.AsyncClient(target, timeout=20) as client:
        yield client


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder / "run-42.db"


@pytest.fixture
def source(monkeypatch):
    """Return CrewAI's provider, which needs a function that not every SQLite has."""
    give_sqlite_jsonb(monkeypatch, sqlite_provider)
    return sqlite_provider.SqliteProvider()


@pytest.fixture
def provider(client, namespace):
    return HoldfastCheckpointProvider(client, namespace=namespace)


def fill(source, file, *steps, branch="main", parent_id=None):
    """Save a checkpoint of a flow for each step, each with the one before as its parent, and return their ids."""
    ids = []
    for step in steps:
        flow = {
            "entity_type": "flow",
            "checkpoint_completed_methods": ["begin"],
            "checkpoint_state": {"id": "f", "step": step},
            "llm": {"api_key": "sesame"},
        }
        data = json.dumps({"crewai_version": "1.15.30", "branch": branch, "entities": [flow]})
        ids.append(source.extract_id(source.checkpoint(data, str(file), parent_id=parent_id, branch=branch)))
        parent_id = ids[-1]
    return ids


def change(file, statement, *values):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement, values)


def problems(report):
    return {moved.name: (moved.problem.reason, moved.problem.message) for moved in report.problems}


async def stored(client, namespace):
    return [
        (loaded.info.workflow_id, loaded.revision, dict(loaded.info.labels), dict(loaded.parts))
        async for loaded in client.history(namespace)
    ]


class DiedError(Exception):
    """Ends a run of CrewAI after its first step."""


class Step(FlowState):
    step: int = 0


class Two(Flow[Step]):
    ran = ()

    @start()
    def begin(self):
        self.ran = (*self.ran, "begin")
        self.state.step = 1

    @listen(begin)
    def end(self):
        self.ran = (*self.ran, "end")
        return f"ended after {self.state.step}"


class DyingTwo(Flow[Step]):
    @start()
    def begin(self):
        self.state.step = 1

    @listen(begin)
    def end(self):
        die()


class Scripted(BaseLLM):
    _dies: bool = PrivateAttr(default=False)
    _asked: list[str] = PrivateAttr(default_factory=list)

    def call(self, messages, *arguments, **options):
        task = next(word for word in ("first", "second") if f"Task: {word}" in str(messages))
        self._asked.append(task)
        if self._dies and task == "second":
            die()
        return f"Thought: I know.\nFinal Answer: answer to {task}"


class DyingScripted(Scripted):
    _dies: bool = PrivateAttr(default=True)


def crew(llm, **options):
    agent = Agent(role="writer", goal="write", backstory="a writer", llm=llm, verbose=False)
    tasks = [Task(description=each, expected_output="words", agent=agent) for each in ("first {topic}", "second")]
    return Crew(agents=[agent], tasks=tasks, verbose=False, **options)


def ended(entity, **options):
    result = entity.kickoff(**options)
    crewai_event_bus.flush()
    return result


def die():
    """Wait for the checkpoint of the first step, which CrewAI writes in a thread, then end the run."""
    crewai_event_bus.flush()
    raise DiedError


def interrupted(make, source, file, event, **options):
    """Run an entity until it dies after its first step, again if CrewAI failed to write the checkpoint of the step.

    CrewAI reads its record of events in one thread while another one adds to it, which may fail.
    """
    for _ in range(20):
        # Otherwise the checkpoint also has the entity of the try before.
        crewai_event_bus.reset_runtime_state()
        config = CheckpointConfig(provider=source, location=str(file), on_events=[event])
        with pytest.raises(DiedError):
            make(checkpoint=config).kickoff(**options)
        crewai_event_bus.flush()
        if file.exists():
            return
    pytest.fail("CrewAI has written no checkpoint")


async def test_a_flow_of_crewai_continues_from_the_target(target_client, provider, source, namespace, file):
    await asyncio.to_thread(interrupted, DyingTwo, source, file, "method_execution_finished")
    with untouched(file.parent):
        report = await import_checkpoints(file, target_client, namespace=namespace)
    assert (report.items, report.failed, report.written, report.verified) == (1, 0, 1, 1)
    flow = Two()
    assert await asyncio.to_thread(provider.resume, flow, "run-42")
    # CrewAI may copy the state in its thread before the step has changed it: the target has what CrewAI wrote.
    [(_, _, _, parts)] = await stored(target_client, namespace)
    [entity] = json.loads(parts[""])["entities"]
    assert await asyncio.to_thread(ended, flow) == f"ended after {entity['checkpoint_state']['step']}"
    assert flow.ran == ("end",)


async def test_a_crew_of_crewai_continues_from_the_target(target_client, provider, source, namespace, file):
    def make(**options):
        return crew(DyingScripted(model="scripted", api_key="sesame"), **options)

    await asyncio.to_thread(interrupted, make, source, file, "task_completed", inputs={"topic": "stores"})
    report = await import_checkpoints(file, target_client, namespace=namespace, location="crew")
    assert (report.items, report.failed, report.written, report.verified) == (1, 0, 1, 1)
    assert "sesame" not in str(await stored(target_client, namespace))
    other = Scripted(model="scripted")
    second = crew(other)
    assert await asyncio.to_thread(provider.resume, second, "crew")
    result = await asyncio.to_thread(ended, second, inputs=second.checkpoint_inputs)
    assert [each.raw for each in result.tasks_output] == ["answer to first", "answer to second"]
    assert other._asked == ["second"]


async def test_branches_keep_their_ids_and_parents(target_client, provider, source, namespace, file):
    ids = fill(source, file, 1, 2)
    [forked] = fill(source, file, 3, branch="fork/1", parent_id=ids[0])
    report = await import_checkpoints(file, target_client, namespace=namespace)
    assert (report.items, report.failed, report.written, report.verified) == (2, 0, 3, 3)
    found = [(info.checkpoint_id, info.parent_id) async for info in target_client.list(namespace, "run-42:main")]
    assert found == [(ids[1], ids[0]), (ids[0], "")]
    flow = Two()
    assert await asyncio.to_thread(provider.resume, flow, "run-42", branch="fork/1")
    assert flow.state.step == 3
    [info] = [info async for info in target_client.list(namespace, "run-42:fork%2F1")]
    assert (info.checkpoint_id, info.parent_id, dict(info.labels)) == (forked, ids[0], {"branch": "fork/1"})


async def test_selected_branches_are_imported(target_client, source, namespace, file):
    for branch in ("main", "fork/1", "fork/2"):
        fill(source, file, 1, branch=branch)
    report = await import_checkpoints(file, target_client, namespace=namespace, branches=["main", "other"])
    assert (report.written, problems(report)["other"][0]) == (1, "NOT_FOUND")
    report = await import_checkpoints(file, target_client, namespace=namespace, prefix="fork/")
    assert (report.items, report.failed, report.written) == (2, 0, 2)


async def test_an_import_that_is_repeated_writes_nothing_and_catches_up(target_client, source, namespace, file):
    fill(source, file, 1)
    await import_checkpoints(file, target_client, namespace=namespace)
    before = await stored(target_client, namespace)
    report = await import_checkpoints(file, target_client, namespace=namespace)
    assert (report.failed, report.written, report.present, report.verified) == (0, 0, 1, 1)
    assert await stored(target_client, namespace) == before
    fill(source, file, 2)
    report = await import_checkpoints(file, target_client, namespace=namespace)
    assert (report.failed, report.written, report.present, report.verified) == (0, 1, 1, 2)


async def test_a_branch_that_continued_in_the_target_stays_as_it_is(target_client, provider, source, namespace, file):
    fill(source, file, 1)
    await import_checkpoints(file, target_client, namespace=namespace)
    newer = json.dumps({"entities": [{"entity_type": "flow", "checkpoint_state": {"id": "f", "step": 7}}]})
    await asyncio.to_thread(provider.checkpoint, newer, "run-42")
    report = await import_checkpoints(file, target_client, namespace=namespace)
    assert (report.failed, report.written, report.present) == (0, 0, 1)
    flow = Two()
    assert await asyncio.to_thread(provider.resume, flow, "run-42")
    assert flow.state.step == 7


async def test_other_content_is_refused_by_name_and_not_overwritten(target_client, source, namespace, file):
    fill(source, file, 1)
    await import_checkpoints(file, target_client, namespace=namespace)
    before = await stored(target_client, namespace)
    change(file, "UPDATE checkpoints SET data = ?", json.dumps({"entities": []}))
    report = await import_checkpoints(file, target_client, namespace=namespace)
    [(reason, message)] = problems(report).values()
    assert reason == "OTHER_CONTENT"
    assert "row 1 of checkpoints has other content in the target" in message
    change(file, "UPDATE checkpoints SET id = 'other'")
    report = await import_checkpoints(file, target_client, namespace=namespace)
    assert problems(report)["main"][0] == "OTHER_CONTENT"
    assert await stored(target_client, namespace) == before


async def test_a_dry_run_finds_the_same_and_writes_nothing(target_client, source, namespace, file):
    fill(source, file, 1, 2)
    fill(source, file, 1, branch="damaged")
    change(file, "UPDATE checkpoints SET data = x'ff' WHERE branch = 'damaged'")
    dry = await import_checkpoints(file, target_client, namespace=namespace, dry_run=True)
    assert (dry.written, dry.failed) == (2, 1)
    assert await stored(target_client, namespace) == []
    assert replace(await import_checkpoints(file, target_client, namespace=namespace), verified=0) == dry


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE checkpoints SET data = x'ff' WHERE rowid = 2", "row 2 of checkpoints in .*: invalid JSONB"),
        ("UPDATE checkpoints SET data = substr(data, 1, 50) WHERE rowid = 2", "row 2 of checkpoints in .*ends at"),
        ("UPDATE checkpoints SET data = x'00' WHERE rowid = 2", "row 2 of checkpoints in .*not a checkpoint of CrewAI"),
        ("UPDATE checkpoints SET data = '{' WHERE rowid = 2", "row 2 of checkpoints in .*not a checkpoint of CrewAI"),
        ("UPDATE checkpoints SET data = 7 WHERE rowid = 2", "row 2 of checkpoints in .*not a checkpoint of CrewAI"),
        ("UPDATE checkpoints SET id = '' WHERE rowid = 2", "row 2 of checkpoints in .*must not be empty"),
        ("UPDATE checkpoints SET id = x'ff' WHERE rowid = 2", "row 2 of checkpoints in .*must be text"),
        ("UPDATE checkpoints SET parent_id = x'ff' WHERE rowid = 2", "row 2 of checkpoints in .*must be text"),
        ("UPDATE checkpoints SET branch = printf('%.1100c', 'x')", "at most 1024 bytes"),
        ("UPDATE checkpoints SET branch = CAST(x'ff' AS TEXT)", "without lone surrogates"),
    ],
)
async def test_a_row_that_cannot_be_kept_fails_its_branch_alone(
    target_client, source, namespace, file, statement, problem
):
    fill(source, file, 1, 2)
    change(file, statement)
    fill(source, file, 1, branch="whole")
    report = await import_checkpoints(file, target_client, namespace=namespace)
    [(reason, message)] = problems(report).values()
    assert reason == "UNREADABLE"
    assert re.search(problem, message)
    assert [each[0] for each in await stored(target_client, namespace)] == ["run-42:whole"]


async def test_a_file_of_another_kind_is_an_error(target_client, source, namespace, file):
    SQLiteFlowPersistence(str(file))
    with untouched(file.parent), pytest.raises(SourceError, match="has no table 'checkpoints'"):
        await import_checkpoints(file, target_client, namespace=namespace)
    checkpoints = file.with_name("checkpoints.db")
    fill(source, checkpoints, 1)
    with untouched(file.parent), pytest.raises(SourceError, match="has no table 'flow_states'"):
        await import_flows(checkpoints, target_client, namespace=namespace)


def test_an_import_that_is_killed_and_repeated_has_the_same_result(target, tmp_path):
    calm = run(PROGRAM, target, tmp_path / "calm")
    assert calm.result[:2] == [0, 8]
    for kill_at in kill_points.points(calm):
        assert run(PROGRAM, target, tmp_path / str(kill_at), kill_at=kill_at).result == calm.result


def test_the_command_imports_what_the_file_has(target, source, namespace, tmp_path):
    fill(source, tmp_path / "run-42.db", 1, 2)
    [_, (command, shown)] = pages.commands_of("crewai")
    arguments = command.replace("my-app", namespace).split()
    assert commands.run(target, *arguments, folder=tmp_path).stdout == shown


@pytest.mark.parametrize(
    ("made", "options", "problem"),
    [
        ("", (), "no table 'flow_states' and no table 'checkpoints'. Its tables: 'other'"),
        ("flows", ("--location", "x"), "has flows: --branch and --location are for checkpoints"),
        ("checkpoints", ("--flow", "x"), "has checkpoints: use --branch instead of --flow"),
        ("flows checkpoints", (), "has flows and checkpoints: import one kind after the other, with --kind"),
    ],
)
def test_the_command_names_what_a_file_has(target, source, namespace, file, made, options, problem):
    change(file, "CREATE TABLE other (id)")
    if "flows" in made:
        SQLiteFlowPersistence(str(file)).save_state("f", "m", {"id": "f"})
    if "checkpoints" in made:
        fill(source, file, 1)
    arguments = ("import", "crewai", file.name, "--namespace", namespace)
    assert problem in commands.run(target, *arguments, *options, folder=file.parent, code=2).stderr
    if " " in made:
        for kind, items in (("flows", "1 flow: 1 read"), ("checkpoints", "1 branch: 1 read")):
            assert items in commands.run(target, *arguments, "--kind", kind, folder=file.parent).stdout
