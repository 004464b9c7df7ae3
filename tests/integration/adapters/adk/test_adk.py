"""The promises of the session service for Google ADK, with the real engine and a real server."""

import asyncio
import uuid
from dataclasses import replace
from pathlib import Path

import holdfast
import pytest

from tests.support import folder_objects
from tests.support.required import require_engine

require_engine("google.adk")

from google.adk.agents import LlmAgent
from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events import Event, EventActions
from google.adk.events.event_actions import EventCompaction
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types
from holdfast.adapters.adk import SESSION_FORMAT, HoldfastSessionService

from tests.integration.adapters import kill_points, killing
from tests.integration.adapters.adk.serving import serving
from tests.support.damage import damage

WHO = {"app_name": "app", "user_id": "u"}
BIG = "x" * 100_000


@pytest.fixture
def service(client, namespace):
    return HoldfastSessionService(client, namespace=namespace)


@pytest.fixture
def lenient(client, namespace):
    return HoldfastSessionService(client, namespace=namespace, fallback=True)


@pytest.fixture
def blobs_of(served, namespace):
    """Return the keys of the blobs of the test's own workflows, the newest last."""
    return lambda workflows="*": folder_objects.by_age(served.folder, f"ns/{namespace}/wf/{workflows}/blob/*")


def event(text: str = "hi", *, state=None, timestamp: float | None = None, **fields) -> Event:
    made = Event(
        author="agent", content=types.ModelContent(text), actions=EventActions(state_delta=state or {}), **fields
    )
    return made if timestamp is None else made.model_copy(update={"timestamp": timestamp})


async def made(service, *texts: str, **options) -> Session:
    session = await service.create_session(**WHO, **options)
    for number, text in enumerate(texts):
        await service.append_event(session, event(text, state={"last": number}))
    return session


async def read(service, session: Session, **config) -> Session | None:
    chosen = GetSessionConfig(**config) if config else None
    return await service.get_session(**WHO, session_id=session.id, config=chosen)


def texts(session: Session) -> list[str]:
    return [each.content.parts[0].text[:20] for each in session.events]


async def test_a_session_comes_back_as_it_was_created(service):
    created = await service.create_session(**WHO, session_id="s", state={"k": {"deep": [1, None, "ü"]}})
    assert await read(service, created) == created
    assert (created.id, created.state, created.events) == ("s", {"k": {"deep": [1, None, "ü"]}}, [])


async def test_a_session_without_an_id_gets_one_of_its_own(service):
    first, second = await made(service), await made(service, session_id="  ")
    assert first.id.strip()
    assert second.id.strip()
    assert first.id != second.id


async def test_ids_of_sessions_are_stripped_everywhere(service):
    session = await made(service, session_id="  s ")
    assert session.id == "s"
    assert (await service.get_session(**WHO, session_id=" s")).id == "s"
    with pytest.raises(AlreadyExistsError):
        await made(service, session_id="s  ")
    await service.delete_session(**WHO, session_id=" s ")
    assert await read(service, session) is None


async def test_an_event_comes_back_with_all_its_fields(service):
    session = await made(service)
    whole = Event(
        invocation_id="i",
        author="agent",
        branch="a.b",
        content=types.Content(
            role="model",
            parts=[
                types.Part(text="thought", thought=True, thought_signature=b"\x00\xff"),
                types.Part(inline_data=types.Blob(data=bytes(range(256)), mime_type="image/png")),
                types.Part(function_call=types.FunctionCall(id="1", name="f", args={"a": [None, 1.5]})),
                types.Part(function_response=types.FunctionResponse(id="1", name="f", response={"r": {"x": True}})),
            ],
        ),
        actions=EventActions(
            state_delta={"k": None, "n": {"m": None}},
            artifact_delta={"file": 3},
            transfer_to_agent="other",
            escalate=True,
            end_of_agent=True,
            agent_state={"at": "node"},
            route=["a", 1],
            compaction=EventCompaction(
                start_timestamp=1, end_timestamp=2, compacted_content=types.Content(role="model")
            ),
        ),
        long_running_tool_ids={"1", "2"},
        error_code="E",
        error_message="m",
        turn_complete=True,
        custom_metadata={"m": [1]},
        usage_metadata=types.GenerateContentResponseUsageMetadata(total_token_count=7),
    )
    await service.append_event(session, whole)
    assert (await read(service, session)).events == [whole]


