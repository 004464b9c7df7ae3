"""A flow of four steps, two of them by an agent with a scripted model, whose state is in Holdfast.

CrewAI restores a flow's state, not its progress: a resumed flow begins with its first step again. So each step here
checks in the state whether its work is done, as a flow must do to be resumable.

Only the work of the step that was not saved yet when the process died may run twice. Work whose state was saved never
runs again.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "CREWAI_TESTING": "true"}

from crewai import Agent
from crewai.flow.flow import Flow, FlowState, listen, start
from crewai.flow.persistence import persist
from crewai.llms.base_llm import BaseLLM
from holdfast.adapters.crewai import HoldfastFlowPersistence
from pydantic import Field

from tests.integration.adapters.killing import point


class Scripted(BaseLLM):
    """A model that returns a given answer."""

    answer: str = ""

    def call(self, messages: Any, *arguments: Any, **options: Any) -> str:
        return f"Thought: I know.\nFinal Answer: {self.answer}"


class Points(HoldfastFlowPersistence):
    """The persistence, with a point before and after each save."""

    def save_state(self, flow_uuid: str, method_name: str, state_data: Any) -> None:
        point(f"saving {method_name}")
        super().save_state(flow_uuid, method_name, state_data)
        point(f"saved {method_name}")


class Done(FlowState):
    work: dict[str, str] = Field(default_factory=dict)


class Article(Flow[Done]):
    def _work(self, step: str, result: Any) -> None:
        if step in self.state.work:
            return
        point(f"begin {step}")
        self.state.work[step] = result()
        point(f"end {step}")

    @start()
    def collect(self) -> None:
        self._work("collect", lambda: "three facts")

    @listen(collect)
    def write(self) -> None:
        self._work("write", lambda: _ask("a draft of " + self.state.work["collect"]))

    @listen(write)
    def review(self) -> None:
        self._work("review", lambda: _ask("a review of " + self.state.work["write"]))

    @listen(review)
    def publish(self) -> str:
        self._work("publish", lambda: f"{self.state.work['review']}, published")
        return self.state.work["publish"]


def _ask(answer: str) -> str:
    agent = Agent(
        role="writer", goal="write", backstory="a writer", llm=Scripted(model="scripted", answer=answer), verbose=False
    )
    return str(agent.kickoff("Write.").raw)


def main(target: str, result: Path) -> None:
    """Run the flow from its newest state, and write the result."""
    with Points.from_target(target, namespace=result.parent.parent.name, timeout=60) as persistence:
        flow = persist(persistence)(Article)()
        flow.kickoff(inputs={"id": "article"})
        result.write_text(json.dumps(flow.state.work))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
