"""A Burr application that takes one step at a time, for two processes. Usage: TARGET OWNERSHIP NAME.

The states of both processes are equal unless the name, which is the process's, is kept in them.
"""

import sys
from typing import Any

from burr.core import ApplicationBuilder, State, action
from holdfast.adapters.burr import HoldfastPersister

from tests.integration.adapters.rivals import obey


def main(target: str, ownership: Any, name: str) -> None:
    """Do what is asked for."""

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