async def test_a_missing_session_or_state_is_none_or_empty(service):
    assert await service.get_session(**WHO, session_id="none") is None
    assert (await service.list_sessions(app_name="app")).sessions == []
    assert await service.get_user_state(**WHO) == {}
    await service.delete_session(**WHO, session_id="none")


async def test_an_id_is_created_once_for_a_user_and_may_be_used_by_others(service):
    await made(service, session_id="s")
    with pytest.raises(AlreadyExistsError, match="s already exists"):
        await made(service, session_id="s")
    await service.create_session(app_name="app", user_id="other", session_id="s")
    await service.create_session(app_name="other", user_id="u", session_id="s")


async def test_a_refused_creation_changes_no_shared_state(service):
    await made(service, session_id="s", state={"app:a": 1, "user:b": 1})
    with pytest.raises(AlreadyExistsError):
        await made(service, session_id="s", state={"app:a": 2, "user:b": 2})
    assert (await service.get_session(**WHO, session_id="s")).state == {"app:a": 1, "user:b": 1}


async def test_of_many_racing_creations_one_wins(service):
    outcomes = await asyncio.gather(*(made(service, session_id="s") for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, Session) for each in outcomes) == 1
    assert sum(isinstance(each, AlreadyExistsError) for each in outcomes) == 7


async def test_events_come_back_in_the_order_of_their_appends(service):
    session = await made(service)
    for text, timestamp in (("one", 30.0), ("two", 10.0), ("three", 20.0)):
        await service.append_event(session, event(text, timestamp=timestamp))
    found = await read(service, session)
    assert texts(found) == texts(session) == ["one", "two", "three"]
    assert found.last_update_time == session.last_update_time == 20.0


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"num_recent_events": 0}, []),
        ({"num_recent_events": 2}, ["e3", "e4"]),
        ({"num_recent_events": 9}, ["e0", "e1", "e2", "e3", "e4"]),
        ({"after_timestamp": 3.0}, ["e3", "e4"]),
        ({"after_timestamp": 0.0}, ["e0", "e1", "e2", "e3", "e4"]),
        ({"after_timestamp": 9.0}, []),
        ({"after_timestamp": 2.0, "num_recent_events": 1}, ["e4"]),
    ],
)
async def test_a_config_chooses_events_as_it_does_in_memory(service, config, expected):
    for each in (service, InMemorySessionService()):
        session = await each.create_session(**WHO)
        for number in range(5):
            await each.append_event(session, event(f"e{number}", state={"n": number}, timestamp=float(number)))
        found = await read(each, session, **config)
        assert texts(found) == expected
        assert found.state == {"n": 4}


async def test_a_session_read_in_part_can_be_appended_to(service):
    session = await made(service, "a", "b")
    part = await read(service, session, num_recent_events=1)
    await service.append_event(part, event("c"))
    assert texts(await read(service, session)) == ["a", "b", "c"]


async def test_a_partial_event_is_not_stored(service):
    session = await made(service)
    partial = event("part", partial=True, state={"k": 1})
    assert await service.append_event(session, partial) is partial
    assert session.events == []
    assert (await read(service, session)).events == []


async def test_state_goes_where_its_prefix_says(service):
    session = await made(service, state={"own": 1, "app:a": 1, "user:u": 1, "temp:t": 1})
    await service.append_event(session, event(state={"own": 2, "app:b": 2, "user:v": 2, "temp:x": 2}))
    # Temporary state is only in this session object.
    assert session.state["temp:x"] == 2
    everything = {"own": 2, "app:a": 1, "app:b": 2, "user:u": 1, "user:v": 2}
    found = await read(service, session)
    assert found.state == everything
    assert found.events[0].actions.state_delta == {"own": 2, "app:b": 2, "user:v": 2}
    assert (await made(service)).state == {"app:a": 1, "app:b": 2, "user:u": 1, "user:v": 2}
    assert (await service.create_session(app_name="app", user_id="other")).state == {"app:a": 1, "app:b": 2}
    assert (await service.create_session(app_name="other", user_id="u")).state == {}
    assert await service.get_user_state(**WHO) == {"u": 1, "v": 2}


async def test_state_is_updated_by_keys_and_none_is_a_value(service):
    session = await made(service, state={"a": {"x": 1}, "b": 1})
    await service.append_event(session, event(state={"a": {"y": 2}, "b": None}))
    assert (await read(service, session)).state == {"a": {"y": 2}, "b": None}


async def test_what_was_set_without_an_event_is_not_stored(service):
    session = await made(service)
    session.state["sly"] = 1
    await service.append_event(session, event(state={"k": 1}))
    assert (await read(service, session)).state == {"k": 1}


