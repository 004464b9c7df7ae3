"""A flow that is resumed from CrewAI's own checkpoints in Holdfast after a kill. Usage: TARGET RESULT.

CrewAI writes its checkpoints in threads beside the flow. A method that is done according to the newest checkpoint never
runs again; later ones may.
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
    """The provider, with a point before and after each checkpoint, named by the methods that are done."""

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
        # CrewAI reads the state for a checkpoint while the next method runs, so it may contain that method's changes.
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
    """Run the flow from its newest checkpoint, and write the result."""
    with Points.from_target(target, namespace="checkpoints", timeout=60) as provider:
        work = None
        while work is None:
            work = _run(provider, str(result.parent))
        result.write_text(json.dumps(work))


def _run(provider: Points, location: str) -> list[str] | None:
    """Return the work at the end; None if CrewAI failed, and the flow must be resumed from its newest checkpoint."""
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
