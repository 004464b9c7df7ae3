"""CrewAI's own checkpoints in Holdfast: flows and crews continue where they stopped, with the models of their code."""

import asyncio
import json
import os

import holdfast
import pytest

from tests.integration.adapters import kill_points, killing, pages
from tests.support.damage import damage_newest, long_text
from tests.support.required import require_engine
from tests.support.servers import server

require_engine("crewai")

for _name in ("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_TRACKING", "CREWAI_DISABLE_VERSION_CHECK", "CREWAI_TESTING"):
    os.environ[_name] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"

from crewai import Agent, Crew, Task  # noqa: E402
from crewai.events.event_bus import crewai_event_bus  # noqa: E402
from crewai.flow.flow import Flow, FlowState, listen, start  # noqa: E402
from crewai.llms.base_llm import BaseLLM  # noqa: E402
from crewai.state.checkpoint_config import CheckpointConfig  # noqa: E402
from crewai.state.provider.core import BaseProvider  # noqa: E402
from holdfast.adapters.crewai import HoldfastCheckpointProvider, UnsavableValueError  # noqa: E402
from pydantic import BaseModel, PrivateAttr  # noqa: E402

PROGRAM = "tests.integration.adapters.programs.crewai_checkpoints"


@pytest.fixture
def provider(client: holdfast.Client, namespace: str) -> HoldfastCheckpointProvider:
    return HoldfastCheckpointProvider(client, namespace=namespace)


class Scripted(BaseLLM):
    """A model defined by the program, which CrewAI cannot restore from a checkpoint."""

    _asked: list[str] = PrivateAttr(default_factory=list)

    def call(self, messages, *arguments, **options):
        task = next(word for word in ("first", "second", "third") if f"Task: {word}" in str(messages))
        self._asked.append(task)
        return f"Thought: I know.\nFinal Answer: answer to {task}"


class Verdict(BaseModel):
    good: bool


def crew(provider: HoldfastCheckpointProvider, llm: Scripted, tasks=("first {topic}", "second", "third"), **options):
    agent = Agent(role="writer", goal="write", backstory="a writer", llm=llm, verbose=False)
    made = [Task(description=each, expected_output="words", agent=agent) for each in tasks]
    config = CheckpointConfig(provider=provider, location="crew", **options)
    return Crew(agents=[agent], tasks=made, verbose=False, checkpoint=config)


def ended(entity: Crew | Flow, **options):
    """Return the result of a kickoff, after its checkpoints are written."""
    result = entity.kickoff(**options)
    crewai_event_bus.flush()
    return result


def checkpoint(**flow: object) -> str:
    """Return a checkpoint of a flow as CrewAI writes it."""
    known = {"entity_type": "flow", "checkpoint_completed_methods": ["begin"], "checkpoint_state": {"id": "f"}}
    return json.dumps({"crewai_version": "1.15.30", "branch": "main", "entities": [{**known, **flow}]})


class Two(Flow[FlowState]):
    @start()
    def begin(self):
        return "begun"

    @listen(begin)
    def end(self):
        return "ended"


def test_a_checkpoint_config_accepts_and_keeps_the_provider(provider):
    config = CheckpointConfig(provider=provider, location="x")
    assert isinstance(provider, BaseProvider)
    assert config.provider is provider
    assert config.model_copy(deep=True).provider.extract_id("holdfast:x:main#7") == "7"
    assert config.location == "x"


