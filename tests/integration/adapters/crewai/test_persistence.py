import copy
import inspect
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import holdfast
import pytest

from tests.integration.adapters import kill_points, killing, pages
from tests.support.damage import damage_marker, damage_newest, long_text
from tests.support.required import require_engine
from tests.support.servers import server

require_engine("crewai")

for _name in ("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_TRACKING", "CREWAI_DISABLE_VERSION_CHECK", "CREWAI_TESTING"):
    os.environ[_name] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"

from crewai.flow.async_feedback.types import HumanFeedbackPending, PendingFeedbackContext  # noqa: E402
from crewai.flow.flow import Flow, FlowState, listen, start  # noqa: E402
from crewai.flow.human_feedback import human_feedback  # noqa: E402
from crewai.flow.persistence import FlowPersistence, persist  # noqa: E402
from holdfast.adapters.crewai import FORMAT, HoldfastFlowPersistence  # noqa: E402
from pydantic import BaseModel, Field  # noqa: E402

# Too large to be inline, so that there is a blob to damage.
NOBODY = "127.0.0.1:1"


class Draft(FlowState):
    title: str = ""
    words: dict[int, str] = Field(default_factory=dict)
    when: datetime | None = None


class Weight(BaseModel):
    grams: Decimal


@pytest.fixture
def persistence(client: holdfast.Client, namespace: str) -> HoldfastFlowPersistence:
    return HoldfastFlowPersistence(client, namespace=namespace)


@pytest.fixture
def falling_back(client: holdfast.Client, namespace: str) -> HoldfastFlowPersistence:
    return HoldfastFlowPersistence(client, namespace=namespace, fallback=True)


def question(flow_id: str = "f", message: str = "Good?") -> PendingFeedbackContext:
    return PendingFeedbackContext(
        flow_id=flow_id,
        flow_class="app.Review",
        method_name="review",
        method_output={"weight": Weight(grams=Decimal("1.50"))},
        message=message,
        emit=["yes", "no"],
        default_outcome="no",
        metadata={"ticket": 7, "who": "Zoë"},
        llm={"model": "m", "temperature": 0.5},
        execution_uuid="e-1",
        trace_context=(1, 2),
    )


def test_a_dict_comes_back_as_it_was_saved(persistence):
    state = {"id": "f", "text": "Zoë\ud83d\n\0", "n": 2**70, "x": 0.1, "none": None, "deep": [{"a": [True]}], "": {}}
    persistence.save_state("f", "m", state)
    assert persistence.load_state("f") == state


def test_a_model_comes_back_as_fields_of_an_equal_model(persistence):
    state = Draft(id="f", title="Zoë", words={1: "a"}, when=datetime(2026, 1, 2, tzinfo=UTC))
    persistence.save_state("f", "m", state)
    assert Draft.model_validate(persistence.load_state("f")) == state


def test_values_that_pydantic_knows_are_saved_as_it_writes_them(persistence):
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    state = {"model": Weight(grams=Decimal("1.5")), "set": {1}, "tuple": (1, 2), "when": moment, "key": UUID(int=1)}
    persistence.save_state("f", "m", state)
    assert persistence.load_state("f") == {
        "model": {"grams": "1.5"},
        "set": [1],
        "tuple": [1, 2],
        "when": "2026-01-02T00:00:00Z",
        "key": str(UUID(int=1)),
    }


def test_a_state_larger_than_a_message_comes_back(persistence):
    state = {"id": "f", "text": "x" * (5 << 20)}
    persistence.save_state("f", "m", state)
    assert persistence.load_state("f") == state


def test_the_state_that_was_saved_last_is_loaded(persistence):
    for n in range(5):
        persistence.save_state("f", f"m{n}", {"id": "f", "n": n})
    assert persistence.load_state("f") == {"id": "f", "n": 4}


def test_a_change_after_a_save_does_not_change_the_saved_state(persistence):
    state = {"id": "f", "items": [1]}
    persistence.save_state("f", "m", state)
    state["items"].append(2)
    assert persistence.load_state("f") == {"id": "f", "items": [1]}


