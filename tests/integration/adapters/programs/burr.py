"""A Burr application of a writer and a critic, both scripted, that may be killed at any point.

Burr saves the state after each action. Only an action whose save had not returned when the process was killed may run
twice. If the save had been committed, the application continues after it. Usage: TARGET RESULT.
"""

import json
import sys
from pathlib import Path
from typing import Any

from burr.core import Application, ApplicationBuilder, State, action, default, expr
from holdfast.adapters.burr import HoldfastPersister

from tests.integration.adapters.killing import point

REVIEWS = ["too long", "too short", "fine"]


class Journalled(HoldfastPersister):
    """The persister, with a point before and after each call."""

    def save(self, partition_key, app_id, sequence_id, position, state, status, **options):
        name = f"{position} {sequence_id}"
        point(f"before save {name}")
        super().save(partition_key, app_id, sequence_id, position, state, status, **options)
        point(f"after save {name}")

    def load(self, partition_key, app_id, sequence_id=None, **options):
        point("before load")
        found = super().load(partition_key, app_id, sequence_id, **options)
        point("after load")
        return found


def step(state: State, name: str, **changes: Any) -> State:
    """Update the state, with a point before and after."""
    number = state["__SEQUENCE_ID"]
    point(f"before step {name} {number}")
    changed = state.update(**changes)
    point(f"after step {name} {number}")
    return changed


@action(reads=["draft", "notes"], writes=["draft", "text", "notes"])
def write(state: State) -> State:
    """Write a draft."""
    draft = state["draft"] + 1
    return step(state, "write", draft=draft, text="word " * draft * 20_000, notes=[*state["notes"], f"draft {draft}"])


@action(reads=["draft", "notes"], writes=["review", "notes"])
def criticise(state: State) -> State:
    """Review the draft."""
    review = REVIEWS[state["draft"] - 1]
    return step(state, "criticise", review=review, notes=[*state["notes"], f"review: {review}"])


@action(reads=["draft", "notes"], writes=["notes"])
def publish(state: State) -> State:
    """Publish the draft."""
    return step(state, "publish", notes=[*state["notes"], f"published draft {state['draft']}"])


def build(persister: HoldfastPersister, app_id: str) -> Application:
    """Return the application, loaded from its newest state."""
    return (
        ApplicationBuilder()
        .with_actions(write, criticise, publish)
        .with_transitions(
            ("write", "criticise"), ("criticise", "publish", expr("review == 'fine'")), ("criticise", "write", default)
        )
        .with_identifiers(app_id=app_id, partition_key="writers")
        .initialize_from(
            persister,
            resume_at_next_action=True,
            default_state={"draft": 0, "notes": []},
            default_entrypoint="write",
        )
        .with_state_persister(persister)
        .build()
    )


def main() -> None:
    """Run the application to its end, and write its result."""
    target, result = sys.argv[1:]
    with Journalled.from_target(target, namespace="burr", timeout=20) as persister:
        application = build(persister, str(Path(result).parent))
        state = application.state
        if state.get("__PRIOR_STEP") != "publish":
            _, _, state = application.run(halt_after=["publish"])
        Path(result).write_text(json.dumps({"notes": state["notes"], "text": len(state["text"])}))


if __name__ == "__main__":
    main()
