"""An application on Burr: a writer and a critic."""

from burr.core import ApplicationBuilder, State, action, expr
from holdfast.adapters.burr import HoldfastPersister

from tests.support.console import engines


@action(reads=["draft", "notes"], writes=["draft", "notes"])
def write(state: State) -> State:
    draft = state["draft"] + 1
    return state.update(draft=draft, notes=[*state["notes"], f"draft {draft}"])


@action(reads=["draft"], writes=["review"])
def criticise(state: State) -> State:
    return state.update(review="fine" if state["draft"] == 3 else "too short")


def run(target: str, namespace: str) -> None:
    """Run the application until the critic has criticised the third draft. The state is saved after each action."""
    partition_key, app_id = engines.BURR_RUN.split(":")
    with HoldfastPersister.from_target(target, namespace=namespace) as persister:
        application = (
            ApplicationBuilder()
            .with_actions(write, criticise)
            .with_transitions(("write", "criticise"), ("criticise", "write", expr("review != 'fine'")))
            .with_identifiers(partition_key=partition_key, app_id=app_id)
            .initialize_from(
                persister,
                resume_at_next_action=True,
                default_state={"draft": 0, "notes": []},
                default_entrypoint="write",
            )
            .with_state_persister(persister)
            .build()
        )
        application.run(halt_after=["criticise"])
        for _ in range(4):
            application.step()
