"""The workflows, checkpoint ids and labels of runs, events, snapshots and tool effects."""

from typing import Any
from urllib.parse import unquote

from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import of_reason
from holdfast.adapters.ids import CHECKPOINT_BYTES, LABEL_BYTES, holdfast_id, joined

RUNS = "runs"
_RUN_PREFIX = "run-"


def run_key(run_id: str) -> str:
    """Return the checkpoint id of a run.

    Raises:
        InvalidRequestError: the run id is not Unicode text.

    """
    return holdfast_id(_RUN_PREFIX + text("run_id", run_id), CHECKPOINT_BYTES)


def known_of_run(info: Checkpoint) -> dict[str, Any]:
    """Return the fields that are known of a run that cannot be read."""
    return {"run_id": unquote(info.checkpoint_id.removeprefix(_RUN_PREFIX)), "started_at": info.created}


def events(run_id: str) -> str:
    """Return the workflow of a run's events."""
    return joined("run", text("run_id", run_id), "events")


def snapshots(run_id: str) -> str:
    """Return the workflow of a run's snapshots."""
    return joined("run", text("run_id", run_id), "snapshots")


def effects(run_id: str) -> str:
    """Return the workflow of a run's tool effects."""
    return joined("run", text("run_id", run_id), "effects")


def workflows(run_id: str) -> tuple[str, ...]:
    """Return the workflows of a run. The one of its snapshots is first."""
    return snapshots(run_id), events(run_id), effects(run_id)


def labels(given: dict[str, str | None]) -> dict[str, str]:
    """Return labels for these values, without those that are None."""
    return {
        key: text(key, value) and holdfast_id(value, LABEL_BYTES) for key, value in given.items() if value is not None
    }


def text(name: str, value: object) -> str:
    """Return a value if it is Unicode text.

    Args:
        name: what the error calls the value.
        value: the value.

    Raises:
        InvalidRequestError: it is not Unicode text.

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