def test_a_crew_continues_after_the_tasks_that_are_done_with_the_model_of_its_code(provider, client, namespace):
    llm = Scripted(model="scripted")
    first = crew(provider, llm)
    assert provider.resume(first, "crew") is False
    assert ended(first, inputs={"topic": "stores"}).raw == "answer to third"
    # As if the crew had been killed after its first task.
    newest_first = list(client.list(namespace, "crew:main"))
    # CrewAI itself fails to make one if its record of events changes while it is written, which its threads may do.
    assert len(newest_first) in (2, 3)
    for each in newest_first[:-1]:
        client.delete(namespace, "crew:main", each.checkpoint_id)
    other = Scripted(model="scripted")
    second = crew(provider, other)
    assert provider.resume(second, "crew") is True
    assert second.checkpoint_inputs == {"topic": "stores"}
    result = ended(second, inputs=second.checkpoint_inputs)
    assert result.raw == "answer to third"
    assert [each.raw for each in result.tasks_output] == ["answer to first", "answer to second", "answer to third"]
    assert other._asked == ["second", "third"]


def test_a_checkpoint_contains_no_secrets_and_no_connection_settings(provider, client, namespace):
    llm = Scripted(model="scripted", api_key="sk-secret", base_url="http://own")
    ended(crew(provider, llm), inputs={"topic": "stores"})
    for each in client.list(namespace, "crew:main"):
        data = client.load(namespace, "crew:main", each.checkpoint_id).data
        assert b"sk-secret" not in data
        assert b"http://own" not in data


def test_nothing_that_a_checkpoint_names_is_imported_or_connected_to(provider, tmp_path, monkeypatch):
    (tmp_path / "crewai_tool_trap.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("CREWAI_DESERIALIZE_CALLBACKS", "1")
    tool = {"tool_type": "crewai_tool_trap.Tool", "name": "t"}
    provider.checkpoint(
        checkpoint(
            persistence={"persistence_type": "HoldfastFlowPersistence", "target": "127.0.0.1:1"},
            agents=[
                {
                    "tools": [tool],
                    "llm": {"model": "m", "base_url": "http://evil"},
                    "step_callback": "crewai_tool_trap.f",
                }
            ],
            checkpoint_method_outputs=[{"method": "begin", "output": tool}],
        ),
        "flow",
    )
    flow = Two()
    assert provider.resume(flow, "flow")
    assert ended(flow) == "ended"
    assert flow.persistence is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "data", ["", "[]", "{", '{"entities": 7}', '{"entities": [7]}', '{"entities": [{"entity_type": "crew"}]}']
)
def test_data_that_is_not_a_checkpoint_of_crewai_is_refused(provider, data):
    with pytest.raises(UnsavableValueError, match="not a checkpoint of CrewAI"):
        provider.checkpoint(data, "flow")
    assert provider.resume(Two(), "flow") is False


def test_progress_of_other_methods_or_tasks_is_refused_and_changes_nothing(provider):
    provider.checkpoint(checkpoint(checkpoint_completed_methods=["other"]), "flow")
    flow = Two()
    with pytest.raises(holdfast.FormatIncompatibleError, match=r"no methods.*other"):
        provider.resume(flow, "flow")
    assert ended(flow) == "ended"
    llm = Scripted(model="scripted")
    ended(crew(provider, llm, tasks=["first"]))
    changed = crew(provider, llm, tasks=["second"])
    with pytest.raises(holdfast.FormatIncompatibleError, match="other tasks"):
        provider.resume(changed, "crew")
    assert changed.tasks[0].output is None
    with pytest.raises(holdfast.FormatIncompatibleError, match="no progress of a crew"):
        provider.resume(changed, "flow")
    with pytest.raises(TypeError, match="must be a flow or a crew, not object"):
        provider.resume(object(), "flow")


