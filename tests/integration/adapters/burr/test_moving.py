"""Applications of Burr's SQLite persisters are imported: whole, equal, once, and without a change of the file."""

import asyncio
import json
import os
import sqlite3
import uuid
from contextlib import closing, suppress
from dataclasses import replace

import holdfast
import pytest
from holdfast.encryption import LocalKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.adapters import commands, kill_points, pages
from tests.integration.adapters.killing import run
from tests.support.required import require_engine
from tests.support.untouched import untouched

require_engine("burr")

from burr.core import ApplicationBuilder, State, action  # noqa: E402
from burr.core.persistence import SQLitePersister  # noqa: E402
from burr.integrations.persisters.b_aiosqlite import AsyncSQLitePersister  # noqa: E402
from burr.integrations.serde import pydantic as _registered  # noqa: E402, F401
from holdfast.adapters.burr import AsyncHoldfastPersister, HoldfastPersister, import_applications  # noqa: E402
from holdfast.moving import Report, SourceError  # noqa: E402
from pydantic import BaseModel  # noqa: E402

PROGRAM = "tests.integration.adapters.programs.moving_burr"


class Point(BaseModel):
    x: int
    y: float


@pytest.fixture
async def client(target):
    async with holdfast.AsyncClient(target, timeout=20) as client:
        yield client


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder / "burr.db"


def opened(file, table="burr_state"):
    # Burr closes the connection when the object is collected, in any thread.
    return SQLitePersister.from_values(str(file), table, connect_kwargs={"check_same_thread": False})


def fill(file, *steps, table="burr_state"):
    """Save steps: app id, sequence id, state, and others than "p", "act" and "completed" by name."""
    with opened(file, table) as persister:
        persister.initialize()
        for app_id, sequence_id, state, *others in steps:
            more = {"partition_key": "p", "position": "act", "status": "completed", **dict(*others)}
            persister.save(app_id=app_id, sequence_id=sequence_id, state=State(state), **more)


def change(file, statement, *values):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement, values)


def problems(report: Report) -> dict[str, tuple[str, str]]:
    return {moved.name: (moved.problem.reason, moved.problem.message) for moved in report.problems}


async def stored(client, namespace):
    return [
        (loaded.info.workflow_id, loaded.checkpoint_id, loaded.revision, dict(loaded.info.labels), loaded.data)
        async for loaded in client.history(namespace)
    ]


@action(reads=["count"], writes=["count"])
def step(state: State) -> State:
    return state.update(count=state["count"] + 1)


def application(persister, app_id="run"):
    return (
        ApplicationBuilder()
        .with_actions(step)
        .with_transitions(("step", "step"))
        .with_identifiers(app_id=app_id, partition_key="p")
        .initialize_from(persister, resume_at_next_action=True, default_state={"count": 0}, default_entrypoint="step")
        .with_state_persister(persister)
        .build()
    )


async def test_an_imported_application_continues_as_it_would_have_from_the_file(target, client, namespace, file):
    with opened(file) as persister:
        persister.initialize()
        running = application(persister)
        for _ in range(3):
            running.step()
    with untouched(file.parent):
        report = await import_applications(file, client, namespace=namespace)
    assert (report.items, report.failed, report.written, report.verified) == (1, 0, 3, 3)

    def continued():
        with opened(file) as burr, holdfast.Client(target) as sync:
            states = []
            for persister in (burr, HoldfastPersister(sync, namespace=namespace)):
                again = application(persister)
                states.append((again.sequence_id, again.state.get_all(), again.step()[2].get_all()))
            return states

    of_burr, of_holdfast = await asyncio.to_thread(continued)
    assert of_holdfast == of_burr
    assert of_holdfast[2]["count"] == 4


async def test_steps_keep_their_numbers_positions_and_status(client, namespace, file):
    fill(file, ("a", 3, {"n": 1}), ("a", 7, {"n": 2}, {"position": "other", "status": "failed"}))
    await import_applications(file, client, namespace=namespace)
    persister = AsyncHoldfastPersister(client, namespace=namespace)
    found = [await persister.load("p", "a", sequence_id) for sequence_id in (3, 7, None)]
    assert [(each["sequence_id"], each["position"], each["status"], each["state"]["n"]) for each in found] == [
        (3, "act", "completed", 1),
        (7, "other", "failed", 2),
        (7, "other", "failed", 2),
    ]


