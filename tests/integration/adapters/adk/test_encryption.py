"""The session service with a keyring: nothing of sessions, events and states is readable in the store."""

import holdfast
import pytest
from holdfast.encryption import LocalKey

from tests.support.required import require_engine
from tests.support.visible import SECRET, require_sealed

require_engine("google.adk")

from google.adk.events import Event, EventActions
from google.genai import types
from holdfast.adapters.adk import HoldfastSessionService

WHO = {"app_name": "app", "user_id": "u"}


async def test_sessions_and_states_are_encrypted_and_come_back(served, namespace):
    keyring = holdfast.Keyring(LocalKey.generate())
    states = {"own": SECRET, "user:theirs": SECRET, "app:all": SECRET}
    async with HoldfastSessionService.from_target(served.target, namespace=namespace, encryption=keyring) as service:
        session = await service.create_session(**WHO, session_id="s", state=states)
        for number in range(3):
            delta = {"user:theirs": f"{SECRET} {number}"}
            content = types.ModelContent(f"{SECRET} {number}")
            await service.append_event(
                session, Event(author="agent", content=content, actions=EventActions(state_delta=delta))
            )
        found = await service.get_session(**WHO, session_id="s")
        assert [each.content.parts[0].text for each in found.events] == [f"{SECRET} {number}" for number in range(3)]
        assert found.state == states | {"user:theirs": f"{SECRET} 2"}
        assert [each.id for each in (await service.list_sessions(**WHO)).sessions] == ["s"]
    await require_sealed(served.target, namespace)
    async with HoldfastSessionService.from_target(served.target, namespace=namespace) as service:
        with pytest.raises(holdfast.KeyringRequiredError):
            await service.get_session(**WHO, session_id="s")