def test_a_checkpoint_is_found_by_its_location_and_only_the_newest_are_kept(provider, client, namespace):
    locations = [provider.checkpoint(checkpoint(checkpoint_state={"id": str(n)}), "a#b") for n in range(4)]
    loaded = json.loads(provider.from_checkpoint(locations[2]))
    assert loaded["entities"][0]["checkpoint_state"] == {"id": "2"}
    assert json.loads(asyncio.run(provider.afrom_checkpoint(locations[2]))) == loaded
    other = asyncio.run(
        provider.acheckpoint(checkpoint(), "a#b", parent_id=provider.extract_id(locations[3]), branch="b/1")
    )
    assert provider.prune("a#b", 1) == 3
    assert provider.from_checkpoint(locations[3])
    assert provider.from_checkpoint(other)
    with pytest.raises(holdfast.CheckpointDeletedError):
        provider.from_checkpoint(locations[2])
    for wrong in (0, -1, True, 1.5, None):
        with pytest.raises(ValueError, match="max_keep must be an integer of at least 1"):
            provider.prune("a#b", wrong)
    for wrong in ("", "x.json", "holdfast:", "holdfast:#", "holdfast:x#", "./x#y"):
        with pytest.raises(ValueError, match="invalid location"):
            provider.from_checkpoint(wrong)


def test_a_checkpoint_that_was_taken_before_the_newest_one_is_not_saved(provider, client, namespace):
    def with_events(count, state):
        return json.dumps(
            {
                **json.loads(checkpoint(checkpoint_state=state)),
                "event_record": {"nodes": {str(n): 0 for n in range(count)}},
            }
        )

    newer = provider.checkpoint(with_events(5, {"id": "newer"}), "flow")
    assert provider.checkpoint(with_events(3, {"id": "older"}), "flow") == newer
    flow = Two()
    provider.resume(flow, "flow")
    assert flow.state.id == "newer"


def test_a_run_that_was_overtaken_writes_no_checkpoint(client, namespace):
    pair = [HoldfastCheckpointProvider(client, namespace=namespace, ownership="exclusive") for _ in range(2)]
    for each in pair:
        each.resume(Two(), "flow")
    for n in range(2):
        pair[0].checkpoint(checkpoint(checkpoint_state={"id": str(n)}), "flow")
    with pytest.raises(holdfast.RevisionConflictError):
        pair[1].checkpoint(checkpoint(), "flow")
    pair[0].checkpoint(checkpoint(), "flow")
    assert len(list(client.list(namespace, "flow:main"))) == 3


def test_a_damaged_newest_checkpoint_is_an_error_without_fallback(tmp_path):
    with server((tmp_path / "store").as_uri()) as target:
        with HoldfastCheckpointProvider.from_target(target) as provider:
            provider.checkpoint(checkpoint(), "flow")
            provider.checkpoint(checkpoint(checkpoint_state={"id": long_text()}), "flow")
            damage_newest(tmp_path / "store")
            with pytest.raises(holdfast.CheckpointCorruptedError):
                provider.resume(Two(), "flow")
        with HoldfastCheckpointProvider.from_target(target, fallback=True) as provider:
            flow = Two()
            assert provider.resume(flow, "flow")
            assert flow.state.id == "f"


def test_the_code_of_the_page_runs_as_written_and_repeats_no_method_that_is_done(tmp_path):
    shown = "notes become an article"
    assert [pages.output_of("crewai", tmp_path, block=1).count(shown) for _ in range(2)] == [1, 0]


@pytest.fixture(scope="module")
def calm(target: str, tmp_path_factory: pytest.TempPathFactory) -> killing.Run:
    return killing.run(PROGRAM, target, tmp_path_factory.mktemp("calm") / "run")


@pytest.mark.parametrize("tenth", kill_points.TENTHS)
def test_a_flow_that_is_killed_anywhere_continues_from_its_newest_checkpoint(calm, target, tmp_path, tenth):
    assert calm.result == ["collect", "write", "review", "publish"]
    kill_at = kill_points.ten_points(calm)[tenth]
    (tmp_path / "killed").mkdir()
    killed = killing.run(PROGRAM, target, tmp_path / "killed" / "run", kill_at=kill_at)
    assert killed.kills == 1
    assert killed.result == calm.result
    before, after = killed.points[:kill_at], killed.points[kill_at:]
    saved = {method for each in before if each.startswith("saved ") for method in each.split()[1:]}
    begun_again = {each.removeprefix("begin ") for each in after if each.startswith("begin ")}
    assert not saved & begun_again
