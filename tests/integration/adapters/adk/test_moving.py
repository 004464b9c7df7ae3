"""Sessions of ADK's databases are imported: whole, equal, once, and without a change of the database."""

import asyncio
import json
import shutil
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
from tests.support import postgres
from tests.support.required import require_engine
from tests.support.untouched import untouched

require_engine("google.adk")

from google.adk.sessions import DatabaseSessionService
from google.adk.sessions.schemas import v0
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from holdfast.adapters.adk import HoldfastSessionService, import_sessions
from holdfast.moving import SourceError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.integration.adapters.adk.engine import event

PROGRAM = "tests.integration.adapters.programs.moving_adk"


def sqlite_service(file):
    return SqliteSessionService(str(file))


def database_service(file):
    return DatabaseSessionService(f"sqlite+aiosqlite:///{file}")


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder / "sessions.db"


@pytest.fixture(params=[sqlite_service, database_service])
async def source(request, file):
    service = request.param(file)
    yield service
    await service.close()


@pytest.fixture
def service(client, namespace):
    return HoldfastSessionService(client, namespace=namespace)


@pytest.fixture
def namespace():
    return uuid.uuid4().hex


async def make(source, session_id="s", *events, app="app", user="u", state=None):
    session = await source.create_session(app_name=app, user_id=user, session_id=session_id, state=state)
    for each in events:
        await source.append_event(session, each)
    return session


async def loaded(service, session_id="s", app="app", user="u"):
    return await service.get_session(app_name=app, user_id=user, session_id=session_id)


def plain(session):
    return session and session.model_dump()


def change(file, statement, *values):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement, values)


def problems(report):
    return {moved.name: (moved.problem.reason, moved.problem.message) for moved in report.problems}


async def stored(client, namespace):
    return [
        (found.info.workflow_id, found.checkpoint_id, found.revision, dict(found.parts))
        async for found in client.history(namespace)
    ]


async def test_a_session_comes_back_with_its_events_and_all_states(client, namespace, file, source, service):
    await make(
        source,
        "s",
        event("one", state={"n": 1, "app:theme": "dark", "user:name": "Zoë"}),
        event("two", state={"n": 2, "list": [1, {"a": None}]}),
        state={"n": 0, "kept": True, "app:first": 1},
    )
    await make(source, "other", event("three", state={"app:theme": "light"}))
    await make(source, "none")
    await make(source, "s", user="another", state={"user:name": "Max"})
    with untouched(file.parent):
        report = await import_sessions(file, client, namespace=namespace)
    assert problems(report) == {}
    # Four sessions, the state of the app, and those of the two users.
    assert (report.items, report.written, report.verified) == (7, 10, 10)
    for session_id, user in (("s", "u"), ("other", "u"), ("none", "u"), ("s", "another")):
        found = await loaded(service, session_id, user=user)
        assert plain(found) == plain(await loaded(source, session_id, user=user))
    assert (await loaded(service)).state["app:theme"] == "light"
    assert await service.get_user_state(app_name="app", user_id="u") == {"name": "Zoë"}
    listed = await service.list_sessions(app_name="app")
    of_source = await source.list_sessions(app_name="app")
    assert [plain(each) for each in listed.sessions] == [plain(each) for each in of_source.sessions]


async def test_a_session_continues_in_the_target_as_in_the_source(client, namespace, file, source, service):
    await make(source, "s", event("one", state={"n": 1, "app:x": 1}), state={"m": 1})
    await import_sessions(file, client, namespace=namespace)
    following = event("two", state={"n": 2, "app:x": 2, "user:y": 3})
    for each in (source, service):
        await each.append_event(await loaded(each), following.model_copy(deep=True))
    of_target, of_source = plain(await loaded(service)), plain(await loaded(source))
    # A database rounds it.
    assert of_target.pop("last_update_time") == pytest.approx(of_source.pop("last_update_time"))
    assert of_target == of_source


async def test_changes_of_events_to_shared_states_are_not_applied_again(client, namespace, file, source, service):
    await make(source, "old", event("one", state={"app:x": "old"}))
    await make(source, "new", event("two", state={"app:x": "new"}))
    await import_sessions(file, client, namespace=namespace)
    for session_id in ("old", "new", "old"):
        assert (await loaded(service, session_id)).state == {"app:x": "new"}


