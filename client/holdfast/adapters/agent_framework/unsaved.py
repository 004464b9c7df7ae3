"""Notices of checkpoints that could not be saved.

The engine only logs such a failure, so the next reader of the storage has to learn of it from the store. A notice is a
checkpoint with a format of its own. It stands for the newest checkpoint of a workflow's name that could not be saved.
It is pinned, so that retention by count does not count it in place of another checkpoint.
"""

import json
from hashlib import sha256
from typing import Any

from agent_framework import WorkflowCheckpoint
from agent_framework.exceptions import WorkflowCheckpointException

from holdfast._core.checkpoint import Checkpoint, Format, LoadedCheckpoint

FORMAT = Format("agent-framework-unsaved", 1)


def notice_id(workflow_name: str) -> str:
    """Return the checkpoint id of the notice for a workflow's name. No checkpoint of the engine can have it."""
    return f"%~unsaved~{sha256(workflow_name.encode()).hexdigest()}"


def is_notice(info: Checkpoint) -> bool:
    """Return whether a checkpoint is a notice."""
    return info.format.name == FORMAT.name


def payload(checkpoint: WorkflowCheckpoint, error: Exception) -> bytes:
    """Return the payload of the notice for a checkpoint that could not be saved because of this error."""
    content = {
        "error": str(error).encode("utf-8", "backslashreplace").decode(),
        "superstep": str(checkpoint.iteration_count),
        "previous_checkpoint_id": checkpoint.previous_checkpoint_id,
    }
    return json.dumps(content).encode()


def error_of(notice: LoadedCheckpoint) -> WorkflowCheckpointException:
    """Return the error that a reader of a notice raises."""
    labels = notice.info.labels
    try:
        content = json.loads(notice.data)
        superstep, previous, problem = content["superstep"], content["previous_checkpoint_id"], content["error"]
    except (ValueError, TypeError, LookupError) as error:
        return WorkflowCheckpointException(f"Checkpoint {notice.info.checkpoint_id} cannot be restored: {error}")
    unsaved_id = labels.get("checkpoint_id", notice.info.checkpoint_id)
    return WorkflowCheckpointException(_text(unsaved_id, labels.get("workflow_name"), superstep, previous, problem))


def error_for(checkpoint: WorkflowCheckpoint, error: Exception) -> WorkflowCheckpointException:
    """Return the error for a checkpoint that this process could not save."""
    made = WorkflowCheckpointException(
        _text(
            checkpoint.checkpoint_id,
            checkpoint.workflow_name,
            checkpoint.iteration_count,
            checkpoint.previous_checkpoint_id,
            error,
        )
    )
    made.__cause__ = error
    return made


def _text(unsaved_id: Any, workflow_name: Any, superstep: Any, previous: Any, error: Any) -> str:
    advice = (
        f"To continue from the checkpoint before it, run the workflow with checkpoint_id={previous!r}"
        if previous
        else "No checkpoint exists before it: run the workflow from its beginning"
    )
    return (
        f"Checkpoint {unsaved_id} of workflow {workflow_name!r}, superstep {superstep}, could not be saved: {error} "
        f"{advice}; the supersteps since then run again."
    )
