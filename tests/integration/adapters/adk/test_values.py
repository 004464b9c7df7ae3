"""Values that a session accepts are loaded equal. Others are refused before anything is stored or changed."""

import json
import math
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import holdfast
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.required import require_engine

require_engine("google.adk")

from google.adk.auth.auth_credential import AuthCredential, AuthCredentialTypes, HttpAuth, HttpCredentials, OAuth2Auth
from google.adk.sessions import InMemorySessionService
from holdfast.adapters.adk import HoldfastSessionService
from holdfast.adapters.adk.chain import Link, Since
from holdfast.adapters.adk.events import Events
from holdfast.adapters.adk.values import MAX_DEPTH, Values, difference, require_bounded
from pydantic import BaseModel

from tests.integration.adapters.adk.engine import WHO, Event, EventActions, event, read, types


class Profile(BaseModel):
    name: str
    tags: set[str] = set()


class Color(Enum):
    RED = 1


class Level(IntEnum):
    LOW = 1


@pytest.fixture
def service(client, namespace):
    return HoldfastSessionService(client, namespace=namespace)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def itself() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


STORABLE = {
    "surrogate": json.loads('"\\ud83c"'),
    "surrogates in a key": {"a\udfffb": 1},
    "nan": math.nan,
    "nan inside": {"a": [math.nan, {"b": -math.inf}]},
    "infinity": math.inf,
    "minus zero": -0.0,
    "huge": 10**4000,
    "tiny": 5e-324,
    "deep": nested(MAX_DEPTH - 2),
    "set": {1, "a", None},
    "frozen": frozenset({(1, 2), frozenset()}),
    "tuple": (1, (2, [3])),
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"\xfe"),
    "datetime": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-3))),
    "naive": datetime(2026, 1, 2),
    "date": date(1, 1, 1),
    "time": time(23, 59, 59, 999999, tzinfo=UTC),
    "timedelta": timedelta(days=-1, microseconds=1),
    "decimal": Decimal("1.10"),
    "uuid": uuid.UUID(int=7),
    "complex": complex(1, -2),
    "ordered": OrderedDict(b=1, a=2),
    "counter": Counter("aab"),
    "default": defaultdict(list, a=[1]),
    "deque": deque([1, 2], maxlen=2),
    "keys": {1: "int", "1": "text", None: 0, False: 1, (1, 2): 2, 1.5: 3},
    "$type": {"$type": "builtins:set", "value": [1]},
    "empty key": {"": {"": ""}},
    "nul": "\x00\n\u2028",
    "model of the engine": types.ModelContent("hi"),
    "credential": AuthCredential(
        auth_type=AuthCredentialTypes.HTTP, http=HttpAuth(scheme="bearer", credentials=HttpCredentials(token="t"))
    ),
    "oauth": AuthCredential(auth_type=AuthCredentialTypes.OAUTH2, oauth2=OAuth2Auth(access_token="t", expires_at=1)),
}


@pytest.mark.parametrize("scope", ["", "app:", "user:"])
async def test_values_in_a_state_are_loaded_equal_and_of_the_same_type(service, scope):
    state = {f"{scope}{key}": value for key, value in STORABLE.items()}
    session = await service.create_session(**WHO, state=state)
    assert difference("state", session.state, state) is None
    await service.append_event(session, event(state={f"{scope}late {key}": value for key, value in STORABLE.items()}))
    found = await read(service, session)
    for late in ("", "late "):
        for key, value in STORABLE.items():
            back = found.state[f"{scope}{late}{key}"]
            assert type(back) is type(value), key
            assert difference(key, value, back) is None
    delta = found.events[0].actions.state_delta
    assert difference("delta", delta, session.events[0].actions.state_delta) is None
    (listed,) = (await service.list_sessions(app_name="app")).sessions
    assert difference("listed", listed.state, found.state) is None


