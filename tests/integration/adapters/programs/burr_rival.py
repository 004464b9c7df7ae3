"""A Burr application for two processes, which does one step per request. Usage: TARGET OWNERSHIP NAME.

Each step adds the process's name to the state, so the states of two processes with the same name are equal.
"""

import sys
from typing import Any

from burr.core import ApplicationBuilder, State, action
from holdfast.adapters.burr import HoldfastPersister

from tests.integration.adapters.rivals import obey


def main(target: str, ownership: Any, name: str) -> None:
    """Serve the requests of the test."""

    @action(reads=["steps"], writes=["steps"])
    def step(state: State) -> State:
        return state.update(steps=[*state["steps"], name])

    with HoldfastPersister.from_target(target, namespace="rivals", ownership=ownership) as persister:
        running: list[Any] = []

        def begin() -> Any:
            running[:] = [
                ApplicationBuilder()
                .with_actions(step)
                .with_transitions(("step", "step"))
                .with_identifiers(app_id="app", partition_key="p")
                .initialize_from(
                    persister, resume_at_next_action=True, default_state={"steps": []}, default_entrypoint="step"
                )
                .with_state_persister(persister)
                .build()
            ]
            return running[0].state["steps"]

        obey({"begin": begin, "step": lambda: running[0].step()[2]["steps"]})


if __name__ == "__main__":
    main(*sys.argv[1:])
