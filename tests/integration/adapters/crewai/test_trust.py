"""CrewAI: the settings that a saved question may contain, the states that are refused, and ownership of flows."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import holdfast
import pytest
from hypothesis import HealthCheck, given, settings

from tests.integration.adapters import values
from tests.integration.adapters.rivals import rival
from tests.support import servers
from tests.support.required import require_engine
from tests.support.servers import server

require_engine("crewai")

for _name in ("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_TRACKING", "CREWAI_DISABLE_VERSION_CHECK", "CREWAI_TESTING"):
    os.environ[_name] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"

from crewai import LLM  # noqa: E402
from crewai.flow.async_feedback.types import HumanFeedbackPending, PendingFeedbackContext  # noqa: E402
from crewai.flow.flow import Flow, FlowState, listen, start  # noqa: E402
from crewai.flow.human_feedback import human_feedback  # noqa: E402
from crewai.flow.persistence import persist  # noqa: E402
from holdfast.adapters.crewai import FORMAT, HoldfastFlowPersistence, UnsavableValueError  # noqa: E402
from pydantic import BaseModel, ConfigDict, Field, SecretStr, computed_field  # noqa: E402

PROGRAM = "tests.integration.adapters.programs.crewai_rival"


@pytest.fixture
def persistence(client: holdfast.Client, namespace: str) -> HoldfastFlowPersistence:
    return HoldfastFlowPersistence(client, namespace=namespace)


# Connection settings of models.


class Model:
    """A server with OpenAI's interface that records its requests."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                model.asked.append(self.headers.get("Authorization", ""))
                message = {"role": "assistant", "content": '{"outcome": "good"}'}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
                data = json.dumps({**answer, "usage": usage}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def own() -> Iterator[Model]:
    model = Model()
    yield model
    model.close()


@pytest.fixture
def foreign() -> Iterator[Model]:
    model = Model()
    yield model
    model.close()


class Later:
    def request_feedback(self, context, flow):
        raise HumanFeedbackPending(context=context)


def review(model: Model) -> type:
    class Review(Flow[FlowState]):
        @start()
        @human_feedback(
            message="Good?",
            emit=["good", "bad"],
            llm=LLM(model="openai/gpt-4o-mini", base_url=model.url),
            provider=Later(),
        )
        def draft(self):
            return "the draft"

        @listen("good")
        def publish(self, feedback):
            return "published"

    Review.__name__ = f"Review{uuid4().hex}"
    return Review


def tampered(client: holdfast.Client, namespace: str, flow_id: str, **fields: object) -> None:
    """Change fields of a stored question."""
    [stored] = client.list(namespace, flow_id, labels={"feedback": "pending"})
    parts = dict(client.load(namespace, flow_id, stored.checkpoint_id).parts)
    parts["feedback"] = json.dumps({**json.loads(parts["feedback"]), **fields}).encode()
    client.save(
        namespace,
        flow_id,
        parts,
        format=FORMAT,
        labels=stored.labels,
        checkpoint_id=stored.checkpoint_id,
        replace=True,
    )


def test_a_reply_goes_to_the_model_of_the_flows_own_code_whatever_was_saved(
    client, namespace, persistence, own, foreign, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    made = review(own)
    waiting = made(persistence=persistence)
    assert isinstance(waiting.kickoff(), HumanFeedbackPending)
    llm = {"model": "openai/gpt-4o-mini", "base_url": foreign.url, "api_base": foreign.url, "api_key": "x"}
    tampered(client, namespace, waiting.flow_id, llm=llm)
    assert made.from_pending(waiting.flow_id, persistence).resume("fine") == "published"
    assert own.asked
    assert set(own.asked) == {"Bearer sk-secret"}
    assert foreign.asked == []


def test_connection_settings_of_a_model_are_not_saved(client, namespace, persistence, own):
    waiting = review(own)(persistence=persistence)
    waiting.kickoff()
    [stored] = client.list(namespace, waiting.flow_id, labels={"feedback": "pending"})
    parts = client.load(namespace, waiting.flow_id, stored.checkpoint_id).parts
    assert own.url.encode() not in b"".join(parts.values())
    assert json.loads(parts["feedback"])["llm"] == {"model": "openai/gpt-4o-mini"}


def question(**fields: object) -> PendingFeedbackContext:
    known = {"flow_id": "f", "flow_class": "app.Unloaded", "method_name": "m", "method_output": 1, "message": "?"}
    return PendingFeedbackContext(**{**known, **fields})


SETTINGS = [
    "base_url",
    "api_base",
    "api_key",
    "azure_endpoint",
    "organization",
    "extra_headers",
    "project",
    "is_litellm",
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_question_whose_code_is_not_loaded_is_refused_if_its_model_had_connection_settings(
    client, namespace, persistence, setting
):
    persistence.save_pending_feedback("f", question(llm={"model": "m", setting: "http://x"}), {"id": "f"})
    with pytest.raises(holdfast.FormatIncompatibleError, match=f"{setting}.*flow's own code.*app.Unloaded"):
        persistence.load_pending_feedback("f")
    tampered(client, namespace, "f", llm={"model": "m", setting: "http://x"}, llm_settings_left_out=[])
    with pytest.raises(holdfast.FormatIncompatibleError, match=setting):
        persistence.load_pending_feedback("f")
    given = HoldfastFlowPersistence(client, namespace=namespace, feedback_llm={"model": "m", "base_url": "http://own"})
    assert given.load_pending_feedback("f")[1].llm == {"model": "m", "base_url": "http://own"}


@pytest.mark.parametrize("llm", [None, "gpt-4o", {"model": "m", "temperature": 0.5, "stop": ["x"], "max_tokens": 7}])
def test_the_name_of_a_model_and_how_it_answers_come_back(persistence, llm):
    persistence.save_pending_feedback("f", question(llm=llm), {"id": "f"})
    assert persistence.load_pending_feedback("f")[1].llm == llm


@pytest.mark.parametrize("llm", [7, ["x"], [["model", "m"]]])
def test_an_invalid_model_is_left_out(client, namespace, persistence, llm):
    persistence.save_pending_feedback("f", question(llm="m"), {"id": "f"})
    tampered(client, namespace, "f", llm=llm)
    assert persistence.load_pending_feedback("f")[1].llm is None


@pytest.mark.parametrize(
    "fields", [{"flow_class": ["os"]}, {"method_name": {}}, {"requested_at": "yesterday"}, {"flow_class": 1}]
)
def test_a_question_that_no_adapter_saved_is_a_typed_error(client, namespace, persistence, fields):
    persistence.save_pending_feedback("f", question(), {"id": "f"})
    tampered(client, namespace, "f", **fields)
    with pytest.raises(holdfast.FormatIncompatibleError, match="not a feedback context"):
        persistence.load_pending_feedback("f")


def test_no_class_is_imported_for_a_question(client, namespace, persistence, tmp_path, monkeypatch):
    (tmp_path / "crewai_trap.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
    monkeypatch.syspath_prepend(str(tmp_path))
    persistence.save_pending_feedback("f", question(flow_class="crewai_trap.Review"), {"id": "f"})
    assert persistence.load_pending_feedback("f") is not None
    assert not (tmp_path / "ran").exists()


# States.


class Typed(FlowState):
    number: float = 0.0
    anything: object = None
    numbers: dict[str, float] = Field(default_factory=dict)


class Secretive(FlowState):
    key: SecretStr = SecretStr("")


class Forbidding(FlowState):
    model_config = ConfigDict(extra="forbid")

    @computed_field
    def twice(self) -> int:
        return 2


class Counting(FlowState):
    @computed_field
    def each_time(self) -> str:
        return uuid4().hex


class Loose(BaseModel):
    inside: object = None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(state=values.anything())
def test_any_state_is_either_loaded_equal_or_refused_by_its_path(client, state):
    persistence = HoldfastFlowPersistence(client, namespace="property")
    flow_id = uuid4().hex
    refused = None
    try:
        persistence.save_state(flow_id, "m", {"id": flow_id, "value": state})
    except UnsavableValueError as error:
        refused = error
    if refused is not None:
        assert refused.path.startswith("state['value']")
        assert refused.path in str(refused)
        assert persistence.load_state(flow_id) is None
    else:
        assert values.as_json(persistence.load_state(flow_id)["value"]) == values.as_json(state)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(state=values.anything())
def test_each_model_that_is_saved_can_be_restored_by_the_engine(client, state):
    persistence = HoldfastFlowPersistence(client, namespace="property")
    saved = Typed(id=uuid4().hex, anything=state)
    try:
        persistence.save_state(saved.id, "m", saved)
    except UnsavableValueError:
        assert persistence.load_state(saved.id) is None
        return
    restored = Typed.model_validate(persistence.load_state(saved.id))
    assert values.as_json(restored.model_dump(mode="json")) == values.as_json(saved.model_dump(mode="json"))


INFINITE = float("inf")
LOOP: list[object] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({"a": [1, {"b": object()}]}, "state['a'][1]['b']"),
        ({"a": values.deep(250)}, "state['a']"),
        ({"a": {1: 1, "1": 2}}, "state['a']"),
        ({"a": {(1, 2): 1}}, "state['a']"),
        ({"a": SecretStr("x")}, "state['a']"),
        ({"a": Loose(inside={"x": INFINITE})}, "object['inside']['x']"),
        (Typed(anything={1: 1, "1": 2}), "object['anything']"),
        (Typed(anything=[{"a": object()}]), "object['anything'][0]['a']"),
        (Typed(anything=INFINITE), "object['anything']"),
        (Typed(anything=LOOP), "object['anything'][0][0]"),
        (Typed(anything=iter([1])), "object['anything']"),
        ({"a": Loose(inside={"x": LOOP})}, "object['inside']['x'][0]"),
        ({"a": iter([1])}, "state['a']"),
        (Secretive(key=SecretStr("x")), "object['key']"),
        (Forbidding(), "state"),
        (Typed.model_construct(id="f", number="none"), "state"),
    ],
)
def test_a_state_that_would_not_come_back_is_refused_by_its_path_and_the_one_before_stays(persistence, state, path):
    persistence.save_state("f", "m", {"id": "f"})
    with pytest.raises(UnsavableValueError) as refused:
        persistence.save_state("f", "m", state)
    assert refused.value.path.startswith(path)
    assert isinstance(refused.value, holdfast.HoldfastError)
    assert persistence.load_state("f") == {"id": "f"}


def test_infinite_numbers_come_back_in_fields_declared_as_floats(persistence):
    state = Typed(id="f", number=INFINITE, numbers={"x": -INFINITE})
    persistence.save_state("f", "m", state)
    assert Typed.model_validate(persistence.load_state("f")) == state
    persistence.save_state("f", "m", {"id": "f", "a": {INFINITE}})
    assert persistence.load_state("f")["a"] == [INFINITE]


def test_computed_fields_do_not_prevent_a_save(persistence):
    persistence.save_state("f", "m", Counting(id="f"))
    assert persistence.load_state("f")["id"] == "f"


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff"])
def test_a_payload_that_is_not_a_state_is_a_typed_error(client, namespace, persistence, data):
    client.save(namespace, "f", data, format=FORMAT)
    with pytest.raises(holdfast.FormatIncompatibleError, match="cannot be read"):
        persistence.load_state("f")


# Ownership.


@pytest.fixture
def pair(client: holdfast.Client, namespace: str) -> list[HoldfastFlowPersistence]:
    return [HoldfastFlowPersistence(client, namespace=namespace, ownership="exclusive") for _ in range(2)]


def test_a_run_that_was_overtaken_saves_nothing_more(client, namespace, pair):
    one, other = pair
    for each in pair:
        each.load_state("f")
    for n in range(3):
        one.save_state("f", "m", {"id": "f", "n": n})
    for call in (
        lambda: other.save_state("f", "m", {"id": "f", "n": "other"}),
        lambda: other.save_pending_feedback("f", question(), {"id": "f", "n": "other"}),
    ):
        with pytest.raises(holdfast.RevisionConflictError):
            call()
    one.save_state("f", "m", {"id": "f", "n": 3})
    assert one.load_state("f") == {"id": "f", "n": 3}
    assert len(list(client.list(namespace, "f"))) == 4


def test_of_two_replies_to_one_question_one_is_kept(pair):
    one, other = pair
    one.save_pending_feedback("f", question(), {"id": "f"})
    for each in pair:
        assert each.load_pending_feedback("f") is not None
    one.save_state("f", "m", {"id": "f", "reply": "one"})
    one.clear_pending_feedback("f")
    with pytest.raises(holdfast.RevisionConflictError):
        other.save_state("f", "m", {"id": "f", "reply": "other"})
    assert one.load_state("f") == {"id": "f", "reply": "one"}


def test_a_run_that_never_loaded_its_flow_requires_an_empty_workflow(pair):
    one, other = pair
    one.save_state("f", "m", {"id": "f", "n": 1})
    with pytest.raises(holdfast.RevisionConflictError):
        other.save_state("f", "m", {"id": "f", "n": 2})


def test_methods_of_one_flow_that_end_concurrently_are_all_saved(client, namespace, pair):
    one = pair[0]
    one.load_state("f")
    threads = [threading.Thread(target=one.save_state, args=("f", f"m{n}", {"id": "f", "n": n})) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(list(client.list(namespace, "f"))) == 8


def test_a_load_for_display_takes_nothing_from_a_run(pair):
    one, viewer = pair
    for n in range(3):
        one.save_state("f", "m", {"id": "f", "n": n})
        viewer.load_state("f")
        thread = threading.Thread(target=one.load_state, args=("f",))
        thread.start()
        thread.join()
    assert one.load_state("f") == {"id": "f", "n": 2}


def test_retention_removes_neither_a_waiting_question_nor_the_newest_state(tmp_path):
    url = (tmp_path / "store").as_uri()
    with server(url) as target, HoldfastFlowPersistence.from_target(target, namespace="n") as persistence:
        persistence.save_pending_feedback("f", question(message="Good?"), {"id": "f", "n": 0})
        for n in range(1, 7):
            persistence.save_state("f", "m", {"id": "f", "n": n})
    retention = json.dumps({"*": {"keep_last": 1}})
    servers.run("gc", "--store", url, "--retention", retention, check=True)
    with server(url) as target, HoldfastFlowPersistence.from_target(target, namespace="n") as persistence:
        state, asked = persistence.load_pending_feedback("f")
        assert (state["n"], asked.message) == (0, "Good?")
        assert persistence.load_state("f") == {"id": "f", "n": 6}


def test_an_answered_question_does_not_wait_again_whatever_is_pruned(client, namespace, persistence):
    persistence.save_pending_feedback("f", question(), {"id": "f", "n": 0})
    persistence.clear_pending_feedback("f")
    for n in range(1, 4):
        persistence.save_state("f", "m", {"id": "f", "n": n})
    client.prune(namespace, "f", keep_last=1)
    assert persistence.load_pending_feedback("f") is None
    assert [each.labels["kind"] for each in client.list(namespace, "f")] == ["state"]


def test_maintenance_does_not_end_a_run(client, namespace, pair):
    one = pair[0]
    for n in range(4):
        one.save_state("f", "m", {"id": "f", "n": n})
        client.prune(namespace, "f", keep_last=1)
    assert one.load_state("f") == {"id": "f", "n": 3}


def test_an_invalid_ownership_is_refused(client):
    with pytest.raises(ValueError, match="ownership"):
        HoldfastFlowPersistence(client, ownership="mine")


@pytest.mark.parametrize("ownership", ["shared", "exclusive"])
def test_one_persistence_works_in_one_event_loop_after_another_and_inside_of_one(client, namespace, ownership):
    persistence = HoldfastFlowPersistence(client, namespace=namespace, ownership=ownership)

    @persist(persistence)
    class Tick(Flow[FlowState]):
        @start()
        def count(self):
            return "counted"

    async def inside():
        # As in a web server: the synchronous entry point on a thread with a running event loop.
        return Tick().kickoff(inputs={"id": "f"})

    for _ in range(2):
        assert Tick().kickoff(inputs={"id": "f"}) == "counted"
        assert asyncio.run(Tick().kickoff_async(inputs={"id": "f"})) == "counted"
        assert asyncio.run(inside()) == "counted"
    assert len(list(client.list(namespace, "f"))) == 6


@pytest.mark.parametrize("ownership", ["shared", "exclusive"])
def test_with_exclusive_ownership_the_overtaken_one_of_two_processes_is_refused(tmp_path, ownership):
    with (
        server((tmp_path / "store").as_uri()) as target,
        rival(PROGRAM, target, ownership, "one") as one,
        rival(PROGRAM, target, ownership, "other") as other,
    ):
        one.do("begin")
        one.do("step")
        assert other.do("begin") == ["one"]
        for length in (2, 3):
            assert one.do("step") == ["one"] * length
        if ownership == "shared":
            assert other.do("step") == ["one", "other"]
            return
        assert other.do("step")["error"] == "RevisionConflictError"
        assert one.do("step") == ["one"] * 4
        with holdfast.Client(target) as client:
            chain = [client.load("rivals", "flow", each.checkpoint_id) for each in client.list("rivals", "flow")]
        assert [json.loads(each.data)["steps"] for each in chain] == [["one"] * length for length in (4, 3, 2, 1)]
        assert other.do("begin") == ["one"] * 4
        assert other.do("step") == [*["one"] * 4, "other"]
        assert one.do("step")["error"] == "RevisionConflictError"
