"""The size of a session in the store and on the wire; sessions of the earlier layout, damaged or pruned ones."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import holdfast
import pytest

from tests.support import folder_objects
from tests.support.required import require_engine

require_engine("google.adk")

from google.adk.agents import LlmAgent
from google.adk.errors import StaleSessionError
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService, Session
from google.genai import types
from holdfast.adapters.adk import SESSION_FORMAT, HoldfastSessionService
from holdfast.adapters.adk.chain import MAX_LINKS

from tests.integration.adapters.adk.engine import WHO, event, read, texts

BIG = {"big": "x" * 200_000}


class Counting(holdfast.AsyncClient):
    """A client that counts calls, and the bytes of payloads."""

    calls = saved = loaded = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        pages = self._transport.pages

        async def counted(*args: Any) -> AsyncIterator[Any]:
            async for page in pages(*args):
                self.calls += 1
                yield page

        self._transport.pages = counted  # type: ignore[method-assign]

    async def save(self, namespace: str, workflow_id: str, data: Any, **options: Any) -> holdfast.Checkpoint:
        saved = await super().save(namespace, workflow_id, data, **options)
        self.saved += saved.size_bytes
        return saved

    async def load(self, *args: Any, **options: Any) -> holdfast.LoadedCheckpoint:
        self.calls += 1
        found = await super().load(*args, **options)
        self.loaded += found.info.size_bytes
        return found

    async def history(self, *args: Any, **options: Any) -> AsyncIterator[holdfast.LoadedCheckpoint]:
        async for each in super().history(*args, **options):
            self.loaded += each.info.size_bytes
            yield each

    def reset(self) -> None:
        self.calls = self.saved = self.loaded = 0


@pytest.fixture
async def counting(served):
    async with Counting(served.target, timeout=20) as client:
        yield client


@pytest.fixture
def service(counting, namespace):
    return HoldfastSessionService(counting, namespace=namespace)


@pytest.mark.parametrize("scope", ["", "app:", "user:"])
async def test_small_events_on_a_large_state_take_what_they_change(service, counting, served, scope):
    session = await service.create_session(**WHO, state={f"{scope}big": "x" * 200_000})
    counting.reset()
    before = folder_objects.stored_bytes(served.folder)
    for number in range(60):
        await service.append_event(session, event(f"e{number}", state={f"{scope}n": number}))
    assert counting.saved < 60_000
    # Commit markers included. ADK's own service on SQLite takes 0.26 MB, the state included.
    stored = folder_objects.stored_bytes(served.folder) - before
    assert stored < 260_000
    counting.reset()
    found = await read(service, session)
    assert (len(found.events), found.state[f"{scope}n"]) == (60, 59)
    assert counting.loaded < (500_000 if scope else 300_000)
    assert counting.calls <= 8
    counting.reset()
    assert texts(await read(service, session, num_recent_events=1)) == ["e59"]
    assert counting.loaded < (500_000 if scope else 300_000)
    assert counting.calls <= 8


async def test_a_session_of_any_length_is_loaded_by_a_few_calls_and_takes_few_bytes(service, counting):
    session = await service.create_session(**WHO, state=BIG)
    counting.reset()
    most = MAX_LINKS + 20
    for number in range(most):
        await service.append_event(session, event(f"e{number}", state={f"k{number % 7}": number}))
    # The whole state was added once.
    assert 200_000 < counting.saved < 200_000 + 600 * most
    counting.reset()
    found = await read(service, session, num_recent_events=3)
    assert texts(found) == [f"e{number}" for number in range(most - 3, most)]
    assert found.state == BIG | {f"k{number % 7}": number for number in range(most)}
    assert counting.calls <= 5
    counting.reset()
    assert len((await read(service, session)).events) == most
    assert counting.calls <= 5


async def test_a_small_state_comes_with_the_newest_event(service, counting):
    session = await service.create_session(**WHO, state={"a": 1})
    for number in range(30):
        await service.append_event(session, event(f"e{number}", state={"n": number}))
    counting.reset()
    found = await read(service, session, num_recent_events=1)
    assert (texts(found), found.state) == (["e29"], {"a": 1, "n": 29})
    # One call for the event, two for app and user state, which do not exist.
    assert counting.calls == 3
    assert counting.loaded < 1000


async def test_a_growing_state_takes_a_few_times_its_size(service, counting):
    session = await service.create_session(**WHO)
    counting.reset()
    for number in range(100):
        await service.append_event(session, event(state={f"k{number}": "x" * 2000}))
    # The events take 0.2 MB, and at the end so does the state.
    assert counting.saved < 1_000_000
    counting.reset()
    found = await read(service, session, num_recent_events=1)
    assert len(found.state) == 100
    assert counting.loaded < 600_000


@pytest.mark.parametrize("keep_last", [1, 3])
async def test_a_prune_removes_no_event_of_a_session(service, counting, namespace, keep_last):
    session = await service.create_session(**WHO, state=BIG | {"app:a": 0})
    for number in range(8):
        await service.append_event(session, event(f"e{number}", state={"n": number, "app:a": number}))
    for workflow in [each.workflow_id async for each in counting.list_workflows(namespace)]:
        await counting.prune(namespace, workflow, keep_last=keep_last)
    found = await read(service, session)
    assert texts(found) == [f"e{number}" for number in range(8)]
    assert found.state == BIG | {"n": 7, "app:a": 7}
    await service.append_event(found, event("on", state={"app:a": 8}))
    assert (await read(service, session)).state["app:a"] == 8


async def earlier_layout(client, namespace, session_id: str, events: int) -> None:
    """Save a session in the earlier layout."""
    workflow, parent, state = f"adk-session:app:u:{session_id}", "", {"k": {"$type": "x"}, "s": "\ud83c"}
    earlier = holdfast.Format("adk-session", 1)
    for number in range(events + 1):
        if number:
            state["n"] = number
        session = Session(id=session_id, app_name="app", user_id="u", last_update_time=float(number))
        parts = {"session": json.dumps(session.model_dump(mode="json", exclude={"events"}) | {"state": state}).encode()}
        if number:
            each = event(f"e{number}", state={"n": number}, timestamp=float(number))
            parts["event"] = each.model_dump_json(exclude_none=True).encode()
        parent = (await client.save(namespace, workflow, parts, format=earlier, parent_id=parent)).checkpoint_id
    await client.save(namespace, "adk-app:app", b'{"a": 1}', format=holdfast.Format("adk-state", 1))


@pytest.mark.parametrize("is_shared", [False, True])
async def test_an_event_that_is_refused_again_without_a_new_head_ends_with_the_refusal(
    service, counting, monkeypatch, is_shared
):
    session = await service.create_session(**WHO)
    save, refusals = counting.save, 0

    async def refuse(namespace, workflow_id, *arguments, **options):
        nonlocal refusals
        if (session.id in workflow_id) == is_shared:
            return await save(namespace, workflow_id, *arguments, **options)
        refusals += 1
        raise holdfast.RevisionConflictError("somebody has saved", metadata={"head_revision": str(min(refusals, 3))})

    monkeypatch.setattr(counting, "save", refuse)
    with pytest.raises(holdfast.RevisionConflictError):
        await service.append_event(session, event("e0", state={"app:a": 1}))
    assert refusals == 4


async def test_checkpoints_that_form_a_circle_end_a_session_with_an_error(service, counting, namespace):
    session = await service.create_session(**WHO)
    await service.append_event(session, event("e0"))
    [workflow] = [each.workflow_id async for each in counting.list_workflows(namespace)]
    own = await counting.load(namespace, workflow)
    # Each is the parent of the other, and neither has the whole state.
    for each, parent in (("x", ""), ("y", "x"), ("x", "y")):
        await counting.save(
            namespace, workflow, own.parts, format=own.format, checkpoint_id=each, parent_id=parent, replace=True
        )
    with pytest.raises(holdfast.CheckpointCorruptedError, match="is its own ancestor"):
        await service.get_session(**WHO, session_id=session.id)


async def test_sessions_of_the_earlier_layout_are_read_and_continued(service, counting, namespace):
    await earlier_layout(counting, namespace, "old", 4)
    found = await service.get_session(**WHO, session_id="old")
    assert texts(found) == ["e1", "e2", "e3", "e4"]
    assert found.state == {"k": {"$type": "x"}, "s": "\ud83c", "n": 4, "app:a": 1}
    assert found.last_update_time == 4.0
    await service.append_event(found, event("on", state={"m": 5, "app:b": 2}))
    found = await service.get_session(**WHO, session_id="old")
    assert texts(found) == ["e1", "e2", "e3", "e4", "on"]
    assert found.state == {"k": {"$type": "x"}, "s": "\ud83c", "n": 4, "m": 5, "app:a": 1, "app:b": 2}
    (listed,) = (await service.list_sessions(app_name="app")).sessions
    assert listed.state == found.state


UNREADABLE = {
    "newer": ({"event": b"{}"}, holdfast.Format(SESSION_FORMAT.name, SESSION_FORMAT.version + 1)),
    "other": (b"{}", holdfast.Format("something-else", 1)),
    "no JSON": ({"since": b"{", "state": b"{}"}, SESSION_FORMAT),
    "no object": ({"since": b"[]", "state": b"{}"}, SESSION_FORMAT),
    "too deep": ({"since": b'{"updated": 1.0}', "state": b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}"}, SESSION_FORMAT),
    "earlier, too deep": (
        {"session": json.dumps({"state": {"a": 1}}).replace("1", "[" * 300 + "]" * 300).encode()},
        holdfast.Format("adk-session", 1),
    ),
    "no state": ({"since": b'{"updated": 1.0}', "changes": b"{}"}, SESSION_FORMAT),
    "wrong state": ({"since": b'{"updated": 1.0}', "state": b'{"a": {"$type": "nothing:Such"}}'}, SESSION_FORMAT),
    "wrong number": (
        {"since": b'{"updated": 1.0}', "state": b'{"a": {"$type": "decimal:Decimal", "value": "x"}}'},
        SESSION_FORMAT,
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_a_session_that_cannot_be_read_is_listed_in_its_place_and_blocks_no_other(
    service, counting, namespace, kind, caplog
):
    data, form = UNREADABLE[kind]
    good = [await service.create_session(**WHO, session_id=each, state={"k": each}) for each in ("a", "c")]
    await counting.save(namespace, "adk-session:app:u:b", data, format=form)
    with caplog.at_level(logging.WARNING, logger="holdfast"):
        sessions = (await service.list_sessions(app_name="app")).sessions
    # Its time is that of its workflow's newest entry.
    assert [(each.id, each.state) for each in sessions] == [("a", {"k": "a"}), ("c", {"k": "c"}), ("b", {})]
    assert "session 'b'" in caplog.text
    for method in (service.get_session(**WHO, session_id="b"), service.append_event(Session(id="b", **WHO), event())):
        with pytest.raises((holdfast.CheckpointCorruptedError, holdfast.FormatIncompatibleError, StaleSessionError)):
            await method
    for each in good:
        assert await read(service, each) == each
    # It can be deleted.
    await service.delete_session(**WHO, session_id="b")
    assert len((await service.list_sessions(app_name="app")).sessions) == 2


async def test_a_list_of_which_nothing_can_be_read_is_an_error(service, counting, namespace):
    await counting.save(namespace, "adk-session:app:u:b", b"{}", format=holdfast.Format("something-else", 1))
    with pytest.raises(holdfast.FormatIncompatibleError):
        await service.list_sessions(app_name="app")


class Echo(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        yield LlmResponse(content=types.ModelContent(f"{len(llm_request.contents)} contents"))


async def test_a_rewound_session_has_the_state_of_before_as_in_memory(service):
    found = []
    for each in (service, InMemorySessionService()):
        runner = Runner(
            app_name="app", agent=LlmAgent(name="e", model=Echo(model="e"), output_key="answer"), session_service=each
        )
        session = await each.create_session(**WHO, session_id="s")
        for _ in range(2):
            async for _ in runner.run_async(user_id="u", session_id="s", new_message=types.UserContent("hi")):
                pass
        session = await read(each, session)
        last = session.events[-1].invocation_id
        await runner.rewind_async(user_id="u", session_id="s", rewind_before_invocation_id=last)
        async for _ in runner.run_async(user_id="u", session_id="s", new_message=types.UserContent("hi")):
            pass
        session = await read(each, session)
        found.append((session.state, [each.actions.state_delta for each in session.events]))
    assert found[0] == found[1]


async def test_a_session_without_one_of_its_checkpoints_is_an_error_and_listed_in_its_place(
    service, counting, namespace, caplog
):
    good = await service.create_session(**WHO, session_id="good")
    session = await service.create_session(**WHO, session_id="hole", state=BIG)
    for number in range(3):
        await service.append_event(session, event(f"e{number}", state={"n": number}))
    workflow = "adk-session:app:u:hole"
    ids = [each.checkpoint_id async for each in counting.list(namespace, workflow)]
    await counting.delete(namespace, workflow, ids[1])
    with pytest.raises(holdfast.CheckpointDeletedError):
        await read(service, session)
    assert {each.id: each.state for each in (await service.list_sessions(app_name="app")).sessions} == {
        "good": good.state,
        "hole": {},
    }
    assert "session 'hole'" in caplog.text


async def test_a_session_that_is_deleted_while_it_is_read_is_not_there(service, monkeypatch):
    await service.create_session(**WHO, session_id="kept")
    session = await service.create_session(**WHO, session_id="s", state=BIG)
    for number in range(3):
        await service.append_event(session, event(f"e{number}", state={"n": number}))
    real = service._reader.read

    async def late(workflows, newest, config):
        if workflows.own.endswith(":s"):
            await service.delete_session(**WHO, session_id="s")
        return await real(workflows, newest, config)

    monkeypatch.setattr(service._reader, "read", late)
    assert [each.id for each in (await service.list_sessions(app_name="app")).sessions] == ["kept"]
    assert await read(service, session) is None
    session = await service.create_session(**WHO, session_id="s", state=BIG)
    await service.append_event(session, event("e", state={"n": 1}))
    assert await read(service, session) is None
