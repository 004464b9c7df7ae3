"""Retention by count and by age takes no event of a session, and no state."""

import json
import subprocess

import pytest

from tests.adapters.adk.installed import WHY_NOT, has_adk

if not has_adk():
    pytest.skip(WHY_NOT, allow_module_level=True)

from holdfast.adapters.adk import HoldfastSessionService

from tests.adapters.adk.engine import WHO, event, read, texts
from tests.servers import EXECUTABLE, server

STRICTEST = json.dumps({"*": {"keep_last": 1, "max_age_seconds": 1}})


def collect(store_url: str) -> int:
    """Collect what retention lets go. Returns how many checkpoints were retired."""
    command = [*EXECUTABLE, "gc", "--store", store_url, "--retention", STRICTEST]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return int(json.loads(done.stdout.splitlines()[-1])["retired"])


async def test_a_session_outlives_the_strictest_retention(tmp_path):
    store_url = (tmp_path / "store").as_uri()
    with server(store_url, "--grace-seconds", "0") as target:
        async with HoldfastSessionService.from_target(target, namespace="n", timeout=20) as service:
            session = await service.create_session(**WHO, state={"big": "x" * 20_000, "app:n": -1, "user:n": -1})
            # Whole states on the way, of the session and of the app.
            for number in range(30):
                await service.append_event(
                    session, event(f"e{number} " + "x" * 1000, state={"n": number, "app:n": number, "user:n": number})
                )
            # What a newer whole state of the app replaces goes.
            assert collect(store_url) > 0
            for _ in range(3):
                collect(store_url)
            found = await read(service, session)
            assert [each.split()[0] for each in texts(found)] == [f"e{number}" for number in range(30)]
            assert found.state == {"big": "x" * 20_000, "n": 29, "app:n": 29, "user:n": 29}
            await service.append_event(found, event("on", state={"app:n": 30}))
            assert (await read(service, session)).state["app:n"] == 30
            assert len((await service.list_sessions(app_name="app")).sessions) == 1