async def test_a_stale_session_is_refused_and_changes_nothing(service):
    session = await made(service, "a")
    stale = await read(service, session)
    await service.append_event(session, event("b"))
    with pytest.raises(StaleSessionError):
        await service.append_event(stale, event("lost", state={"k": 1, "app:k": 1, "user:k": 1}))
    found = await read(service, session)
    assert texts(found) == ["a", "b"]
    assert found.state == {"last": 0}


async def test_a_session_that_lost_its_origin_is_judged_by_its_time(service):
    session = await made(service, "a")
    copy = Session.model_validate_json((await read(service, session)).model_dump_json())
    await service.append_event(copy, event("b"))
    with pytest.raises(StaleSessionError):
        await service.append_event(
            Session.model_validate({**copy.model_dump(), "last_update_time": 1.0}), event("lost")
        )
    assert texts(await read(service, session)) == ["a", "b"]


async def test_an_event_of_a_session_that_is_not_there_is_refused(service):
    with pytest.raises(SessionNotFoundError):
        await service.append_event(Session(id="none", app_name="app", user_id="u"), event())


async def test_the_same_event_is_stored_once(service):
    session = await made(service, "a")
    again = event("b", state={"k": (1, 2)})
    for _ in range(2):
        await service.append_event(session, again)
    reloaded = await read(service, session)
    await service.append_event(reloaded, again)
    assert texts(session) == texts(await read(service, session)) == ["a", "b"]


async def test_an_append_whose_answer_was_lost_can_be_made_again(service, client, monkeypatch):
    session = await made(service, "a")
    save = client.save

    async def lost(*args, **options):
        await save(*args, **options)
        raise holdfast.CommitUnknownError("lost", reason="COMMIT_UNKNOWN")

    again = event("b", state={"k": 1})
    with monkeypatch.context() as patch:
        patch.setattr(client, "save", lost)
        with pytest.raises(holdfast.CommitUnknownError):
            await service.append_event(session, again)
    assert texts(session) == ["a"]
    await service.append_event(session, again)
    await service.append_event(session, event("c"))
    assert texts(session) == texts(await read(service, session)) == ["a", "b", "c"]


async def test_events_that_share_an_id_and_differ_are_kept(service):
    session = await made(service)
    await service.append_event(session, event("a", id="same"))
    await service.append_event(session, event("b", id="same"))
    assert texts(await read(service, session)) == ["a", "b"]


async def test_sessions_are_listed_without_events_the_last_updated_one_last(service):
    first, second = await made(service, "a", session_id="1"), await made(service, session_id="2")
    other = await service.create_session(app_name="app", user_id="other", session_id="3", state={"user:x": 1})
    await service.create_session(app_name="another", user_id="u")
    await service.append_event(first, event("b", timestamp=second.last_update_time + 100))
    mine = (await service.list_sessions(app_name="app", user_id="u")).sessions
    assert [(each.id, each.events, each.state) for each in mine] == [("2", [], {}), ("1", [], {"last": 0})]
    everyone = (await service.list_sessions(app_name="app")).sessions
    assert [each.id for each in everyone] == ["2", "3", "1"]
    assert everyone[1].state == other.state == {"user:x": 1}
    assert (await service.list_sessions(app_name="app", user_id="nobody")).sessions == []


async def test_a_deleted_session_is_gone_and_its_id_can_be_used_again(service):
    session = await made(service, "a", session_id="s", state={"app:a": 1})
    await service.delete_session(**WHO, session_id="s")
    assert await read(service, session) is None
    assert (await service.list_sessions(app_name="app")).sessions == []
    with pytest.raises(SessionNotFoundError):
        await service.append_event(session, event())
    again = await made(service, session_id="s")
    assert again.state == {"app:a": 1}
    with pytest.raises(StaleSessionError):
        await service.append_event(session, event())
    assert (await read(service, again)).events == []


@pytest.mark.parametrize("name", ["a/b", "a%2Fb", "..", "läuf 木", "x" * 120, "a:b", "tab\tid", "-"])
async def test_any_id_is_accepted_and_distinguished(service, name):
    session = await service.create_session(app_name=name, user_id=name, session_id=name, state={"user:k": name})
    await service.create_session(app_name=name, user_id=f"{name}2", session_id=name)
    await service.append_event(session, event("a", id=name, state={name: 1, f"app:{name}": 2}))
    found = await service.get_session(app_name=name, user_id=name, session_id=name)
    assert (found.events[0].id, found.state) == (name, {name: 1, f"app:{name}": 2, "user:k": name})
    (listed,) = (await service.list_sessions(app_name=name, user_id=name)).sessions
    assert (listed.app_name, listed.user_id, listed.id) == (name, name, name)


