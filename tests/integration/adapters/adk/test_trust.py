"""Stored data never runs code, and never makes the adapter import a module that the application did not allow."""

import json
import sys

import holdfast
import pytest

from tests.support.required import require_engine

require_engine("google.adk")

from google.adk.sessions import Session
from holdfast.adapters.adk import SESSION_FORMAT, HoldfastSessionService

from tests.integration.adapters.adk.engine import WHO, event, read

RUNS = "tests.integration.adapters.programs.runs_when_imported"
SINCE = b'{"updated": 1.0}'


class Planted:
    """Records when an instance is made or restored."""

    made: list[str] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.made.append("init")

    def __new__(cls):
        cls.made.append("new")
        return super().__new__(cls)

    def __setstate__(self, state):
        self.made.append("setstate")


@pytest.fixture
def service(client, namespace):
    return HoldfastSessionService(client, namespace=namespace)


FORMS = {
    "class whose module runs code": {"$type": f"{RUNS}:Anything", "state": {}},
    "that class itself": {"$type": "class", "class": f"{RUNS}:Anything"},
    "module of the program": {"$type": f"{__name__}:Planted", "state": {}},
    "factory": {"$type": "collections:defaultdict", "value": [{"$type": "class", "class": f"{__name__}:Planted"}, []]},
    "function": {"$type": "os:system", "state": "true"},
    "popen": {"$type": "subprocess:Popen", "state": {"args": "true"}},
    "other names in an allowed module": {"$type": "google.genai.types:logger", "state": {}},
    "a module in an allowed module": {"$type": "google.genai.types:sys.modules", "state": {}},
    "its base class": {"$type": "google.genai.types:pydantic.BaseModel", "state": {}},
    "a method": {"$type": "google.genai.types:Part.from_uri", "state": {}},
    "nothing": {"$type": "google.genai.types:", "state": {}},
    "no name": {"$type": 1},
    "no type": {"$type": None},
}


@pytest.mark.parametrize("where", ["state", "changes", "event", "app"])
@pytest.mark.parametrize("kind", FORMS)
async def test_a_class_that_the_data_names_is_not_looked_up(service, client, namespace, kind, where):
    form = json.dumps({"x": FORMS[kind]}).encode()
    session = Session(id="s", app_name="app", user_id="u")
    workflow = "adk-session:app:u:s"
    parts = {"since": SINCE, "state": form if where == "state" else b"{}"}
    if where in ("changes", "event"):
        parts["event"] = form if where == "event" else b'{"author": "a"}'
        parts["changes"] = form if where == "changes" else b"{}"
    await client.save(namespace, workflow, parts, format=SESSION_FORMAT)
    if where == "app":
        form = {"since": SINCE, "state": form}
        await client.save(namespace, "adk-app:app", form, format=holdfast.Format("adk-changes", 1))
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await read(service, session)
    assert RUNS not in sys.modules
    assert Planted.made == []


async def test_data_that_is_not_an_event_is_refused(service, client, namespace):
    for data in (b"", b"1", b"[]", b"{", b'{"timestamp": "now"}', b'{"actions": 1}', b"\xff", b'{"content": []}'):
        parts = {"since": SINCE, "state": b"{}", "event": data}
        await client.save(namespace, "adk-session:app:u:s", parts, format=SESSION_FORMAT)
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await service.get_session(**WHO, session_id="s")


async def test_data_of_one_session_reaches_no_other(service, client, namespace):
    session = await service.create_session(**WHO, session_id="s", state={"k": 1})
    for name in (
        "adk-session:app:u",
        "adk-session:app",
        "adk-session:app:u:s:t",
        "adk-session:app2:u:s",
        "adk-sessionX",
    ):
        await client.save(namespace, name, {"since": SINCE, "state": b'{"k": 2}'}, format=SESSION_FORMAT)
    assert await read(service, session) == session
    for user in (None, "u"):
        listed = (await service.list_sessions(app_name="app", user_id=user)).sessions
        assert [each.id for each in listed] == ["s"]
    await service.append_event(session, event("on"))
    await service.delete_session(**WHO, session_id="s")
    assert (await client.load(namespace, "adk-session:app:u:s:t")).revision == 1
