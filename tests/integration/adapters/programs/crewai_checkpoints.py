"""A flow whose place CrewAI's own checkpoints keep in Holdfast, killed and resumed. Usage: TARGET RESULT.

CrewAI writes its checkpoints in threads beside the flow. A method that the newest one says is done never runs again;
those behind it may.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "CREWAI_TESTING": "true"}

from crewai.events.event_bus import crewai_event_bus
from crewai.flow.flow import Flow, FlowState, listen, start
from crewai.state.checkpoint_config import CheckpointConfig
from holdfast.adapters.crewai import HoldfastCheckpointProvider
from pydantic import Field

from tests.integration.adapters.killing import point


class Points(HoldfastCheckpointProvider):
    """The provider, with a point on either side of a checkpoint, named by the methods that it says are done."""

    def checkpoint(self, data: str, location: str, **options: Any) -> str:
        done = sorted(json.loads(data)["entities"][0]["checkpoint_completed_methods"] or [])
        point(f"saving {' '.join(done)}")
        saved = super().checkpoint(data, location, **options)
        point(f"saved {' '.join(done)}")
        return saved


class Done(FlowState):
    work: list[str] = Field(default_factory=list)


class Article(Flow[Done]):
    def _work(self, step: str) -> None:
        # CrewAI takes the state of a checkpoint while the next method runs: it may hold what that has done already.
        if step in self.state.work:
            return
        point(f"begin {step}")
        self.state.work = [*self.state.work, step]
        point(f"end {step}")

    @start()
    def collect(self) -> None:
        self._work("collect")

    @listen(collect)
    def write(self) -> None:
        self._work("write")

    @listen(write)
    def review(self) -> None:
        self._work("review")

    @listen(review)
    def publish(self) -> None:
        self._work("publish")


def main(target: str, result: Path) -> None:
    """Run the flow from where it is."""
    with Points.from_target(target, namespace="checkpoints", timeout=60) as provider:
        work = None
        while work is None:
            work = _run(provider, str(result.parent))
        result.write_text(json.dumps(work))


def _run(provider: Points, location: str) -> list[str] | None:
    """The work that is done at the end; None if CrewAI broke, and the flow must go on from its newest checkpoint."""
    events = ["method_execution_finished", "flow_finished"]
    flow = Article(checkpoint=CheckpointConfig(provider=provider, location=location, on_events=events))
    provider.resume(flow, location)
    try:
        flow.kickoff()
    except BaseException as error:
        # CrewAI serialises its record of events in one thread while another one adds to it.
        if "changed size during iteration" not in str(error):
            raise
        crewai_event_bus.flush()
        return None
    return list(flow.state.work)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
