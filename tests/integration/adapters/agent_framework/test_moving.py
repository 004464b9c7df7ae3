"""Checkpoints of Agent Framework's folders are imported: whole, equal, once, and without a change of the folder."""

import asyncio
import copy
import json
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import holdfast
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.adapters import commands, kill_points, pages
from tests.integration.adapters.killing import run
from tests.support.required import require_engine
from tests.support.untouched import untouched

require_engine("agent_framework")

from agent_framework import (  # noqa: E402
    Executor,
    FileCheckpointStorage,
    WorkflowBuilder,
    WorkflowCheckpoint,
    WorkflowContext,
    handler,
)
from holdfast.adapters.agent_framework import HoldfastCheckpointStorage, import_checkpoints  # noqa: E402
from holdfast.moving import SourceError  # noqa: E402

PROGRAM = "tests.integration.adapters.programs.moving_agent_framework"


@dataclass
class Draft:
    title: str
    marks: set[int] = field(default_factory=set)


DRAFT = f"{__name__}:Draft"


@pytest.fixture
async def client(target):
    async with holdfast.AsyncClient(target, timeout=20) as client:
        yield client


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def storage(client, namespace):
    return HoldfastCheckpointStorage(client, namespace=namespace, allowed_checkpoint_types=[DRAFT])


def checkpoint(n=0, name="w", **fields):
    fields = {"timestamp": f"2026-01-02T00:00:{n:02}+00:00", "checkpoint_id": f"{name}-{n}", **fields}
    return WorkflowCheckpoint(name, "hash", iteration_count=n, **fields)


async def fill(folder, *checkpoints, **options):
    source = FileCheckpointStorage(folder, **options)
    for each in checkpoints:
        await source.save(each)
    return source


def problems(report):
    return {moved.name: (moved.problem.reason, moved.problem.message) for moved in report.problems}


async def stored(client, namespace):
    return [
        (loaded.checkpoint_id, loaded.revision, dict(loaded.info.labels), loaded.data)
        async for loaded in client.history(namespace)
    ]


class Double(Executor):
    @handler
    async def double(self, number: int, ctx: WorkflowContext[int]) -> None:
        ctx.set_state("seen", [*(ctx.get_state("seen") or []), number])
        await ctx.send_message(number * 2)


class Finish(Executor):
    @handler
    async def finish(self, number: int, ctx: WorkflowContext[Any, list[int]]) -> None:
        await ctx.yield_output([*ctx.get_state("seen"), number])


def built(storage):
    first, second, last = Double(id="first"), Double(id="second"), Finish(id="last")
    return (
        WorkflowBuilder(name="w", start_executor=first, checkpoint_storage=storage)
        .add_edge(first, second)
        .add_edge(second, last)
        .build()
    )


async def test_a_workflow_continues_from_every_checkpoint_as_from_the_folder(client, namespace, folder, storage):
    source = FileCheckpointStorage(folder)
    await built(source).run(3)
    latest = await source.get_latest(workflow_name="w")
    with untouched(folder):
        report = await import_checkpoints(folder, client, namespace=namespace)
    assert (report.failed, report.written, report.verified) == (0, report.items, report.items)
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id == latest.checkpoint_id
    ids = await storage.list_checkpoint_ids(workflow_name="w")
    assert set(ids) == set(await source.list_checkpoint_ids(workflow_name="w"))
    ended = [each async for each in client.list(namespace, "checkpoints")]
    for checkpoint_id in ids:
        of_file = await built(FileCheckpointStorage(folder)).run(checkpoint_id=checkpoint_id)
        of_holdfast = await built(storage).run(checkpoint_id=checkpoint_id)
        assert of_holdfast.get_outputs() == of_file.get_outputs()
    assert [each.parent_id for each in ended[:-1]] == [each.checkpoint_id for each in ended[1:]]


async def test_checkpoints_come_back_equal_in_the_order_of_their_timestamps(client, namespace, folder, storage):
    checkpoints = [checkpoint(n, state={"draft": Draft("t", {n}), "seen": (n, b"x")}) for n in (3, 1, 2)]
    await fill(folder, *checkpoints, allowed_checkpoint_types=[DRAFT])
    report = await import_checkpoints(folder, client, namespace=namespace, allowed_checkpoint_types=[DRAFT])
    assert (report.items, report.failed, report.written, report.verified) == (3, 0, 3, 3)
    assert await storage.list_checkpoints(workflow_name="w") == sorted(checkpoints, key=lambda each: each.timestamp)
    assert (await storage.get_latest(workflow_name="w")).checkpoint_id == "w-3"


