"""Checkpoints that could not be saved: the engine only logs that, so the storage keeps it for the next reader.

An entry in the log stands for the newest one of a workflow's name that could not be saved. It is pinned, so that it
takes no other checkpoint's place in what retention keeps.
"""

import json
from hashlib import sha256
from typing import Any

from agent_framework import WorkflowCheckpoint
from agent_framework.exceptions import WorkflowCheckpointException

from holdfast._core.checkpoint import Checkpoint, Format, LoadedCheckpoint

FORMAT = Format("agent-framework-unsaved", 1)


def checkpoint_id(workflow_name: str) -> str:
    """The id of the entry for a workflow's name; no checkpoint of the engine's can have it."""
    return f"%~unsaved~{sha256(workflow_name.encode()).hexdigest()}"


def is_entry(info: Checkpoint) -> bool:
    """Whether a checkpoint stands for one that could not be saved."""
    return info.format.name == FORMAT.name


def payload(checkpoint: WorkflowCheckpoint, error: Exception) -> bytes:
    """The payload of the entry for a checkpoint."""
    about = {
        "error": str(error).encode("utf-8", "backslashreplace").decode(),
        "superstep": str(checkpoint.iteration_count),
        "previous_checkpoint_id": checkpoint.previous_checkpoint_id,
    }
    return json.dumps(about).encode()


def error_of(loaded: LoadedCheckpoint) -> WorkflowCheckpointException:
    """The error that an entry stands for."""
    labels = loaded.info.labels
    try:
        about = json.loads(loaded.data)
        told = about["superstep"], about["previous_checkpoint_id"], about["error"]
    except (ValueError, TypeError, LookupError) as error:
        return WorkflowCheckpointException(f"Checkpoint {loaded.info.checkpoint_id} cannot be restored: {error}")
    unsaved_id = labels.get("checkpoint_id", loaded.info.checkpoint_id)
    return WorkflowCheckpointException(_text(unsaved_id, labels.get("workflow_name"), *told))


def error_for(checkpoint: WorkflowCheckpoint, error: Exception) -> WorkflowCheckpointException:
    """The error of a checkpoint that this process could not save."""
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
        f"To go on from the one before it, run the workflow with checkpoint_id={previous!r}"
        if previous
        else "There is none before it: run the workflow from its beginning"
    )
    return (
        f"Checkpoint {unsaved_id} of workflow {workflow_name!r}, superstep {superstep}, could not be saved: {error} "
        f"{advice}; what has run since then runs again."
    )
