"""What the storage keeps of a checkpoint: JSON, in which only classes that are allowed are written or restored."""

import json
import sys
from datetime import UTC, datetime

from agent_framework import WorkflowCheckpoint, register_checkpoint_type
from agent_framework.exceptions import WorkflowCheckpointException

from holdfast.adapters.ids import CHECKPOINT_BYTES, holdfast_id
from holdfast.adapters.objects import decode, encode
from holdfast.checkpoint import Checkpoint, Format, LoadedCheckpoint

FORMAT = Format("agent-framework-checkpoint", 1)

# The prefixes that the engine's own stores trust.
_TRUSTED = ("agent_framework.", "agent_framework_orchestrations.", "openai.types.")


class Contents:
    """Payloads of checkpoints.

    Args:
        own_types: the application's own classes that a checkpoint may hold, as "module:qualname".

    """

    def __init__(self, own_types: frozenset[str]) -> None:
        self._own_types = own_types

    def payload(self, checkpoint: WorkflowCheckpoint) -> bytes:
        """What is stored of a checkpoint.

        Raises:
            WorkflowCheckpointException: it holds what cannot be restored.

        """
        try:
            return json.dumps(encode(checkpoint.to_dict(), self._allowed)).encode()
        except (TypeError, ValueError, RecursionError, ImportError) as error:
            raise WorkflowCheckpointException(
                f"Checkpoint {checkpoint.checkpoint_id} cannot be saved: {error}. Classes of the application must be "
                "named in allowed_checkpoint_types, or given to register_checkpoint_type."
            ) from error

    def checkpoint(self, loaded: LoadedCheckpoint) -> WorkflowCheckpoint:
        """The checkpoint that was stored.

        Raises:
            WorkflowCheckpointException: it holds what may not be restored.

        """
        try:
            fields = decode(json.loads(loaded.data), self._allowed)
        except (
            TypeError,
            ValueError,
            LookupError,
            ArithmeticError,
            AttributeError,
            ImportError,
            RecursionError,
        ) as error:
            raise WorkflowCheckpointException(
                f"Checkpoint {loaded.info.labels['checkpoint_id']} cannot be restored: {error}"
            ) from error
        return WorkflowCheckpoint.from_dict(fields)

    def _allowed(self, name: str) -> bool:
        # The engine tells nobody what was registered, but keeps it beside the function.
        registered = vars(sys.modules[register_checkpoint_type.__module__]).get("_REGISTERED_CHECKPOINT_TYPE_KEYS", ())
        return name.startswith(_TRUSTED) or name in self._own_types or name in registered


def labels_of(checkpoint: WorkflowCheckpoint) -> dict[str, str]:
    """What lists tell of a checkpoint.

    Raises:
        WorkflowCheckpointException: its timestamp is none.

    """
    return {
        "checkpoint_id": checkpoint.checkpoint_id,
        "timestamp": _moment(checkpoint.timestamp).isoformat(),
        "workflow_name": checkpoint.workflow_name,
    }


def id_of(checkpoint_id: object) -> str:
    """The id that stands for the engine's.

    Raises:
        WorkflowCheckpointException: no checkpoint can have it.

    """
    if not isinstance(checkpoint_id, str):
        raise WorkflowCheckpointException(f"a checkpoint's id must be text, not {type(checkpoint_id).__name__}")
    try:
        return holdfast_id(checkpoint_id, CHECKPOINT_BYTES)
    except ValueError as error:
        raise WorkflowCheckpointException(f"no checkpoint can have the ID {checkpoint_id!r}: {error}") from error


def _moment(text: str) -> datetime:
    """A checkpoint's own time; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise WorkflowCheckpointException(f"a checkpoint's timestamp must be ISO 8601, not {text!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def timestamp(info: Checkpoint) -> datetime:
    """The time of a checkpoint that was saved, as its labels have it."""
    return datetime.fromisoformat(info.labels["timestamp"])