def test_a_flow_that_never_saved_has_no_state(persistence):
    assert persistence.load_state("never") is None
    assert persistence.load_pending_feedback("never") is None
    persistence.clear_pending_feedback("never")


def test_a_flow_whose_checkpoints_were_deleted_has_no_state(persistence, client, namespace):
    persistence.save_pending_feedback("f", question(), {"id": "f"})
    client.delete_workflow(namespace, "f")
    assert persistence.load_state("f") is None
    assert persistence.load_pending_feedback("f") is None
    persistence.save_state("f", "m", {"id": "f", "again": True})
    assert persistence.load_state("f") == {"id": "f", "again": True}


def test_a_flow_with_a_writer_but_without_checkpoints_has_no_state(persistence, client, namespace):
    client.acquire_writer(namespace, "f")
    assert persistence.load_state("f") is None
    assert persistence.load_pending_feedback("f") is None


def test_each_namespace_has_its_own_flows(persistence, client):
    persistence.save_state("f", "m", {"id": "f"})
    assert HoldfastFlowPersistence(client, namespace="another").load_state("f") is None


IDS = ["Zoë 東京", "a/b", "a%2Fb", "a\\b", "..", ".", "a\nb", "x" * 2000, "x" * 2000 + "y", "é" * 300, "7 "]


def test_any_text_is_the_id_of_a_separate_flow(persistence):
    for flow_id in IDS:
        persistence.save_pending_feedback(flow_id, question(flow_id), {"id": flow_id})
    for flow_id in IDS:
        assert persistence.load_state(flow_id) == {"id": flow_id}
        assert persistence.load_pending_feedback(flow_id)[1].flow_id == flow_id


@pytest.mark.parametrize("flow_id", [7, UUID(int=7)])
def test_a_number_or_a_uuid_is_the_same_id_as_its_text(persistence, flow_id):
    persistence.save_state(flow_id, "m", {"id": "f"})
    assert persistence.load_state(str(flow_id)) == persistence.load_state(flow_id) == {"id": "f"}


@pytest.mark.parametrize(("flow_id", "error"), [("", ValueError), (None, TypeError), (b"f", TypeError)])
def test_an_invalid_id_is_refused(persistence, flow_id, error):
    with pytest.raises(error, match="id must"):
        persistence.save_state(flow_id, "m", {"id": "f"})
    with pytest.raises(error, match="id must"):
        persistence.load_state(flow_id)


def ring() -> dict[str, object]:
    state: dict[str, object] = {}
    state["self"] = state
    return state


@pytest.mark.parametrize("value", [object(), threading.Lock(), {(1, 2): 3}, ring(), b"\xff"])
def test_a_state_without_a_json_form_is_refused_and_the_one_before_stays(persistence, value):
    persistence.save_state("f", "m", {"id": "f"})
    with pytest.raises(ValueError, match="the flow's state cannot be saved"):
        persistence.save_state("f", "m", {"id": "f", "value": value})
    assert persistence.load_state("f") == {"id": "f"}


@pytest.mark.parametrize("state", [None, [1], "text"])
def test_a_state_that_is_neither_dict_nor_model_is_refused(persistence, state):
    with pytest.raises(ValueError, match="must be a dict or a pydantic model"):
        persistence.save_state("f", "m", state)


def test_a_question_comes_back_with_the_state_it_was_asked_in(persistence):
    asked = question()
    persistence.save_pending_feedback("f", asked, Draft(id="f", title="t"))
    state, context = persistence.load_pending_feedback("f")
    assert Draft.model_validate(state) == Draft(id="f", title="t")
    assert context.to_dict() == asked.to_dict()


def test_a_question_also_saves_the_state(persistence):
    persistence.save_state("f", "m", {"id": "f", "n": 1})
    persistence.save_pending_feedback("f", question(), {"id": "f", "n": 2})
    assert persistence.load_state("f") == {"id": "f", "n": 2}