async def test_the_application_that_was_saved_last_is_imported_last(client, namespace, file):
    fill(file, *((app_id, 0, {}) for app_id in "cab"))
    for app_id, moment in (("c", "2026-01-02"), ("a", "2026-01-03"), ("b", "2026-01-01")):
        change(file, "UPDATE burr_state SET created_at = ? WHERE app_id = ?", moment, app_id)
    await import_applications(file, client, namespace=namespace)
    assert await AsyncHoldfastPersister(client, namespace=namespace).list_app_ids("p") == ["a", "c", "b"]


async def test_a_file_of_the_asynchronous_persister_is_imported(client, namespace, file):
    async with AsyncSQLitePersister.from_values(str(file), table_name="mine") as persister:
        await persister.initialize()
        await persister.save(None, "a", 0, "act", State({"n": 1}), "completed")
    report = await import_applications(file, client, namespace=namespace, table="mine")
    assert (report.failed, report.verified) == (0, 1)
    assert (await AsyncHoldfastPersister(client, namespace=namespace).load(None, "a"))["state"]["n"] == 1


async def test_an_import_that_is_repeated_writes_nothing(client, namespace, file):
    fill(file, ("a", 0, {"n": 1}), ("b", 0, {"n": 2}), ("b", 1, {"n": 3}))
    await import_applications(file, client, namespace=namespace)
    before = await stored(client, namespace)
    report = await import_applications(file, client, namespace=namespace)
    assert (report.failed, report.written, report.present, report.verified) == (0, 0, 3, 3)
    assert await stored(client, namespace) == before


async def test_an_encrypted_import_is_repeated_too(target, namespace, file):
    fill(file, ("a", 0, {"n": 1}), ("a", 1, {"n": 2}))
    async with holdfast.AsyncClient(target, encryption=holdfast.Keyring(LocalKey.generate())) as client:
        reports = [await import_applications(file, client, namespace=namespace) for _ in range(2)]
        change(file, "UPDATE burr_state SET status = 'failed' WHERE sequence_id = 1")
        reports.append(await import_applications(file, client, namespace=namespace))
    assert [(each.failed, each.written, each.present, each.verified) for each in reports] == [
        (0, 2, 0, 2),
        (0, 0, 2, 2),
        (1, 0, 0, 0),
    ]


async def test_an_encrypted_import_that_is_repeated_loads_many_steps_per_call(target, namespace, file, monkeypatch):
    fill(file, *(("a", sequence_id, {"n": sequence_id}) for sequence_id in range(5)))
    loads, load = [], holdfast.AsyncClient.load

    async def counted(*arguments, **options):
        loads.append(arguments)
        return await load(*arguments, **options)

    async with holdfast.AsyncClient(target, encryption=holdfast.Keyring(LocalKey.generate())) as client:
        await import_applications(file, client, namespace=namespace)
        monkeypatch.setattr(holdfast.AsyncClient, "load", counted)
        report = await import_applications(file, client, namespace=namespace)
    assert (report.failed, report.present, report.verified) == (0, 5, 5)
    # The newest one, which the application continues from.
    assert len(loads) == 1


async def test_steps_that_the_file_got_since_are_appended(client, namespace, file):
    fill(file, ("a", 0, {"n": 1}))
    await import_applications(file, client, namespace=namespace)
    fill(file, ("a", 1, {"n": 2}), ("b", 0, {}))
    report = await import_applications(file, client, namespace=namespace)
    assert (report.failed, report.written, report.present, report.verified) == (0, 2, 1, 3)


async def test_an_application_that_continued_in_the_target_stays_as_it_is(client, namespace, file):
    fill(file, ("a", 0, {"n": 1}))
    await import_applications(file, client, namespace=namespace)
    persister = AsyncHoldfastPersister(client, namespace=namespace)
    await persister.load("p", "a")
    await persister.save("p", "a", 1, "act", State({"n": 2}), "completed")
    report = await import_applications(file, client, namespace=namespace)
    assert (report.failed, report.written, report.present) == (0, 0, 1)
    assert (await persister.load("p", "a"))["state"]["n"] == 2


@pytest.mark.parametrize(
    "steps", [[("a", 0, {"n": 2})], [("a", 1, {"n": 1})], [("a", 0, {"n": 1}, {"status": "failed"})]]
)
async def test_other_content_is_refused_by_name_and_not_overwritten(client, namespace, file, steps, tmp_path):
    fill(tmp_path / "first.db", ("a", 0, {"n": 1}))
    await import_applications(tmp_path / "first.db", client, namespace=namespace)
    before = await stored(client, namespace)
    fill(file, *steps, ("a", 5, {}), ("b", 0, {}))
    report = await import_applications(file, client, namespace=namespace, applications=["a"])
    [(name, (reason, message))] = problems(report).items()
    assert (name, reason) == ("p:a", "OTHER_CONTENT")
    assert f"step {steps[0][1]}" in message
    assert await stored(client, namespace) == before
    report = await import_applications(file, client, namespace=namespace)
    assert (report.items, report.failed, report.written) == (2, 1, 1)


