"""Convert the ids of Burr's applications and steps to ids of Holdfast, and back."""

import operator
from collections.abc import Iterable
from typing import TypeAlias

from holdfast._core.checkpoint import WorkflowInfo
from holdfast.adapters.ids import WORKFLOW_BYTES, joined, split

PartitionKey: TypeAlias = str | None


def workflow_id(partition_key: PartitionKey, app_id: str) -> str:
    """Return the workflow of an application, for methods of a client such as `validate` and `delete_workflow`.

    Args:
        partition_key: the partition key; None is the same as "".
        app_id: the application's id.

    Raises:
        TypeError: an id is not a string.
        ValueError: the ids are too long together, or contain a lone surrogate.

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
    """Return the checkpoint id of a step.

    Raises:
        TypeError: the sequence id is not an integer.

    """
    try:
        return str(operator.index(sequence_id))
    except TypeError:
        raise TypeError(f"sequence_id must be an integer, not {type(sequence_id).__name__}") from None


def app_ids(partition_key: PartitionKey, workflows: Iterable[WorkflowInfo]) -> list[str]:
    """Return the applications among workflows, most recently saved first. Workflows of other programs are left out."""
    newest_first = sorted(
        (workflow for workflow in workflows if workflow.checkpoint_revision),
        key=lambda workflow: workflow.updated,
        reverse=True,
    )
    names = [(workflow.workflow_id, split(workflow.workflow_id)[-1]) for workflow in newest_first]
    return [app_id for name, app_id in names if _is_name_of(name, partition_key, app_id)]


def _is_name_of(name: str, partition_key: PartitionKey, app_id: str) -> bool:
    try:
        return workflow_id(partition_key, app_id) == name
    except ValueError:
        return False