async def test_a_class_that_is_not_allowed_fails_its_checkpoint_alone(client, namespace, folder):
    await fill(folder, checkpoint(1, state={"draft": Draft("t")}), checkpoint(2), allowed_checkpoint_types=[DRAFT])
    report = await import_checkpoints(folder, client, namespace=namespace)
    [(name, (reason, message))] = problems(report).items()
    assert (name, reason) == ("w-1", "UNREADABLE")
    assert "w-1.json" in message
    assert DRAFT in message
    assert [each[0] for each in await stored(client, namespace)] == ["w-2"]


async def test_an_import_that_is_repeated_writes_nothing_and_catches_up(client, namespace, folder):
    await fill(folder, checkpoint(1), checkpoint(2))
    await import_checkpoints(folder, client, namespace=namespace)
    before = await stored(client, namespace)
    report = await import_checkpoints(folder, client, namespace=namespace)
    assert (report.failed, report.written, report.present, report.verified) == (0, 0, 2, 2)
    assert await stored(client, namespace) == before
    await fill(folder, checkpoint(3))
    report = await import_checkpoints(folder, client, namespace=namespace)
    assert (report.failed, report.written, report.present, report.verified) == (0, 1, 2, 3)


async def test_an_import_that_is_repeated_loads_many_checkpoints_per_call(client, namespace, folder, monkeypatch):
    await fill(folder, *(checkpoint(number) for number in range(1, 6)))
    await import_checkpoints(folder, client, namespace=namespace)
    loads, load = [], holdfast.AsyncClient.load

    async def counted(*arguments, **options):
        loads.append(arguments)
        return await load(*arguments, **options)

    monkeypatch.setattr(holdfast.AsyncClient, "load", counted)
    report = await import_checkpoints(folder, client, namespace=namespace)
    assert (report.failed, report.present, report.verified) == (0, 5, 5)
    assert not loads


async def test_other_content_is_refused_by_name_and_not_overwritten(client, namespace, folder, storage):
    await storage.save(checkpoint(1, state={"n": 1}))
    await storage.save(checkpoint(2))
    await storage.delete("w-2")
    before = await stored(client, namespace)
    await fill(folder, checkpoint(1, state={"n": 2}), checkpoint(2))
    report = await import_checkpoints(folder, client, namespace=namespace)
    assert {name: reason for name, (reason, _) in problems(report).items()} == {
        "w-1": "OTHER_CONTENT",
        "w-2": "OTHER_CONTENT",
    }
    assert await stored(client, namespace) == before


async def test_a_dry_run_finds_the_same_and_writes_nothing(client, namespace, folder):
    await fill(folder, checkpoint(1, state={"draft": Draft("t")}), checkpoint(2), allowed_checkpoint_types=[DRAFT])
    dry = await import_checkpoints(folder, client, namespace=namespace, dry_run=True)
    assert await stored(client, namespace) == []
    assert replace(await import_checkpoints(folder, client, namespace=namespace), verified=0) == dry


async def test_a_dry_run_finds_checkpoints_that_were_deleted_in_the_target(client, namespace, folder, storage):
    await fill(folder, checkpoint(1), checkpoint(2), checkpoint(3))
    await import_checkpoints(folder, client, namespace=namespace)
    await storage.delete("w-2")
    dry = await import_checkpoints(folder, client, namespace=namespace, dry_run=True)
    assert problems(dry) == {"w-2": ("OTHER_CONTENT", "the checkpoint was deleted in the target")}
    wet = await import_checkpoints(folder, client, namespace=namespace)
    assert [(each.read, each.written, each.present, each.failed) for each in (dry, wet)] == [(3, 0, 2, 1)] * 2


async def test_only_the_chosen_checkpoints_are_imported(client, namespace, folder):
    await fill(folder, checkpoint(1), checkpoint(2), checkpoint(3, "other"))
    report = await import_checkpoints(folder, client, namespace=namespace, workflow_id="run", prefix="other")
    assert (report.items, report.written) == (1, 1)
    report = await import_checkpoints(folder, client, namespace=namespace, workflow_id="run", checkpoints=["w-2", "x"])
    assert report.written == 1
    assert problems(report) == {"x": ("NOT_FOUND", f"{folder} has no checkpoint 'x'")}
    assert [each.checkpoint_id async for each in client.list(namespace, "run")] == ["w-2", "other-3"]


