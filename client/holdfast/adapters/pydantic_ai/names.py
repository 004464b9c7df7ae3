"""The names under which runs, events, snapshots and tool effects lie in Holdfast."""

from typing import Any
from urllib.parse import unquote

from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import of_reason
from holdfast.adapters.ids import CHECKPOINT_BYTES, LABEL_BYTES, holdfast_id, joined

RUNS = "runs"
_RUN_PREFIX = "run-"


def run_key(run_id: str) -> str:
    """The id of a run's checkpoint."""
    return holdfast_id(_RUN_PREFIX + text("run_id", run_id), CHECKPOINT_BYTES)


def known_of_run(info: Checkpoint) -> dict[str, Any]:
    """What is known of a run that cannot be read."""
    return {"run_id": unquote(info.checkpoint_id.removeprefix(_RUN_PREFIX)), "started_at": info.created}


def events(run_id: str) -> str:
    """The workflow of a run's events."""
    return joined("run", text("run_id", run_id), "events")


def snapshots(run_id: str) -> str:
    """The workflow of a run's snapshots."""
    return joined("run", text("run_id", run_id), "snapshots")


def effects(run_id: str) -> str:
    """The workflow of a run's tool effects."""
    return joined("run", text("run_id", run_id), "effects")


def workflows(run_id: str) -> tuple[str, ...]:
    """The workflows of a run, that of its snapshots first."""
    return snapshots(run_id), events(run_id), effects(run_id)


def labels(given: dict[str, str | None]) -> dict[str, str]:
    """The labels that stand for what is given."""
    return {
        key: text(key, value) and holdfast_id(value, LABEL_BYTES) for key, value in given.items() if value is not None
    }


def text(name: str, value: object) -> str:
    """A value that is Unicode text.

    Raises:
        InvalidRequestError: it is not.

    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            problem = str(error)
        else:
            return value
    else:
        problem = f"it is of class {type(value).__name__!r}"
    raise of_reason("INVALID_REQUEST", f"{name}: expected Unicode text: {problem}", field_violations=[(name, problem)])