async def test_a_dry_run_finds_the_same_and_writes_nothing(client, namespace, file):
    fill(file, ("a", 0, {"n": 1}), ("b", 0, {"n": 1}, {"status": "odd"}))
    dry = await import_applications(file, client, namespace=namespace, dry_run=True)
    assert await stored(client, namespace) == []
    wet = await import_applications(file, client, namespace=namespace)
    assert replace(wet, verified=0) == dry
    assert wet.verified == 1


async def test_a_dry_run_finds_steps_that_were_deleted_in_the_target(client, namespace, file):
    fill(file, ("a", 0, {"n": 1}), ("a", 1, {"n": 2}), ("b", 0, {"n": 3}))
    await import_applications(file, client, namespace=namespace)
    await client.delete(namespace, "p:a", "1")
    await client.delete_workflow(namespace, "p:b")
    dry = await import_applications(file, client, namespace=namespace, dry_run=True)
    assert problems(dry) == {"p:a": ("OTHER_CONTENT", "step 1: the checkpoint was deleted in the target")}
    wet = await import_applications(file, client, namespace=namespace)
    assert [(each.read, each.written, each.present, each.failed) for each in (dry, wet)] == [(3, 1, 1, 1)] * 2


async def test_an_application_without_a_partition_key_hides_no_other_one(client, namespace, file):
    fill(file, ("a", 0, {"n": 1}, {"partition_key": ""}), ("a", 1, {"n": 2}))
    change(file, "UPDATE burr_state SET partition_key = NULL WHERE sequence_id = 1")
    report = await import_applications(file, client, namespace=namespace)
    assert (report.items, report.written) == (2, 1)
    assert [reason for reason, _ in problems(report).values()] == ["UNREADABLE"]
    assert [each[0] for each in await stored(client, namespace)] == [":a"]


async def test_only_the_chosen_applications_are_imported(client, namespace, file):
    fill(file, ("a-1", 0, {}), ("a-2", 0, {}), ("b-1", 0, {}))
    report = await import_applications(file, client, namespace=namespace, prefix="a-")
    assert (report.items, report.written) == (2, 2)
    report = await import_applications(file, client, namespace=namespace, applications=["b-1", "none"])
    assert problems(report) == {"none": ("NOT_FOUND", f"{file} has no application 'none'")}
    assert report.written == 1


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE burr_state SET state = '{\"n\": ' WHERE sequence_id = 1", "step 1 in "),
        ("UPDATE burr_state SET state = '[1]' WHERE sequence_id = 1", "the state must be a JSON object"),
        ("UPDATE burr_state SET status = 'done' WHERE sequence_id = 1", "the status is 'done'"),
        ("UPDATE burr_state SET sequence_id = 'x' WHERE sequence_id = 1", "step 'x' (position 'act')"),
        ("UPDATE burr_state SET position = 'other', sequence_id = 0 WHERE sequence_id = 1", "several positions"),
        ("UPDATE burr_state SET partition_key = NULL", "the partition key is NULL"),
        ("UPDATE burr_state SET app_id = app_id || printf('%.600c', 'x')", "the limit is 512"),
        (
            'UPDATE burr_state SET state = \'{"p": {"__burr_serde__": "pickle", "value": ""}}\' WHERE sequence_id = 1',
            "state['p']: ",
        ),
        ("UPDATE burr_state SET position = printf('%.2000c', 'x') WHERE sequence_id = 1", "the limit is 1024"),
        ("UPDATE burr_state SET app_id = CAST(app_id AS BLOB)", "app_id must be a string, not bytes"),
        ("UPDATE burr_state SET app_id = CAST(x'ff' AS TEXT)", "without lone surrogates"),
        ("UPDATE burr_state SET partition_key = CAST(x'ff' AS TEXT)", "without lone surrogates"),
    ],
)
async def test_a_row_that_cannot_be_kept_fails_its_application_alone(client, namespace, file, statement, problem):
    fill(file, ("a", 0, {"n": 1}), ("a", 1, {"n": 2}))
    change(file, statement)
    fill(file, ("b", 0, {"n": 3}))
    report = await import_applications(file, client, namespace=namespace)
    [(_, (reason, message))] = problems(report).items()
    assert reason == "UNREADABLE"
    assert problem in message
    assert (report.items, report.failed) == (2, 1)
    found = await stored(client, namespace)
    assert [each[0] for each in found] == ["p:b"]