def test_a_question_stays_when_states_are_saved_after_it(persistence):
    persistence.save_pending_feedback("f", question(), {"id": "f", "n": 1})
    persistence.save_state("f", "m", {"id": "f", "n": 2})
    assert persistence.load_pending_feedback("f")[0] == {"id": "f", "n": 1}
    assert persistence.load_state("f") == {"id": "f", "n": 2}


def test_a_new_question_replaces_the_one_before(persistence):
    persistence.save_pending_feedback("f", question(message="first"), {"id": "f", "n": 1})
    persistence.save_pending_feedback("f", question(message="second"), {"id": "f", "n": 2})
    state, context = persistence.load_pending_feedback("f")
    assert (state["n"], context.message) == (2, "second")
    persistence.clear_pending_feedback("f")
    assert persistence.load_pending_feedback("f") is None


def test_an_answered_question_is_gone_and_the_newest_state_stays(persistence, client, namespace):
    persistence.save_pending_feedback("f", question(), {"id": "f", "n": 1})
    persistence.save_state("f", "m", {"id": "f", "n": 2})
    persistence.clear_pending_feedback("f")
    assert persistence.load_pending_feedback("f") is None
    assert persistence.load_state("f") == {"id": "f", "n": 2}
    saved = len(list(client.list(namespace, "f")))
    persistence.clear_pending_feedback("f")
    assert len(list(client.list(namespace, "f"))) == saved


def test_a_flow_can_ask_again_after_an_answer(persistence):
    for n in range(3):
        persistence.save_pending_feedback("f", question(message=str(n)), {"id": "f", "n": n})
        assert persistence.load_pending_feedback("f")[1].message == str(n)
        persistence.clear_pending_feedback("f")
    assert persistence.load_pending_feedback("f") is None


def test_a_state_that_is_saved_while_a_question_is_cleared_stays_the_newest(persistence, client, monkeypatch):
    persistence.save_pending_feedback("f", question(), {"id": "f", "n": 1})
    load, loads = client.load, []

    def overtaken(*arguments, **options):
        loaded = load(*arguments, **options)
        loads.append(loaded)
        if len(loads) == 1:
            persistence.save_state("f", "m", {"id": "f", "n": 2})
        return loaded

    monkeypatch.setattr(client, "load", overtaken)
    persistence.clear_pending_feedback("f")
    assert persistence.load_state("f") == {"id": "f", "n": 2}
    assert persistence.load_pending_feedback("f") is None


def test_a_damaged_newest_state_is_an_error(persistence, store):
    persistence.save_state("f", "m", {"id": "f", "n": 1})
    persistence.save_state("f", "m", {"id": "f", "n": 2, "long": long_text()})
    damage_newest(store)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        persistence.load_state("f")


def test_with_fallback_a_damaged_newest_state_is_answered_with_the_last_good_one(falling_back, store):
    falling_back.save_state("f", "m", {"id": "f", "n": 1})
    falling_back.save_state("f", "m", {"id": "f", "n": 2, "long": long_text()})
    damage_newest(store)
    assert falling_back.load_state("f") == {"id": "f", "n": 1}
    falling_back.save_state("f", "m", {"id": "f", "n": 3})
    assert falling_back.load_state("f") == {"id": "f", "n": 3}


def test_a_damaged_question_never_falls_back_to_an_older_one(falling_back, store):
    falling_back.save_pending_feedback("f", question(message="old"), {"id": "f", "long": long_text()})
    falling_back.save_pending_feedback("f", question(message="new"), {"id": "f", "long": long_text()})
    damage_newest(store)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        falling_back.load_pending_feedback("f")


def test_a_question_whose_marker_is_damaged_never_falls_back_to_an_older_one(tmp_path):
    url = (tmp_path / "store").as_uri()
    with server(url) as target, HoldfastFlowPersistence.from_target(target) as persistence:
        persistence.save_pending_feedback("f", question(message="old"), {"id": "f"})
        persistence.save_pending_feedback("f", question(message="new"), {"id": "f"})
        persistence.save_state("f", "m", {"id": "f"})
    damage_marker(tmp_path / "store", newer=1)
    with server(url) as target, HoldfastFlowPersistence.from_target(target, fallback=True) as persistence:
        with pytest.raises(holdfast.CheckpointCorruptedError):
            persistence.load_pending_feedback("f")
        assert persistence.load_state("f") == {"id": "f"}