async def test_an_import_that_is_repeated_writes_nothing_and_catches_up(client, namespace, file, source, service):
    session = await make(source, "s", event("one", state={"n": 1, "user:k": 1}))
    first = await import_sessions(file, client, namespace=namespace)
    before = await stored(client, namespace)
    report = await import_sessions(file, client, namespace=namespace)
    assert problems(report) == {}
    assert (report.written, report.present, report.verified) == (0, first.written, first.verified)
    assert await stored(client, namespace) == before
    await source.append_event(session, event("two", state={"n": 2, "user:k": 2}))
    await make(source, "t")
    report = await import_sessions(file, client, namespace=namespace)
    assert problems(report) == {}
    # The event, the session, and the state of the user.
    assert report.written == 3
    assert plain(await loaded(service)) == plain(await loaded(source))


async def test_a_session_that_continued_in_the_target_stays_as_it_is(client, namespace, file, source, service):
    await make(source, "s", event("one", state={"n": 1, "app:x": 1}))
    await import_sessions(file, client, namespace=namespace)
    session = await loaded(service)
    await service.append_event(session, event("two", state={"n": 2, "app:x": 2}))
    report = await import_sessions(file, client, namespace=namespace)
    assert problems(report) == {}
    assert report.written == 0
    assert (await loaded(service)).state == {"n": 2, "app:x": 2}


async def test_other_content_is_refused_by_name_and_not_overwritten(client, namespace, file, source, service):
    await make(service, "s", event("mine"))
    await make(service, "t")
    before = await stored(client, namespace)
    await make(source, "s", event("one"))
    await make(source, "u", event("two"))
    report = await import_sessions(file, client, namespace=namespace, sessions=["s"])
    [(name, (reason, message))] = problems(report).items()
    assert (name, reason) == ("adk-session:app:u:s", "OTHER_CONTENT")
    assert "event 1" in message
    assert await stored(client, namespace) == before
    report = await import_sessions(file, client, namespace=namespace)
    assert (list(problems(report)), report.written) == (["adk-session:app:u:s"], 2)


async def test_another_state_of_the_app_refuses_its_sessions(client, namespace, file, source, service):
    await make(service, "t", state={"app:x": "mine"})
    await make(source, "s", state={"app:x": "theirs"})
    await make(source, "s", app="other", state={"app:x": "theirs"})
    report = await import_sessions(file, client, namespace=namespace)
    assert {name: reason for name, (reason, _) in problems(report).items()} == {
        "adk-app:app": "OTHER_CONTENT",
        "adk-session:app:u:s": "OTHER_CONTENT",
    }
    assert (await loaded(service, "t")).state == {"app:x": "mine"}
    assert (await loaded(service, app="other")).state == {"app:x": "theirs"}


async def test_a_dry_run_finds_the_same_and_writes_nothing(client, namespace, file, source):
    await make(source, "s", event("one", state={"app:x": 1}))
    await make(source, " padded" if isinstance(source, DatabaseSessionService) else "t")
    dry = await import_sessions(file, client, namespace=namespace, dry_run=True)
    assert await stored(client, namespace) == []
    wet = await import_sessions(file, client, namespace=namespace)
    assert replace(wet, verified=0, problems=()) == replace(dry, problems=())
    assert problems(wet) == problems(dry)


async def test_only_the_chosen_sessions_and_what_they_share_are_imported(client, namespace, file, source):
    await make(source, "a-1", state={"app:x": 1})
    await make(source, "a-2", user="v", state={"user:x": 1})
    await make(source, "b", app="other", state={"app:x": 1})
    report = await import_sessions(file, client, namespace=namespace, sessions=["a-1", "none"])
    assert list(problems(report)) == ["none"]
    assert {each[0] for each in await stored(client, namespace)} == {"adk-app:app", "adk-session:app:u:a-1"}
    report = await import_sessions(file, client, namespace=namespace, app_name="other")
    assert {each[0] for each in await stored(client, namespace)} == {
        "adk-app:app",
        "adk-session:app:u:a-1",
        "adk-app:other",
        "adk-session:other:u:b",
    }
    report = await import_sessions(file, client, namespace=namespace, prefix="a-2")
    assert (report.failed, report.written, report.present) == (0, 2, 1)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE events SET event_data = '{' WHERE session_id = 's'", "ADK cannot read it"),
        ("UPDATE events SET event_data = '{\"actions\": 3}' WHERE session_id = 's'", "ADK cannot read it"),
        ("UPDATE sessions SET state = '[]' WHERE id = 's'", "ADK cannot read it"),
        ("UPDATE sessions SET state = '{' WHERE id = 's'", "ADK cannot read it"),
    ],
)
async def test_a_session_that_cannot_be_read_fails_alone(client, namespace, file, source, statement, problem):
    await make(source, "s", event("one"))
    await make(source, "t", event("two"))
    change(file, statement)
    report = await import_sessions(file, client, namespace=namespace)
    [(name, (reason, message))] = problems(report).items()
    assert (name, reason) == ("adk-session:app:u:s", "UNREADABLE")
    assert problem in message
    assert str(file) in message
    assert {each[0] for each in await stored(client, namespace)} == {"adk-session:app:u:t"}