def _as_file(**changes):
    return json.dumps({**checkpoint(1).to_dict(), **changes})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "it is not a checkpoint"),
        ("[1]", "it is not a checkpoint"),
        ("{}", "it has no timestamp"),
        (b"\xff", "it is not a checkpoint"),
        (_as_file(timestamp="yesterday"), "must be ISO 8601"),
        (_as_file(checkpoint_id="other"), "it contains checkpoint 'other'"),
        (_as_file(surprise=1), "unexpected keyword argument 'surprise'"),
        (_as_file(workflow_name=None), "a workflow's name must be text"),
        (_as_file(state={"x": {"__pickled__": "!", "__type__": "a:B"}}), "Failed to decode pickled"),
        (_as_file(state={"x": {"__pickled__": "Y29zCnN5c3RlbQou", "__type__": "a:B"}}), "blocked for type 'os:system'"),
    ],
)
async def test_a_file_that_is_damaged_or_foreign_fails_alone_and_by_name(client, namespace, folder, content, problem):
    await fill(folder, checkpoint(2))
    file = folder / "w-1.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with untouched(folder):
        report = await import_checkpoints(folder, client, namespace=namespace)
    [(name, (reason, message))] = problems(report).items()
    assert (name, reason) == ("w-1", "UNREADABLE")
    assert str(file) in message
    assert problem in message
    assert [each[0] for each in await stored(client, namespace)] == ["w-2"]


async def test_a_folder_without_checkpoints_is_an_error_and_is_not_made(client, namespace, folder, tmp_path):
    with pytest.raises(SourceError, match="is not a folder"):
        await import_checkpoints(folder, client, namespace=namespace)
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(SourceError, match="contains no checkpoints"):
        await import_checkpoints(folder, client, namespace=namespace)


def test_an_import_that_is_killed_and_repeated_has_the_same_result(target, tmp_path):
    calm = run(PROGRAM, target, tmp_path / "calm")
    assert calm.result[:2] == [0, 5]
    for kill_at in kill_points.points(calm):
        assert run(PROGRAM, target, tmp_path / str(kill_at), kill_at=kill_at).result == calm.result


KEYS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=5)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | KEYS
    | st.binary(max_size=5)
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Draft, KEYS, st.sets(st.integers(0, 9)))
    ),
    max_leaves=6,
)


@given(
    states=st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=5), stop_after=st.integers(0, 15)
)
@settings(max_examples=40, deadline=None)
def test_every_checkpoint_is_loaded_as_from_the_folder(target, tmp_path_factory, states, stop_after):
    """Also if the import is stopped anywhere and repeated."""
    folder = tmp_path_factory.mktemp("agent-framework")

    class StoppedError(Exception):
        pass

    async def check():
        checkpoints = [checkpoint(n, state=copy.deepcopy(state)) for n, state in enumerate(states)]
        source = await fill(folder, *checkpoints, allowed_checkpoint_types=[DRAFT])
        namespace, calls = uuid.uuid4().hex, 0

        def stop(_):
            nonlocal calls
            calls += 1
            if calls > stop_after:
                raise StoppedError

        options = {"namespace": namespace, "allowed_checkpoint_types": [DRAFT]}
        async with holdfast.AsyncClient(target, timeout=20) as client:
            with suppress(StoppedError):
                await import_checkpoints(folder, client, **options, progress=stop)
            report = await import_checkpoints(folder, client, **options)
            assert problems(report) == {}
            storage = HoldfastCheckpointStorage(client, **options)
            for each in checkpoints:
                assert await storage.load(each.checkpoint_id) == await source.load(each.checkpoint_id)

    asyncio.run(check())


async def test_the_command_of_the_page_prints_what_it_shows(target, client, namespace, folder):
    await fill(folder, checkpoint(1, checkpoint_id="c-1"), checkpoint(2, checkpoint_id="c-2"))
    [(command, shown)] = pages.commands_of("agent-framework")
    arguments = command.replace("my-agents", namespace).split()
    done = await asyncio.to_thread(commands.run, target, *arguments, folder=folder.parent)
    assert done.stdout == shown
    assert [each.checkpoint_id async for each in client.list(namespace, "run-42")] == ["c-2", "c-1"]