REFUSED = {
    "too deep": (nested(MAX_DEPTH + 50), "more than"),
    "itself": (itself(), "contains itself"),
    "function": (print, "not allowed"),
    "object": (object(), "equal"),
    "class": (Profile, "not allowed"),
    "model": (Profile(name="n"), "test_values:Profile' is not allowed"),
    "enum": (Color.RED, "not allowed"),
    "int enum": (Level.LOW, "not allowed"),
    "path": (Path("/x"), "not allowed"),
    "too many digits": (10**5000, "4300"),
    "generator": ((each for each in ()), "not allowed"),
    "halves of a pair": ("\ud83c\udf00", "surrogate pair"),
    "halves in a key": ({"\ud83c\udf00": 1}, "surrogate pair"),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_value_that_cannot_be_stored_is_refused_by_its_path_and_nothing_changes(service, kind):
    value, why = REFUSED[kind]
    state = {"a": [0, 1, {"b": value}], "app:k": 1, "user:k": 1, "temp:t": 1}
    with pytest.raises(holdfast.InvalidRequestError) as caught:
        await service.create_session(**WHO, session_id="none", state=state)
    assert caught.value.metadata["path"].startswith('state["a"][2]["b"]')
    assert why in caught.value.message
    assert ": value:" not in caught.value.message
    assert len(str(caught.value)) < 1500
    assert await service.get_session(**WHO, session_id="none") is None

    session = await service.create_session(**WHO, state={"before": 1})
    with pytest.raises(holdfast.InvalidRequestError, match="a"):
        await service.append_event(session, event(state=state))
    assert (session.state, session.events) == ({"before": 1}, [])
    assert await read(service, session) == session
    assert await service.get_user_state(**WHO) == {}
    # The session can still be used.
    await service.append_event(session, event("on", state={"after": 1}))
    assert (await read(service, session)).state == {"before": 1, "after": 1}


def test_a_list_that_contains_itself_twice_is_refused_by_its_depth_and_not_by_its_millions_of_values():
    twice: list[Any] = []
    twice += [twice, twice]
    looked_at = 0

    class Counted(list):
        def __iter__(self):
            nonlocal looked_at
            looked_at += 1
            return super().__iter__()

    twice.append(Counted(twice))
    with pytest.raises(holdfast.InvalidRequestError, match="contains itself"):
        require_bounded("state", twice)
    assert looked_at <= 2 * MAX_DEPTH


@pytest.mark.parametrize("key", [1, None, b"a", ("a",), "\ud83c\udf00"])
async def test_a_key_that_cannot_be_stored_is_refused(service, key):
    with pytest.raises(holdfast.InvalidRequestError, match="key"):
        await service.create_session(**WHO, state={key: 1})
    session = await service.create_session(**WHO)
    with pytest.raises(holdfast.InvalidRequestError, match="key"):
        await service.append_event(session, event(state={key: 1}))
    assert (await read(service, session)).events == []


async def test_a_key_may_be_a_lone_surrogate(service):
    session = await service.create_session(**WHO)
    await service.append_event(session, event(state={"\ud83c": 1, "app:\ud83c": 2}))
    assert (await read(service, session)).state == {"\ud83c": 1, "app:\ud83c": 2}


async def test_temporary_state_may_be_anything(service):
    session = await service.create_session(**WHO, state={"temp:f": print})
    await service.append_event(session, event(state={"temp:f": print, "temp:deep": nested(900)}))
    assert session.state["temp:f"] is print
    assert (await read(service, session)).state == {}


async def test_classes_of_the_application_are_stored_if_it_allows_them(client, namespace):
    allowed = [f"{__name__}:{each.__name__}" for each in (Profile, Color, Level)]
    service = HoldfastSessionService(client, namespace=namespace, allowed_types=allowed)
    state = {"p": Profile(name="n", tags={"a"}), "c": [Color.RED], "l": Level.LOW}
    session = await service.create_session(**WHO, state=state)
    found = await read(service, session)
    assert found.state == state
    assert type(found.state["l"]) is Level
    # A service that does not allow them raises, and restores no object.
    strict = HoldfastSessionService(client, namespace=namespace)
    with pytest.raises(holdfast.CheckpointCorruptedError, match="not allowed"):
        await read(strict, session)


ARGUMENTS = {
    "surrogate": json.loads('{"x": "\\ud83c"}'),
    "nan": {"x": [math.nan, math.inf]},
    "bytes": {"x": b"\xff", "y": (1, {2})},
    "deep": {"x": nested(MAX_DEPTH - 20)},
    "huge": {"x": 10**4000},
    "moment": {"x": datetime(2026, 1, 1, tzinfo=UTC)},
}


@pytest.mark.parametrize("kind", ARGUMENTS)
async def test_values_inside_an_event_are_loaded_equal(service, kind):
    value = ARGUMENTS[kind]
    session = await service.create_session(**WHO)
    whole = Event(
        author="agent",
        content=types.Content(
            role="model",
            parts=[
                types.Part(function_call=types.FunctionCall(id="1", name="f", args=value)),
                types.Part(function_response=types.FunctionResponse(id="1", name="f", response=value)),
            ],
        ),
        output=value,
        custom_metadata=value,
        finish_reason=types.FinishReason.MAX_TOKENS,
        actions=EventActions(agent_state=value, set_model_response=value),
    )
    await service.append_event(session, whole)
    (back,) = (await read(service, session)).events
    assert difference("event", whole, back) is None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (nested(MAX_DEPTH + 100), 'event.content.parts[0].function_call.args["x"][0]'),
        (print, 'event["content"]["parts"][0]["function_call"]["args"]["x"]'),
        (10**5000, 'event["content"]["parts"][0]["function_call"]["args"]["x"]'),
        ("\ud83c\udf00", 'event["content"]["parts"][0]["function_call"]["args"]["x"]'),
        ((each for each in "ab"), 'event.content.parts[0].function_call.args["x"]'),
    ],
    ids=["deep", "function", "digits", "pair", "generator"],
)
async def test_a_value_inside_an_event_that_cannot_be_stored_is_refused_by_its_path(service, value, path):
    session = await service.create_session(**WHO)
    call = types.Part(function_call=types.FunctionCall(name="f", args={"x": value}))
    with pytest.raises(holdfast.InvalidRequestError) as caught:
        await service.append_event(session, Event(author="a", content=types.Content(parts=[call])))
    assert caught.value.metadata["path"].startswith(path)
    assert (await read(service, session)).events == session.events == []