async def test_a_class_must_be_allowed(client, namespace, file):
    fill(file, ("a", 0, {"point": Point(x=1, y=2.5)}))
    refused = await import_applications(file, client, namespace=namespace)
    [(reason, message)] = problems(refused).values()
    assert reason == "UNREADABLE"
    assert "Point' is not allowed: name it in allowed_classes" in message
    report = await import_applications(file, client, namespace=namespace, allowed_classes=[Point])
    assert (report.failed, report.verified) == (0, 1)
    persister = AsyncHoldfastPersister(client, namespace=namespace, allowed_classes=[Point])
    assert (await persister.load("p", "a"))["state"]["point"] == Point(x=1, y=2.5)


async def test_a_file_that_is_missing_is_an_error_and_is_not_made(client, namespace, file):
    with pytest.raises(SourceError, match=r"burr\.db cannot be read: No such file"):
        await import_applications(file, client, namespace=namespace)
    assert not file.exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a SQLite file"),
        (b"PK\x03\x04", "not a SQLite file"),
        (b"SQLite format 3\x00" + b"\xff" * 4096, "is damaged"),
    ],
)
async def test_a_file_of_another_kind_is_refused(client, namespace, file, content, problem):
    file.write_bytes(content)
    with untouched(file.parent), pytest.raises(SourceError, match=problem):
        await import_applications(file, client, namespace=namespace)


async def test_a_folder_is_refused(client, namespace, tmp_path):
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        await import_applications(tmp_path, client, namespace=namespace)


async def test_a_damaged_page_is_refused(client, namespace, file):
    fill(file, *(("a", number, {"text": "x" * 1000}) for number in range(50)))
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(size // 4096 // 2 * 4096)
        opened.write(b"\xa5" * 4096)
    with pytest.raises(SourceError, match=r"burr\.db is damaged"):
        await import_applications(file, client, namespace=namespace)


async def test_a_database_of_another_program_is_refused(client, namespace, file):
    change(file, "CREATE TABLE other (id)")
    with pytest.raises(SourceError, match="has no table 'burr_state'"):
        await import_applications(file, client, namespace=namespace)
    with pytest.raises(SourceError, match=r"table 'other' of .* has no column 'app_id'"):
        await import_applications(file, client, namespace=namespace, table="other")
    with pytest.raises(SourceError, match="invalid table"):
        await import_applications(file, client, namespace=namespace, table="burr_state; DROP TABLE burr_state")


async def test_what_a_write_ahead_log_holds_is_imported_and_stays_there(client, namespace, file):
    fill(file, ("a", 0, {"n": 1}))
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE burr_state SET state = '{\"n\": 2}'")
        writer.commit()
        assert file.with_name("burr.db-wal").stat().st_size
        with untouched(file.parent):
            report = await import_applications(file, client, namespace=namespace)
    assert report.verified == 1
    assert (await AsyncHoldfastPersister(client, namespace=namespace).load("p", "a"))["state"]["n"] == 2


async def test_a_file_that_may_only_be_read_is_imported(client, namespace, file):
    fill(file, ("a", 0, {"n": 1}))
    change(file, "PRAGMA journal_mode = WAL")
    os.chmod(file, 0o400)
    os.chmod(file.parent, 0o500)
    try:
        with untouched(file.parent):
            report = await import_applications(file, client, namespace=namespace)
    finally:
        os.chmod(file.parent, 0o700)
    assert report.verified == 1


def test_an_import_that_is_killed_and_repeated_has_the_same_result(target, tmp_path):
    calm = run(PROGRAM, target, tmp_path / "calm")
    assert calm.result[:2] == [0, 9]
    assert len(calm.result[2]) == 9
    for kill_at in kill_points.points(calm):
        assert run(PROGRAM, target, tmp_path / str(kill_at), kill_at=kill_at).result == calm.result


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
STEPS = st.dictionaries(
    st.tuples(st.text(max_size=5), st.text(max_size=5), st.integers(0, 2**40)),
    st.tuples(
        st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=3),
        st.text(max_size=10),
        st.sampled_from(["completed", "failed"]),
    ),
    min_size=1,
    max_size=8,
)


