"""App and user state contain the changes of the stored events, each once, whatever fails in between."""

import asyncio

import holdfast
import pytest

from tests.support import folder_objects
from tests.support.required import require_engine

require_engine("google.adk")

from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.sessions import Session
from holdfast.adapters.adk import HoldfastSessionService

from tests.integration.adapters.adk.engine import WHO, event, read, texts


@pytest.fixture
def service(client, namespace):
    return HoldfastSessionService(client, namespace=namespace)


class DiedError(Exception):
    """Stands for the end of the process."""


def die_at(monkeypatch, client, method: str, prefix: str):
    """Make a method of the client raise DiedError, once, when it is called for a workflow whose id has this prefix."""
    real = getattr(client, method)

    async def dying(namespace, workflow_id, *args, **options):
        if workflow_id.startswith(prefix):
            monkeypatch.setattr(client, method, real)
            raise DiedError
        return await real(namespace, workflow_id, *args, **options)

    monkeypatch.setattr(client, method, dying)


@pytest.mark.parametrize(("method", "prefix"), [("save", "adk-app"), ("save", "adk-user"), ("attach", "adk-session")])
async def test_a_change_whose_process_died_is_applied_once_by_the_next_read(
    service, client, namespace, monkeypatch, method, prefix
):
    session = await service.create_session(**WHO, state={"app:n": 0, "user:n": 0})
    with monkeypatch.context() as patch:
        die_at(patch, client, method, prefix)
        with pytest.raises(DiedError):
            await service.append_event(session, event("a", state={"app:n": 1, "user:n": 1, "own": 1}))
    # Stands for another process.
    other = HoldfastSessionService(client, namespace=namespace)
    found = await read(other, session)
    assert (texts(found), found.state) == (["a"], {"own": 1, "app:n": 1, "user:n": 1})
    # Later changes are not overwritten.
    second = await other.create_session(**WHO, state={"app:n": 2, "user:n": 2})
    assert (await read(other, found)).state == {"own": 1, "app:n": 2, "user:n": 2}
    await other.append_event(found, event("b"))
    assert (await read(other, found)).state == {"own": 1, "app:n": 2, "user:n": 2}
    assert (await read(other, second)).state == {"app:n": 2, "user:n": 2}


@pytest.mark.parametrize("method", ["save", "attach"])
async def test_an_append_that_failed_in_between_can_be_made_again(service, client, monkeypatch, method):
    session = await service.create_session(**WHO)
    again = event("a", state={"app:n": 1})
    with monkeypatch.context() as patch:
        die_at(patch, client, method, "adk-app" if method == "save" else "adk-session")
        with pytest.raises(DiedError):
            await service.append_event(session, again)
    assert session.events == []
    await service.append_event(session, again)
    await service.append_event(session, event("b"))
    found = await read(service, session)
    assert (texts(found), found.state) == (["a", "b"], {"app:n": 1})


async def test_an_event_that_is_refused_changes_no_shared_state(service, client, namespace, monkeypatch):
    """Another writer commits after the check whether the session is stale."""
    session = await service.create_session(**WHO)
    stale = await read(service, session)
    other = HoldfastSessionService(client, namespace=namespace)
    save = client.save

    async def overtaken(*args, **options):
        monkeypatch.setattr(client, "save", save)
        await other.append_event(session, event("winner", state={"app:n": 1}))
        return await save(*args, **options)

    monkeypatch.setattr(client, "save", overtaken)
    with pytest.raises(StaleSessionError):
        await service.append_event(stale, event("lost", state={"app:n": 2, "user:n": 2}))
    found = await read(service, session)
    assert (texts(found), found.state) == (["winner"], {"app:n": 1})


async def test_of_racing_creations_only_the_winner_changes_shared_state(service):
    async def create(number: int):
        return await service.create_session(**WHO, session_id="s", state={f"app:{number}": number})

    outcomes = await asyncio.gather(*map(create, range(8)), return_exceptions=True)
    (won,) = [each for each in outcomes if isinstance(each, Session)]
    assert sum(isinstance(each, AlreadyExistsError) for each in outcomes) == 7
    assert (await read(service, won)).state == won.state
    assert len(won.state) == 1


async def test_a_deleted_session_is_gone_with_all_that_lies_beside_it(service, client, namespace):
    session = await service.create_session(**WHO, session_id="s", state={"app:n": 1})
    stale = await read(service, session)
    await service.append_event(session, event("a", state={"app:n": 2}))
    newest = (await client.load(namespace, "adk-session:app:u:s")).checkpoint_id
    await service.delete_session(**WHO, session_id="s")
    with pytest.raises(holdfast.HoldfastError):
        await client.load(namespace, "adk-session:app:u:s")
    assert await client.records(namespace, "adk-session:app:u:s", newest) == ()
    again = await service.create_session(**WHO, session_id="s")
    # The new session is not mistaken for the old one, and applies none of its changes.
    for old in (session, stale):
        with pytest.raises(StaleSessionError):
            await service.append_event(old, event("old", state={"app:n": 3}))
    assert (await read(service, again)).state == {"app:n": 2}


async def test_a_session_that_is_deleted_during_an_append_is_not_created_again(service, client, monkeypatch):
    session = await service.create_session(**WHO, session_id="s")
    save = client.save

    async def late(*args, **options):
        monkeypatch.setattr(client, "save", save)
        await service.delete_session(**WHO, session_id="s")
        return await save(*args, **options)

    monkeypatch.setattr(client, "save", late)
    with pytest.raises(SessionNotFoundError):
        await service.append_event(session, event("late", state={"app:n": 1}))
    assert await read(service, session) is None
    assert await service.create_session(**WHO, session_id="s")


@pytest.mark.parametrize("purge", [False, True])
async def test_a_session_that_is_deleted_with_purge_has_no_bytes_left_in_the_store(client, namespace, served, purge):
    service = HoldfastSessionService(client, namespace=namespace, purge=purge)
    secret = f"secret-{namespace}-".encode()

    def holding() -> int:
        return len(folder_objects.files_with(served.folder, secret))

    session = await service.create_session(**WHO, session_id="s", state={"k": secret.decode() + "x" * 100})
    await service.append_event(session, event(secret.decode(), state={"n": secret.decode()}))
    assert holding() > 0
    for _ in range(2):
        await service.delete_session(**WHO, session_id="s")
        assert (holding() == 0) is purge
