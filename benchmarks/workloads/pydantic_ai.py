"""What Pydantic AI has its step store do: the calls of a run, recorded once and replayed on any step store."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from holdfast.adapters.pydantic_ai import HoldfastStepStore
from pydantic_ai import Agent, ToolCallPart
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai_harness.step_persistence import InMemoryStepStore, SqliteStepStore, StepPersistence

from benchmarks import places, stored
from benchmarks.places import Place
from benchmarks.workloads.texts import Texts
from benchmarks.workloads.workload import Call, Workload

_RUN = "run"
_STEPS = 30
_RESULT_BYTES = 2_000
_OWN = "SqliteStepStore"


async def compare(folder: Path) -> None:
    """Measure a run of thirty calls of a tool, on Holdfast and on the engine's own store. Print a table."""
    await places.compare(f"Pydantic AI, run of {_STEPS} calls of a tool", await _recorded(), _stores(folder), _OWN)


def _stores(folder: Path) -> list[Place]:
    own = folder / "own"
    own.mkdir(parents=True)
    ours = places.on_holdfast(folder, _opened)
    return [*ours, Place(_OWN, lambda: _sqlite(own / "steps.sqlite"), lambda: stored.in_folder(own))]


@asynccontextmanager
async def _opened(target: str) -> AsyncIterator[HoldfastStepStore]:
    async with HoldfastStepStore.from_target(target, namespace="bench") as store:
        yield store


@asynccontextmanager
async def _sqlite(path: Path) -> AsyncIterator[SqliteStepStore]:
    yield SqliteStepStore(database=path)


async def _recorded() -> Workload:
    texts = Texts(seed=1)

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        done = sum(isinstance(part, ToolReturnPart) for message in messages for part in message.parts)
        if done == _STEPS:
            return ModelResponse(parts=[TextPart(texts.next(_RESULT_BYTES))])
        return ModelResponse(parts=[ToolCallPart("search", {"query": f"{done}"}, tool_call_id=f"call-{done}")])

    store = _Recorder()
    agent = Agent(FunctionModel(model), capabilities=[StepPersistence(store=store, run_id=_RUN)])

    @agent.tool_plain
    def search(query: str) -> str:
        return texts.next(_RESULT_BYTES)

    await agent.run("go")
    states = sum(call.__name__ == "save_snapshot" for piece in store.pieces for call in piece)
    return Workload((_STEPS + 1) * _RESULT_BYTES, states, store.pieces, lambda each: each.latest_snapshot(run_id=_RUN))


class _Recorder(InMemoryStepStore):
    """Records the calls that write, and makes them. A piece ends with a snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[list[Call]] = [[]]


def _recording(name: str) -> Callable[..., Any]:
    async def recorded(self: _Recorder, item: Any) -> None:
        # The run continues to append to its messages.
        copy = deepcopy(item)

        async def call(store: Any) -> None:
            await getattr(store, name)(copy)

        call.__name__ = name
        self.pieces[-1].append(call)
        if name == "save_snapshot":
            self.pieces.append([])
        await getattr(InMemoryStepStore, name)(self, item)

    return recorded


for _name in ("register_run", "append_event", "save_snapshot", "record_tool_effect"):
    setattr(_Recorder, _name, _recording(_name))