def test_a_state_of_a_newer_format_is_refused(persistence, client, namespace):
    client.save(namespace, "f", b"{}", format=holdfast.Format(FORMAT.name, FORMAT.version + 1))
    with pytest.raises(holdfast.FormatIncompatibleError):
        persistence.load_state("f")


def test_an_unreachable_server_is_a_typed_error():
    with HoldfastFlowPersistence.from_target(NOBODY, timeout=0.3) as persistence:
        for call in (
            lambda: persistence.save_state("f", "m", {"id": "f"}),
            lambda: persistence.load_state("f"),
            lambda: persistence.load_pending_feedback("f"),
            lambda: persistence.clear_pending_feedback("f"),
        ):
            with pytest.raises((holdfast.ServerUnavailableError, holdfast.DeadlineExceededError)):
                call()


def test_flows_of_many_threads_do_not_affect_each_other(persistence):
    def run(n):
        for step in range(3):
            persistence.save_state(f"f{n}", "m", {"id": f"f{n}", "step": step})
            assert persistence.load_state(f"f{n}") == {"id": f"f{n}", "step": step}

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(run, range(32)))


def test_each_save_of_many_threads_to_one_flow_is_kept(persistence, client, namespace):
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: persistence.save_state("f", "m", {"id": "f", "n": n}), range(32)))
    saved = {
        json.loads(client.load(namespace, "f", each.checkpoint_id).data)["n"] for each in client.list(namespace, "f")
    }
    assert saved == set(range(32))


def test_it_needs_a_client_or_a_target():
    with pytest.raises(ValueError, match="needs a client, or a target"):
        HoldfastFlowPersistence()


def test_its_own_client_is_closed_at_the_end_of_the_block(target, namespace):
    with HoldfastFlowPersistence.from_target(target, namespace=namespace, fallback=True, timeout=5) as persistence:
        persistence.save_state("f", "m", {"id": "f"})
        assert persistence.load_state("f") == {"id": "f"}
    with pytest.raises(holdfast.ClientClosedError):
        persistence.load_state("f")


def story(persistence: HoldfastFlowPersistence) -> type:
    @persist(persistence)
    class Story(Flow[Draft]):
        @start()
        def begin(self):
            self.state.title = "a tale"

        @listen(begin)
        def end(self):
            self.state.words[1] = self.state.title.upper()
            return self.state.words[1]

    return Story


def test_a_flow_restored_from_json_has_its_persistence_again(target, namespace):
    with HoldfastFlowPersistence.from_target(target, namespace=namespace, timeout=5) as persistence:
        dumped = story(persistence)(persistence=persistence).model_dump(mode="json")["persistence"]
        persistence.save_state("f", "m", {"id": "f"})
    restored = story(persistence)(persistence=json.loads(json.dumps(dumped)))
    assert type(restored.persistence) is HoldfastFlowPersistence
    assert restored.persistence.load_state("f") == {"id": "f"}


def test_a_persisted_flow_continues_with_its_state_in_another_instance(persistence):
    made = story(persistence)
    first = made()
    assert first.kickoff() == "A TALE"
    second = made()
    second.kickoff(inputs={"id": first.flow_id})
    assert second.state == first.state


def test_each_method_of_a_persisted_flow_is_a_checkpoint(persistence, client, namespace):
    flow = story(persistence)()
    flow.kickoff()
    assert [each.labels["method"] for each in client.list(namespace, flow.flow_id)] == ["end", "begin"]


def test_a_fork_has_its_own_id_and_does_not_change_its_source(persistence, client, namespace):
    made = story(persistence)
    first = made()
    first.kickoff()
    saved = len(list(client.list(namespace, first.flow_id)))
    fork = made()
    fork.kickoff(restore_from_state_id=first.flow_id)
    assert fork.flow_id != first.flow_id
    assert fork.state.words == first.state.words
    assert len(list(client.list(namespace, first.flow_id))) == saved
    assert Draft.model_validate(persistence.load_state(fork.flow_id)) == fork.state