async def test_ids_too_long_for_a_workflow_are_a_typed_error(service):
    with pytest.raises(holdfast.InvalidRequestError, match="workflow_id"):
        await made(service, session_id="x" * 600)


async def test_many_tasks_with_one_session_lose_nothing(service):
    session = await made(service)
    events = [event(str(number), state={str(number): number}) for number in range(20)]
    await asyncio.gather(*(service.append_event(session, each) for each in events))
    found = await read(service, session)
    assert sorted(map(int, texts(found))) == list(range(20))
    assert texts(found) == texts(session)
    assert found.state == {str(number): number for number in range(20)}


async def test_many_sessions_at_once_lose_no_shared_state(service):
    async def one(number: int) -> None:
        session = await made(service, session_id=str(number))
        await service.append_event(session, event(state={f"app:{number}": number, f"user:{number}": number}))

    await asyncio.gather(*map(one, range(12)))
    expected = {str(number): number for number in range(12)}
    assert await service.get_user_state(**WHO) == expected
    assert (await made(service)).state == {
        f"{kind}:{key}": value for kind in ("app", "user") for key, value in expected.items()
    }


async def test_of_two_copies_of_a_session_that_race_one_wins(service):
    session = await made(service, "a")
    copies = [await read(service, session) for _ in range(6)]
    # Each copy has a service of its own, like in several processes.
    services = [HoldfastSessionService(service._client, namespace=service._namespace) for _ in copies]
    outcomes = await asyncio.gather(
        *(each.append_event(copy, event("b")) for each, copy in zip(services, copies, strict=True)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Event) for each in outcomes) == 1
    assert sum(isinstance(each, StaleSessionError) for each in outcomes) == 5
    assert texts(await read(service, session)) == ["a", "b"]


async def test_a_fence_or_collection_in_between_makes_no_session_stale(service, client, namespace):
    session = await made(service, "a")
    await client.acquire_writer(namespace, f"adk-session:app:u:{session.id}")
    await service.append_event(session, event("b"))
    assert texts(await read(service, session)) == ["a", "b"]


async def test_a_damaged_newest_event_is_an_error(service, served, blobs_of):
    session = await made(service, BIG, BIG)
    damage(served.folder, blobs_of()[-1])
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await read(service, session)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await read(service, session, num_recent_events=1)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await service.append_event(session, event("c"))
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await service.list_sessions(app_name="app")


async def test_with_fallback_the_session_is_as_it_was_before_the_damage(lenient, served, blobs_of):
    session = await made(lenient, BIG + "1", BIG + "2")
    damage(served.folder, blobs_of()[-1])
    found = await read(lenient, session)
    assert texts(found) == [BIG[:20]]
    assert found.state == {"last": 0}
    await lenient.append_event(found, event("on", state={"went": "on"}))
    assert texts(await read(lenient, session)) == [BIG[:20], "on"]
    assert (await read(lenient, session)).state == {"last": 0, "went": "on"}


async def damaged_in_the_middle(service, served, blobs_of) -> Session:
    session = await made(service, "a", BIG)
    blob = blobs_of()[-1]
    await service.append_event(session, event("c", state={"last": 2}))
    damage(served.folder, blob)
    return session


async def test_a_hole_in_a_session_is_an_error_unless_it_is_not_asked_for(service, served, blobs_of):
    session = await damaged_in_the_middle(service, served, blobs_of)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await read(service, session)
    assert texts(await read(service, session, num_recent_events=1)) == ["c"]


async def test_with_fallback_a_session_with_a_hole_ends_before_it_and_continues_from_there(
    lenient, service, served, blobs_of
):
    session = await damaged_in_the_middle(lenient, served, blobs_of)
    found = await read(lenient, session)
    assert (texts(found), found.state) == (["a"], {"last": 0})
    await lenient.append_event(found, event("on"))
    # Without `fallback`, too, the session is whole from here on.
    assert texts(await read(service, session)) == ["a", "on"]
    assert (await read(service, session)).state == {"last": 0}