async def test_objects_in_an_events_content_become_what_adk_writes_for_them(service):
    session = await service.create_session(**WHO)
    answer = types.FunctionResponse(name="f", response={"r": Profile(name="n"), "c": Color.RED, "p": Path("/x")})
    await service.append_event(
        session, Event(author="a", content=types.Content(parts=[types.Part(function_response=answer)]))
    )
    (back,) = (await read(service, session)).events
    response = back.content.parts[0].function_response.response
    assert response == {"r": {"name": "n", "tags": set()}, "c": 1, "p": "/x"}


async def test_fields_that_would_be_lost_are_refused(service):
    class Scored(Event):
        score: int = 0

    session = await service.create_session(**WHO)
    with pytest.raises(holdfast.InvalidRequestError, match="score"):
        await service.append_event(session, Scored(author="a", score=3))
    wrong = event()
    wrong.content.parts[0].text = 5
    with pytest.raises(holdfast.InvalidRequestError, match="event"):
        await service.append_event(session, wrong)
    for timestamp in (math.nan, math.inf, "now", None):
        late = event()
        late.timestamp = timestamp
        with pytest.raises(holdfast.InvalidRequestError, match=r"event\.timestamp"):
            await service.append_event(session, late)
    assert (await read(service, session)).events == []


@pytest.mark.parametrize("name", [None, 1, b"s", "a\ud83c"])
@pytest.mark.parametrize("field", ["app_name", "user_id", "session_id"])
async def test_names_that_are_not_text_are_refused_and_delete_nothing(service, field, name):
    session = await service.create_session(**WHO, session_id="s")
    who = {**WHO, "session_id": "s", field: name}
    for method in (service.get_session, service.delete_session, service.create_session):
        if (method, field, name) == (service.create_session, "session_id", None):
            continue
        with pytest.raises(holdfast.InvalidRequestError, match=field):
            await method(**who)
    if field != "session_id" and (field, name) != ("user_id", None):
        with pytest.raises(holdfast.InvalidRequestError, match=field):
            await service.list_sessions(**{**WHO, field: name})
    assert await read(service, session) == session