def test_a_flow_fails_if_its_state_cannot_be_saved():
    with HoldfastFlowPersistence.from_target(NOBODY, timeout=0.3) as persistence:
        with pytest.raises(RuntimeError, match="State persistence failed") as failed:
            story(persistence)().kickoff()
        assert isinstance(failed.value.__cause__, holdfast.HoldfastError)


class Later:
    def request_feedback(self, context, flow):
        raise HumanFeedbackPending(context=context)


class Review(Flow[Draft]):
    @start()
    @human_feedback(message="Good?", provider=Later())
    def draft(self):
        self.state.title = "draft"
        return "the draft"

    @listen(draft)
    def publish(self, feedback):
        self.state.title += f", {feedback.feedback}"
        return self.state.title


def test_a_flow_that_waits_for_a_human_is_resumed_by_another_instance(persistence):
    waiting = Review(persistence=persistence)
    paused = waiting.kickoff()
    assert isinstance(paused, HumanFeedbackPending)
    resumed = Review.from_pending(waiting.flow_id, persistence)
    assert resumed.pending_feedback.message == "Good?"
    assert resumed.resume("fine") == "draft, fine"
    with pytest.raises(ValueError, match="No pending feedback"):
        Review.from_pending(waiting.flow_id, persistence)


def test_only_the_methods_that_are_persisted_are_checkpoints(persistence, client, namespace):
    class Partly(Flow[Draft]):
        @start()
        @persist(persistence)
        def begin(self):
            self.state.title = "begun"

        @listen(begin)
        def middle(self):
            self.state.title = "lost"

        @persist(persistence)
        @listen(middle)
        def end(self):
            self.state.title = "ended"

    flow = Partly()
    flow.kickoff()
    assert [each.labels["method"] for each in client.list(namespace, flow.flow_id)] == ["end", "begin"]


def test_it_implements_each_method_of_the_engine_s_interface():
    calls = {name for name, call in vars(FlowPersistence).items() if inspect.isfunction(call) and name[0] != "_"}
    assert calls <= vars(HoldfastFlowPersistence).keys()


def test_a_copy_of_a_persistence_shares_its_client(persistence):
    copy.deepcopy(persistence).save_state("f", "m", {"id": "f"})
    assert persistence.model_copy(deep=True).load_state("f") == {"id": "f"}


async def test_a_flow_in_an_event_loop_is_saved_too(persistence):
    flow = story(persistence)()
    assert await flow.kickoff_async(inputs={"id": "a/flow"}) == "A TALE"
    assert Draft.model_validate(persistence.load_state("a/flow")) == flow.state


def test_the_code_of_the_page_runs_as_written(tmp_path):
    assert pages.output_of("crewai", tmp_path).endswith("hello \n")
    assert pages.output_of("crewai", tmp_path).endswith("hello hello \n")


@pytest.fixture(scope="module")
def calm(target: str, tmp_path_factory: pytest.TempPathFactory) -> killing.Run:
    return killing.run("tests.integration.adapters.programs.crewai", target, tmp_path_factory.mktemp("calm") / "run")


@pytest.mark.parametrize("tenth", kill_points.TENTHS)
def test_a_flow_that_is_killed_anywhere_ends_as_if_it_had_not_been(calm, target, tmp_path, tenth):
    kill_at = kill_points.ten_points(calm)[tenth]
    killed = killing.run("tests.integration.adapters.programs.crewai", target, tmp_path / "run", kill_at=kill_at)
    assert killed.kills == 1
    assert killed.result == calm.result
    before, after = killed.points[:kill_at], killed.points[kill_at:]
    # A step that was saved never runs again; any other runs at most once more.
    saved = named("saved", before)
    assert named("begin", after) == [step for step in named("begin", calm.points) if step not in saved]


def named(what: str, points: list[str]) -> list[str]:
    return [point.removeprefix(f"{what} ") for point in points if point.startswith(f"{what} ")]
