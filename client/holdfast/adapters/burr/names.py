"""What Burr's applications and steps are called in Holdfast."""

import operator
from collections.abc import Iterable
from typing import TypeAlias

from holdfast._core.checkpoint import WorkflowInfo
from holdfast.adapters.ids import WORKFLOW_BYTES, joined, split

PartitionKey: TypeAlias = str | None


def workflow_id(partition_key: PartitionKey, app_id: str) -> str:
    """The workflow that holds an application, for the calls of a client: validate, delete_workflow and the others.

    Args:
        partition_key: the partition key; None is the same as "".
        app_id: the application's id.

    Raises:
        TypeError: one of them is no string.
        ValueError: both are too long together, or hold what is no text.

    """
    ids = {"partition_key": "" if partition_key is None else partition_key, "app_id": app_id}
    for name, given in ids.items():
        if not isinstance(given, str):
            raise TypeError(f"{name} must be a string, not {type(given).__name__}")
    found = joined(*ids.values())
    size = len(found.encode())
    if size > WORKFLOW_BYTES:
        raise ValueError(f"partition_key and app_id have {size} bytes together, the limit is {WORKFLOW_BYTES}")
    return found


def step_id(sequence_id: int) -> str:
    """The checkpoint id of a step.

    Raises:
        TypeError: the sequence id is no integer.

    """
    try:
        return str(operator.index(sequence_id))
    except TypeError:
        raise TypeError(f"sequence_id must be an integer, not {type(sequence_id).__name__}") from None


def app_ids(partition_key: PartitionKey, workflows: Iterable[WorkflowInfo]) -> list[str]:
    """The applications among workflows, the one that was saved last first. Workflows of other programs are left out."""
    newest_first = sorted(
        (each for each in workflows if each.checkpoint_revision), key=lambda each: each.updated, reverse=True
    )
    names = [(each.workflow_id, split(each.workflow_id)[-1]) for each in newest_first]
    return [app_id for name, app_id in names if _is_of(partition_key, app_id, name)]


def _is_of(partition_key: PartitionKey, app_id: str, name: str) -> bool:
    try:
        return workflow_id(partition_key, app_id) == name
    except ValueError:
        return False