@pytest.mark.parametrize("name", ["CAST('s' AS BLOB)", "CAST(x'ff' AS TEXT)"], ids=["not text", "not UTF-8"])
async def test_a_session_whose_id_cannot_be_read_fails_alone(client, namespace, file, source, name):
    await make(source, "s", event("one"))
    await make(source, "t", event("two"))
    change(file, f"UPDATE sessions SET id = {name} WHERE id = 's'")
    report = await import_sessions(file, client, namespace=namespace)
    [(reason, message)] = problems(report).values()
    assert reason == "UNREADABLE"
    assert "session_id" in message
    assert {each[0] for each in await stored(client, namespace)} == {"adk-session:app:u:t"}


async def test_a_shared_state_that_cannot_be_read_refuses_its_sessions(client, namespace, file, source):
    await make(source, "s", state={"user:x": 1})
    change(file, "UPDATE user_states SET state = '{'")
    report = await import_sessions(file, client, namespace=namespace)
    assert list(problems(report)) == ["adk-user:app:u", "adk-session:app:u:s"]
    assert problems(report)["adk-user:app:u"][0] == "UNREADABLE"
    assert await stored(client, namespace) == []


async def test_the_earlier_tables_with_pickled_actions_are_imported(client, namespace, file, service):
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    async with engine.begin() as connection:
        await connection.run_sync(v0.Base.metadata.create_all)
    await engine.dispose()
    source = database_service(file)
    try:
        await make(source, "s", event("one", state={"n": 1, "app:x": 1}))
        await make(source, "t", event("two", state={"n": 2}))
        change(file, "UPDATE events SET actions = x'80049525000000' WHERE session_id = 't'")
        with untouched(file.parent):
            report = await import_sessions(file, client, namespace=namespace)
        assert list(problems(report)) == ["adk-session:app:u:t"]
        assert plain(await loaded(service)) == plain(await loaded(source))
    finally:
        await source.close()


async def test_a_source_that_is_missing_or_foreign_is_an_error_and_is_not_made(client, namespace, file):
    for name in (file, f"sqlite:///{file}", f"sqlite+aiosqlite:///{file}"):
        with pytest.raises(SourceError, match="No such file"):
            await import_sessions(name, client, namespace=namespace)
    assert not file.exists()
    with pytest.raises(SourceError, match="names no file"):
        await import_sessions("sqlite://", client, namespace=namespace)
    change(file, "CREATE TABLE other (id)")
    with untouched(file.parent), pytest.raises(SourceError, match="has no table 'sessions'"):
        await import_sessions(file, client, namespace=namespace)
    file.write_bytes(b"text")
    with pytest.raises(SourceError, match="not a SQLite file"):
        await import_sessions(file, client, namespace=namespace)


async def test_a_url_of_a_file_is_read_like_the_file(client, namespace, file, source, service):
    await make(source, "s")
    assert (await import_sessions(f"sqlite:///{file}", client, namespace=namespace)).verified == 1


@pytest.fixture(scope="module")
def running():
    with postgres.running() as found:
        yield found


async def test_sessions_in_postgres_are_imported_and_nothing_is_changed_there(client, namespace, running, service):
    url = running.url("asyncpg", running.create_database())
    source = DatabaseSessionService(url)
    try:
        session = await make(source, "s", event("one", state={"n": 1.5, "app:x": 1}), state={"user:y": "Zoë"})
        await make(source, "t")
        report = await import_sessions(url, client, namespace=namespace)
        assert problems(report) == {}
        assert (report.items, report.written, report.verified) == (4, 5, 5)
        assert plain(await loaded(service)) == plain(await loaded(source))
        await source.append_event(session, event("two", state={"n": 2}))
        without_driver = url.replace("+asyncpg", "")
        report = await import_sessions(without_driver, client, namespace=namespace)
        assert (report.failed, report.written) == (0, 1)
        assert plain(await loaded(service)) == plain(await loaded(source))
    finally:
        await source.close()


async def test_an_empty_database_in_postgres_is_an_error_and_stays_empty(client, namespace, running):
    url = running.url("asyncpg", running.create_database())
    for _ in range(2):
        with pytest.raises(SourceError, match="has no table 'sessions'"):
            await import_sessions(url, client, namespace=namespace)


