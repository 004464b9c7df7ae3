"""Retention by count and by age removes no event and no state of a session."""

import json

import pytest

from tests.support.required import require_engine

require_engine("google.adk")

from holdfast.adapters.adk import HoldfastSessionService

from tests.integration.adapters.adk.engine import WHO, event, read, texts
from tests.support import servers
from tests.support.servers import server

STRICTEST = json.dumps({"*": {"keep_last": 1, "max_age_seconds": 1}})


def collect(store_url: str) -> int:
    """Run a collection with the strictest retention. Return how many checkpoints were retired."""
    done = servers.run("gc", "--store", store_url, "--retention", STRICTEST, check=True)
    return int(json.loads(done.stdout.splitlines()[-1])["retired"])


async def test_a_session_outlives_the_strictest_retention(tmp_path):
    store_url = (tmp_path / "store").as_uri()
    with server(store_url, "--grace-seconds", "0") as target:
        async with HoldfastSessionService.from_target(target, namespace="n", timeout=20) as service:
            session = await service.create_session(**WHO, state={"big": "x" * 20_000, "app:n": -1, "user:n": -1})
            # Large enough that whole states of the session and of the app are added.
            for number in range(30):
                await service.append_event(
                    session, event(f"e{number} " + "x" * 1000, state={"n": number, "app:n": number, "user:n": number})
                )
            # Changes of the app's state before its newest whole state are retired.
            assert collect(store_url) > 0
            for _ in range(3):
                collect(store_url)
            found = await read(service, session)
            assert [each.split()[0] for each in texts(found)] == [f"e{number}" for number in range(30)]
            assert found.state == {"big": "x" * 20_000, "n": 29, "app:n": 29, "user:n": 29}
            await service.append_event(found, event("on", state={"app:n": 30}))
            assert (await read(service, session)).state["app:n"] == 30
            assert len((await service.list_sessions(app_name="app")).sessions) == 1


class DiedError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("is_applied", [True, False])
async def test_a_change_that_was_collected_is_not_applied_again(tmp_path, monkeypatch, is_applied):
    """A process dies before it records that a change is applied. The session is read after newer ones replaced it."""
    store_url = (tmp_path / "store").as_uri()
    with server(store_url, "--grace-seconds", "0") as target:
        async with HoldfastSessionService.from_target(target, namespace="n", timeout=20) as service:
            other = await service.create_session(**WHO, session_id="other", state={"app:n": 0})
            session = await service.create_session(**WHO)
            with monkeypatch.context() as patch:

                async def dying(*args, **options):
                    raise DiedError

                patch.setattr(
                    service._client if is_applied else service._states, "attach" if is_applied else "apply", dying
                )
                with pytest.raises(DiedError):
                    await service.append_event(session, event("late", state={"app:n": 1, "app:m": 1}))
            for number in range(2, 9):
                await service.append_event(other, event(state={"app:n": number}))
            assert collect(store_url) > 0
            for _ in range(4):
                collect(store_url)
            found = await read(service, session)
            assert (texts(found), found.state["app:n"]) == (["late"], 8)
            # The append never returned, and it is unknown whether the change was applied: it is not applied now.
            assert found.state.get("app:m") == (1 if is_applied else None)


async def test_without_retention_a_late_change_is_applied_however_late(tmp_path, monkeypatch):
    with server((tmp_path / "store").as_uri()) as target:
        async with HoldfastSessionService.from_target(target, namespace="n", timeout=20) as service:
            session = await service.create_session(**WHO)
            with monkeypatch.context() as patch:

                async def dying(*args, **options):
                    raise DiedError

                patch.setattr(service._states, "apply", dying)
                with pytest.raises(DiedError):
                    await service.append_event(session, event("late", state={"app:m": 1}))
            other = await service.create_session(**WHO, state={"app:n": 0})
            for number in range(2, 9):
                await service.append_event(other, event(state={"app:n": number}))
            assert (await read(service, session)).state == {"app:n": 8, "app:m": 1}
