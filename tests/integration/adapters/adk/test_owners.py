"""Of two processes that run one session, the overtaken one is refused before it writes anything."""

import holdfast
import pytest

from tests.support.required import require_engine

require_engine("google.adk")

from google.adk.errors import StaleSessionError
from holdfast.adapters.adk import HoldfastSessionService, SessionConflictError

from tests.integration.adapters.adk.engine import WHO, event, read, texts
from tests.integration.adapters.rivals import rival

PROGRAM = "tests.integration.adapters.programs.adk_rival"


@pytest.fixture
def service(client, namespace):
    return HoldfastSessionService(client, namespace=namespace, ownership="exclusive")


def test_ownership_is_one_of_two(client):
    with pytest.raises(ValueError, match="ownership"):
        HoldfastSessionService(client, namespace="n", ownership="mine")


@pytest.mark.parametrize("ownership", ["shared", "exclusive"])
def test_of_two_processes_the_overtaken_one_is_refused_and_the_chain_of_the_other_is_whole(served, ownership):
    namespace = "rivals"
    with holdfast.Client(served.target) as client:
        client.delete_workflows(namespace, "adk-")
        with (
            rival(PROGRAM, served.target, ownership, "one") as one,
            rival(PROGRAM, served.target, ownership, "other") as other,
        ):
            one.do("begin")
            one.do("step")
            assert other.do("begin") == ["one"]
            for length in (2, 3):
                assert len(one.do("step")) == length
            before = [each.checkpoint_id for each in client.list(namespace)]
            refused = other.do("step")
            assert refused["error"] == "SessionConflictError", refused
            assert [each.checkpoint_id for each in client.list(namespace)] == before
            assert one.do("step") == ["one"] * 4
            # The other one reads the session again, and then overtakes the first.
            assert other.do("begin") == ["one"] * 4
            assert other.do("step") == [*["one"] * 4, "other"]
            assert one.do("step")["error"] == "SessionConflictError"
            assert other.do("step") == [*["one"] * 4, "other", "other"]
            assert one.do("begin") == [*["one"] * 4, "other", "other"]
            # A copy without its origin is judged by its time alone, unless ownership is exclusive.
            other.do("forget")
            one.do("step")
            answer = other.do("step")
            if ownership == "exclusive":
                assert answer["error"] == "SessionConflictError"
            else:
                assert len(one.do("begin")) == 8


async def test_a_session_that_is_acquired_by_another_refuses_the_next_append(service, client, namespace):
    session = await service.create_session(**WHO)
    idle = await read(service, session)
    await service.append_event(session, event("a"))
    await client.acquire_writer(namespace, f"adk-session:app:u:{session.id}")
    for each in (session, idle):
        with pytest.raises(SessionConflictError) as caught:
            await service.append_event(each, event("b", state={"app:n": 1}))
        assert isinstance(caught.value, StaleSessionError)
        assert isinstance(caught.value, holdfast.RevisionConflictError)
        assert caught.value.reason == "REVISION_CONFLICT"
    found = await read(service, session)
    assert (texts(found), found.state) == (["a"], {})
    # A run that reads the session again acquires it at its next append.
    await service.append_event(found, event("b"))
    await service.append_event(found, event("c"))
    assert texts(await read(service, session)) == ["a", "b", "c"]


async def test_a_prune_refuses_no_owner(service, client, namespace):
    session = await service.create_session(**WHO, state={"big": "x" * 10_000})
    for number in range(3):
        await service.append_event(session, event(str(number)))
        await client.prune(namespace, f"adk-session:app:u:{session.id}")
    assert texts(await read(service, session)) == ["0", "1", "2"]


async def test_a_session_of_another_service_is_refused(service, client, namespace):
    session = await service.create_session(**WHO)
    session._storage_update_marker = "2026-01-01T00:00:00.000000"
    for ownership in ("shared", "exclusive"):
        other = HoldfastSessionService(client, namespace=namespace, ownership=ownership)
        with pytest.raises(SessionConflictError, match="another session service"):
            await other.append_event(session, event())