@given(steps=STEPS, stop_after=st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_every_history_is_imported_as_it_is_or_refused_by_name(target, tmp_path_factory, steps, stop_after):
    """Also if the import is stopped anywhere and repeated."""
    file = tmp_path_factory.mktemp("burr") / "burr.db"
    for (partition_key, app_id, sequence_id), (state, position, status) in steps.items():
        try:
            fill(
                file,
                (app_id, sequence_id, state, {"partition_key": partition_key, "position": position, "status": status}),
            )
        except UnicodeEncodeError:
            return

    class StoppedError(Exception):
        pass

    async def check():
        namespace, calls = uuid.uuid4().hex, 0

        def stop(_):
            nonlocal calls
            calls += 1
            if calls > stop_after:
                raise StoppedError

        async with holdfast.AsyncClient(target, timeout=20) as client:
            with suppress(StoppedError):
                await import_applications(file, client, namespace=namespace, progress=stop)
            report = await import_applications(file, client, namespace=namespace)
            refused = problems(report)
            assert {reason for reason, _ in refused.values()} <= {"UNREADABLE"}
            persister = AsyncHoldfastPersister(client, namespace=namespace)
            with opened(file) as burr:
                for partition_key, app_id, sequence_id in steps:
                    from_burr = burr.load(partition_key, app_id, sequence_id)
                    if f"{partition_key}:{app_id}" in refused or not app_id.isprintable():
                        continue
                    found = await persister.load(partition_key, app_id, sequence_id)
                    if found is None:
                        assert refused
                        continue
                    assert {**found, "created_at": ""} == {**from_burr, "created_at": ""}

    asyncio.run(check())


def test_the_command_of_the_page_prints_what_it_shows(target, namespace, tmp_path):
    fill(tmp_path / "burr.db", *(("run-42", n, {"n": n}, {"partition_key": "tenant-1"}) for n in range(3)))
    [(command, shown)] = pages.commands_of("burr")
    arguments = command.replace("my-agents", namespace).split()
    assert commands.run(target, *arguments, folder=tmp_path).stdout == shown


def test_the_command_finds_the_application_s_code_in_the_current_folder(target, namespace, tmp_path):
    (tmp_path / "mine.py").write_text("from pydantic import BaseModel\n\nclass Spot(BaseModel):\n    x: int\n")
    serialised = {"spot": {"__burr_serde__": "pydantic", "__pydantic_class": "mine.Spot", "x": 1}}
    fill(tmp_path / "burr.db", ("a", 0, {}))
    change(tmp_path / "burr.db", "UPDATE burr_state SET state = ?", json.dumps(serialised))
    arguments = ["import", "burr", "burr.db", "--namespace", namespace]
    refused = commands.run(target, *arguments, folder=tmp_path, code=5)
    assert "class 'mine.Spot' is not allowed" in refused.stdout
    assert "1 failed" in refused.stdout
    commands.run(target, *arguments, "--allow", "mine.Spot", folder=tmp_path)


def test_the_command_stops_when_nobody_reads_its_lines(target, namespace, tmp_path):
    fill(tmp_path / "burr.db", ("a", 0, {"n": 1}), ("b", 0, {"n": 2}))
    done = commands.run_unread(
        "import", "burr", "burr.db", "--namespace", namespace, "--target", target, folder=tmp_path
    )
    assert done.returncode == 141
    assert done.stderr == "holdfast: stdout: Broken pipe, the command has stopped, and can be repeated\n"


def test_the_command_ends_with_the_code_of_the_first_problem(target, namespace, tmp_path):
    arguments = ["import", "burr", "burr.db", "--namespace", namespace]
    missing = commands.run(target, *arguments, folder=tmp_path, code=2)
    assert missing.stderr == "holdfast: burr.db cannot be read: No such file or directory\n"
    fill(tmp_path / "burr.db", ("a", 0, {"n": 1}))
    dry = commands.run(target, *arguments, "--dry-run", "--json", folder=tmp_path)
    assert [json.loads(line) for line in dry.stdout.splitlines()][-1] == {
        "total": {"items": 1, "failed": 0, "read": 1, "written": 1, "present": 0, "verified": 0}
    }
    commands.run(target, *arguments, folder=tmp_path)
    change(tmp_path / "burr.db", "UPDATE burr_state SET position = 'other'")
    refused = commands.run(target, *arguments, folder=tmp_path, code=6)
    assert "p:a: 0 read" in refused.stdout
    assert "OTHER_CONTENT: step 0 has other content in the target" in refused.stdout
    commands.run(target, *arguments, "--application", "none", folder=tmp_path, code=3)
    commands.run(target, *arguments, "--load", "no_such_module", folder=tmp_path, code=2)
