"""A flow for two processes, which does one step per request. Usage: TARGET OWNERSHIP NAME."""

import os
import sys
from typing import Any

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "CREWAI_TESTING": "true"}

from crewai.flow.flow import Flow, FlowState, start
from holdfast.adapters.crewai import HoldfastFlowPersistence
from pydantic import Field

from tests.integration.adapters.rivals import obey


class Steps(FlowState):
    steps: list[str] = Field(default_factory=list)


class Idle(Flow[Steps]):
    @start()
    def idle(self) -> None:
        """Do nothing, and save nothing."""


def main(target: str, ownership: Any, name: str) -> None:
    """Serve the requests of the test."""
    with HoldfastFlowPersistence.from_target(target, namespace="rivals", ownership=ownership) as persistence:
        running: list[Any] = []

        def begin() -> Any:
            running[:] = [Idle(persistence=persistence)]
            running[0].kickoff(inputs={"id": "flow"})
            return running[0].state.steps

        def step() -> Any:
            running[0].state.steps.append(name)
            persistence.save_state("flow", "step", running[0].state)
            return running[0].state.steps

        obey({"begin": begin, "step": step})


if __name__ == "__main__":
    main(*sys.argv[1:])