async def test_a_url_that_cannot_be_opened_is_an_error_without_its_password(client, namespace):
    for url, problem in (
        ("postgresql+psycopg://test:sesame@127.0.0.1:1/none", "No module named 'psycopg'"),
        ("postgresql+asyncpg://test:sesame@127.0.0.1:1/none", "cannot be read"),
        ("nonsense://test:sesame@127.0.0.1/none", "ADK cannot open"),
    ):
        with pytest.raises(SourceError, match=problem) as failed:
            await import_sessions(url, client, namespace=namespace)
        assert "sesame" not in str(failed.value)


async def test_a_session_that_changes_during_its_import_is_refused(client, namespace, running, service):
    url = running.url("asyncpg", running.create_database())
    source = DatabaseSessionService(url)
    try:
        session = await make(source, "s", event("one"))
        tasks = []

        def change_once(moved):
            if moved.written == 2 and not tasks:
                tasks.append(asyncio.ensure_future(source.append_event(session, event("two"))))

        # The verification reads again after the change, which takes its turn while the session is verified.
        report = await import_sessions(url, client, namespace=namespace, progress=change_once)
        await tasks[0]
        assert {reason for reason, _ in problems(report).values()} <= {"SOURCE_CHANGED"}
        assert problems(await import_sessions(url, client, namespace=namespace)) == {}
        assert plain(await loaded(service)) == plain(await loaded(source))
    finally:
        await source.close()


def test_an_import_that_is_killed_and_repeated_has_the_same_result(served, tmp_path):
    calm = run(PROGRAM, served.target, tmp_path / "calm")
    assert calm.result[0] == 0
    for kill_at in kill_points.points(calm):
        folder = tmp_path / str(kill_at)
        # The times of the events are part of the content.
        shutil.copy(tmp_path / "calm" / "sessions.db", tmp_path / "sessions.db")
        assert run(PROGRAM, served.target, folder, kill_at=kill_at).result == calm.result


KEYS = st.sampled_from(["a", "b", "app:a", "user:a", "user:ü"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
STATES = st.dictionaries(KEYS, VALUES, max_size=3)


@given(
    sessions=st.dictionaries(
        st.tuples(st.sampled_from(["app", "b:c"]), st.sampled_from(["u", "v/%"]), st.sampled_from(["s", "ü"])),
        st.tuples(STATES, st.lists(STATES, max_size=4)),
        min_size=1,
        max_size=4,
    ),
    stop_after=st.integers(0, 30),
    open_source=st.sampled_from([sqlite_service, database_service]),
)
@settings(max_examples=30, deadline=None)
def test_every_session_is_loaded_as_adk_loads_it(served, tmp_path_factory, sessions, stop_after, open_source):
    """Also if the import is stopped anywhere and repeated."""
    file = tmp_path_factory.mktemp("adk-moving") / "sessions.db"

    class StoppedError(Exception):
        pass

    async def check():
        namespace, calls = uuid.uuid4().hex, 0

        def stop(_):
            nonlocal calls
            calls += 1
            if calls > stop_after:
                raise StoppedError

        source = open_source(file)
        try:
            for (app, user, session_id), (state, changes) in sessions.items():
                events = [event("x", state=each) for each in changes]
                try:
                    json.dumps([state, changes], ensure_ascii=False).encode()
                except UnicodeEncodeError:
                    return
                await make(source, session_id, *events, app=app, user=user, state=state)
            async with holdfast.AsyncClient(served.target, timeout=20) as client:
                with suppress(StoppedError):
                    await import_sessions(file, client, namespace=namespace, progress=stop)
                report = await import_sessions(file, client, namespace=namespace)
                assert problems(report) == {}
                service = HoldfastSessionService(client, namespace=namespace)
                for app, user, session_id in sessions:
                    found = await loaded(service, session_id, app=app, user=user)
                    assert plain(found) == plain(await loaded(source, session_id, app=app, user=user))
        finally:
            await source.close()

    asyncio.run(check())


async def test_the_command_of_the_page_prints_what_it_shows(served, namespace, file):
    source = sqlite_service(file)
    await make(source, "run-42", event("one", state={"app:x": 1}), event("two"), user="me")
    [(command, shown)] = pages.commands_of("adk")
    arguments = command.replace("my-agents", namespace).split()
    done = await asyncio.to_thread(commands.run, served.target, *arguments, folder=file.parent)
    assert done.stdout == shown