@pytest.mark.parametrize("back", [0, 1])
async def test_a_damaged_commit_marker_is_noticed_wherever_it_lies(tmp_path, back):
    folder = tmp_path / "store"
    with serving(folder) as served:
        async with HoldfastSessionService.from_target(served.target, namespace="n") as service:
            session = await made(service, "a", "b", "c")
    # The newest is listed first.
    marker = folder_objects.keys(folder, "ns/n/wf/adk-session*/log/*")[back]
    folder_objects.write(folder, marker, folder_objects.read(folder, marker)[:-1])
    # A new server, which has not cached the whole marker.
    with serving(folder) as served:
        async with HoldfastSessionService.from_target(served.target, namespace="n") as service:
            with pytest.raises(holdfast.CheckpointCorruptedError):
                await read(service, session)
        async with HoldfastSessionService.from_target(served.target, namespace="n", fallback=True) as service:
            found = await read(service, session)
            assert texts(found) == ["a", "b", "c"][: 2 - back]
            assert found.state == {"last": 1 - back}


async def test_with_fallback_and_no_whole_checkpoint_left_it_is_an_error(lenient, served, blobs_of):
    session = await lenient.create_session(**WHO, state={"big": BIG})
    for blob in blobs_of():
        damage(served.folder, blob)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await read(lenient, session)


async def test_damaged_shared_state_is_an_error_and_with_fallback_the_one_before(service, lenient, served, blobs_of):
    session = await made(service, state={"app:k": BIG + "1"})
    await service.append_event(session, event(state={"app:k": BIG + "2"}))
    newest = blobs_of("adk-app*")[-1]
    folder_objects.write(served.folder, newest, folder_objects.read(served.folder, newest)[:-1])
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await read(service, session)
    assert (await read(lenient, session, num_recent_events=0)).state == {"app:k": BIG + "1"}


async def test_a_format_of_a_newer_adapter_is_refused(service, client, namespace):
    session = await made(service)
    newer = replace(SESSION_FORMAT, version=2)
    await client.save(namespace, f"adk-session:app:u:{session.id}", b"{}", format=newer)
    with pytest.raises(holdfast.FormatIncompatibleError):
        await read(service, session)


async def test_an_unreachable_server_is_a_typed_error():
    async with HoldfastSessionService.from_target("127.0.0.1:1", namespace="n", timeout=0.5) as service:
        session = Session(id="s", app_name="app", user_id="u")
        for call in (
            service.create_session(**WHO),
            service.get_session(**WHO, session_id="s"),
            service.list_sessions(app_name="app"),
            service.append_event(session, event()),
            service.delete_session(**WHO, session_id="s"),
        ):
            with pytest.raises(holdfast.HoldfastError) as caught:
                await call
            assert caught.value.reason in ("SERVER_UNAVAILABLE", "DEADLINE_EXCEEDED")


class Echo(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        yield LlmResponse(content=types.ModelContent(f"{len(llm_request.contents)} contents"))


async def test_a_real_runner_leaves_the_same_session_as_in_memory(service):
    found = []
    for each in (service, InMemorySessionService()):
        agent = LlmAgent(name="echo", model=Echo(model="echo"), output_key="answer")
        runner = Runner(app_name="app", agent=agent, session_service=each)
        session = await each.create_session(**WHO)
        for _ in range(2):
            async for _ in runner.run_async(user_id="u", session_id=session.id, new_message=types.UserContent("hi")):
                pass
        found.append(await read(each, session))
    ours, theirs = found
    assert ours.state == theirs.state == {"answer": "3 contents"}
    varies = {"id", "timestamp", "invocation_id"}
    assert [each.model_dump(exclude=varies) for each in ours.events] == [
        each.model_dump(exclude=varies) for each in theirs.events
    ]


@pytest.mark.verification
@pytest.mark.timeout(300)
def test_a_killed_agent_resumes_to_the_undisturbed_result(tmp_path: Path):
    program = "tests.integration.adapters.programs.adk"
    with serving(tmp_path / "store") as served:
        calm = killing.run(program, served.target, tmp_path / f"calm-{uuid.uuid4().hex[:6]}")
        assert calm.result["answer"] == "0 1 2"
        for at in kill_points.points(calm):
            run = killing.run(program, served.target, tmp_path / f"killed-{at}", kill_at=at)
            assert run.result == calm.result
            for step in range(3):
                assert 1 <= run.points.count(f"before step {step}") <= 2
                # A call whose response was acknowledged does not run again.
                if f"after response {step}" in run.points:
                    after = run.points.index(f"after response {step}")
                    assert f"before step {step}" not in run.points[after:]
            assert sum(run.points.count(f"before step {step}") for step in range(3)) <= 4