@pytest.mark.parametrize("name", ["", " ", "*", "%", ":"])
async def test_a_deletion_never_widens(service, name):
    kept = [
        await service.create_session(app_name=app, user_id=user, session_id=session)
        for app in ("app", "")
        for user in ("u", "")
        for session in ("s", "t")
    ]
    await service.delete_session(app_name=name, user_id=name, session_id=name)
    await service.delete_session(**WHO, session_id=name)
    for each in kept:
        found = await service.get_session(app_name=each.app_name, user_id=each.user_id, session_id=each.id)
        assert found == each
    assert [each.id for each in (await service.list_sessions(app_name="app", user_id="")).sessions] == ["s", "t"]


TEXT = st.text(st.characters(codec=None), max_size=20)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.binary(max_size=20)
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.complex_numbers()
    | st.sampled_from([print, object(), Color.RED, Level.LOW, Profile(name="n"), types.FinishReason.STOP])
)
HASHABLE = st.none() | st.booleans() | st.integers() | TEXT | st.floats() | st.tuples(st.integers(), TEXT) | st.dates()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXT, inner, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
        | st.frozensets(HASHABLE, max_size=4)
        | st.lists(inner, max_size=3).map(deque)
    ),
    max_leaves=12,
)
MANY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def kept(dump: Callable[[], Any], *paths: str) -> Any:
    """Return what a dump returns; None if it refuses a value by its path."""
    try:
        return dump()
    except holdfast.InvalidRequestError as error:
        if not error.metadata["path"].startswith(paths):
            raise
        return None


@MANY
@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_whatever_a_state_accepts_is_loaded_equal(state):
    values = Values()
    form = kept(lambda: values.dump("state", state), "state")
    if form is not None:
        assert difference("state", state, values.load(json.loads(json.dumps(form)))) is None


@MANY
@given(VALUES, VALUES)
def test_whatever_an_event_accepts_is_loaded_equal(output, changed):
    events = Events(Values())
    dumped = Event(author="a", output=output, custom_metadata={"k": output})
    dumped.actions.state_delta = {"k": changed}
    parts = kept(lambda: events.dump(dumped), "event", "state")
    if parts is not None:
        loaded = events.load(Link("id", "", Since(0.0), json.loads(parts["changes"]), None, parts["event"]))
        assert events.dump(loaded) == parts


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_whatever_a_session_accepts_is_loaded_as_it_is_in_memory(service, data):
    memory = InMemorySessionService()
    session = await service.create_session(**WHO)
    control = await memory.create_session(**WHO, session_id=session.id)
    for _ in range(3):
        each = event(state=data.draw(st.dictionaries(st.sampled_from(["a", "app:b", "user:c", "$type"]), VALUES)))
        copy = each.model_copy(deep=True)
        copy.actions.state_delta = dict(each.actions.state_delta)
        try:
            await service.append_event(session, each)
        except holdfast.InvalidRequestError:
            continue
        await memory.append_event(control, copy)
    found, expected = await read(service, session), await read(memory, control)
    own = {key: value for key, value in expected.state.items() if key in ("a", "$type")}
    assert difference("state", own, {key: found.state[key] for key in own}) is None
    assert len(found.events) == len(expected.events)
