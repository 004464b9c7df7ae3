"""Convert checkpoints to JSON payloads, and back. Only classes that are allowed are written or restored."""

import json
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib import import_module
from typing import Any

from agent_framework import (
    AgentResponse,
    AgentResponseUpdate,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    Message,
    WorkflowCheckpoint,
    WorkflowEvent,
    register_checkpoint_type,
)
from agent_framework.exceptions import WorkflowCheckpointException
from pydantic import BaseModel

from holdfast._core.checkpoint import Checkpoint, Format, LoadedCheckpoint
from holdfast.adapters.ids import CHECKPOINT_BYTES, LABEL_BYTES, holdfast_id
from holdfast.adapters.objects import NotAllowedError, decode, dumps

FORMAT = Format("agent-framework-checkpoint", 2)

# The engine's data classes. Tools, agents and stores are not among them: a tool may contain a command line.
_ENGINE_DATA = (
    AgentResponse,
    AgentResponseUpdate,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    Message,
    WorkflowEvent,
    BaseModel,
    Enum,
)
_ENGINE_MODULES = (
    "agent_framework._types",
    "agent_framework._workflows",
    "agent_framework_orchestrations",
    "openai.types",
)
# A message without content, which is not a dataclass.
_ENGINE_SIGNALS = ("agent_framework_orchestrations._magentic:MagenticResetSignal",)
# The errors that code of the engine and of the application may raise while its objects are restored.
_FAILURES = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, ImportError, RecursionError)


class Contents:
    """The codec of payloads.

    Args:
        own_types: the application's classes that a checkpoint may contain, as "module:qualname".

    """

    def __init__(self, own_types: frozenset[str]) -> None:
        self._own_types = own_types

    def payload(self, checkpoint: WorkflowCheckpoint) -> bytes:
        """Return the payload of a checkpoint, after verifying that it is loaded as an equal checkpoint.

        Raises:
            WorkflowCheckpointException: a value in it cannot be restored.

        """
        try:
            return dumps(checkpoint.to_dict(), self._is_allowed, root="checkpoint").encode()
        except NotAllowedError as error:
            raise WorkflowCheckpointException(
                f"Checkpoint {checkpoint.checkpoint_id} cannot be saved: {error}. Classes of the application must be "
                "named in allowed_checkpoint_types, or given to register_checkpoint_type."
            ) from error
        except _FAILURES as error:
            raise WorkflowCheckpointException(
                f"Checkpoint {checkpoint.checkpoint_id} cannot be saved: {error}"
            ) from error

    def checkpoint(self, loaded: LoadedCheckpoint) -> WorkflowCheckpoint:
        """Return the checkpoint of a payload.

        Raises:
            WorkflowCheckpointException: it contains a class that is not allowed, or is not a checkpoint.

        """
        try:
            fields = decode(json.loads(loaded.data), self._is_allowed, root="checkpoint")
        except _FAILURES as error:
            advice = (
                ". Name it in allowed_checkpoint_types, or give it to register_checkpoint_type"
                if isinstance(error, NotAllowedError)
                else ""
            )
            raise WorkflowCheckpointException(
                f"Checkpoint {id_in(loaded.info)} cannot be restored: {error}{advice}"
            ) from error
        if not isinstance(fields, Mapping):
            raise WorkflowCheckpointException(
                f"Checkpoint {id_in(loaded.info)} cannot be restored: "
                f"its payload is of class {type(fields).__name__!r}, expected a JSON object"
            )
        return WorkflowCheckpoint.from_dict(fields)

    def _is_allowed(self, name: str) -> bool:
        # The engine has no function that returns the registered classes.
        registered = vars(sys.modules[register_checkpoint_type.__module__]).get("_REGISTERED_CHECKPOINT_TYPE_KEYS", ())
        return name in self._own_types or name in registered or name in _ENGINE_SIGNALS or _is_engine_data(name)


def _is_engine_data(name: str) -> bool:
    """Return whether a class is one of the engine's data classes."""
    module, _, qualname = name.partition(":")
    if not any(module == known or module.startswith(f"{known}.") for known in _ENGINE_MODULES):
        return False
    found: Any = import_module(module)
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    return isinstance(found, type) and (is_dataclass(found) or issubclass(found, _ENGINE_DATA))


def labels_of(checkpoint: WorkflowCheckpoint) -> dict[str, str]:
    """Return the labels of a checkpoint, by which it is listed.

    Raises:
        WorkflowCheckpointException: its timestamp or its workflow's name is not valid.

    """
    return {
        "checkpoint_id": checkpoint.checkpoint_id,
        "timestamp": moment_of(checkpoint.timestamp).isoformat(),
        "workflow_name": name_of(checkpoint.workflow_name),
    }


def name_of(workflow_name: object) -> str:
    """Return a workflow's name if it is a valid one.

    Raises:
        WorkflowCheckpointException: it is not Unicode text, or longer than a label may be.

    """
    if not isinstance(workflow_name, str):
        raise WorkflowCheckpointException(f"a workflow's name must be text, not {type(workflow_name).__name__}")
    try:
        size = len(workflow_name.encode())
    except UnicodeEncodeError as error:
        raise WorkflowCheckpointException(f"a workflow's name must be Unicode text: {error}") from error
    if size > LABEL_BYTES:
        raise WorkflowCheckpointException(
            f"a workflow's name must have at most {LABEL_BYTES} bytes, not {size}: {workflow_name[:60]!r}…"
        )
    return workflow_name


def id_of(checkpoint_id: object) -> str:
    """Return the checkpoint id that stands for the engine's id.

    Raises:
        WorkflowCheckpointException: the id is not Unicode text, or is empty.

    """
    if not isinstance(checkpoint_id, str):
        raise WorkflowCheckpointException(f"a checkpoint's id must be text, not {type(checkpoint_id).__name__}")
    try:
        return holdfast_id(checkpoint_id, CHECKPOINT_BYTES)
    except ValueError as error:
        raise WorkflowCheckpointException(f"invalid checkpoint ID {checkpoint_id!r}: {error}") from error


def moment_of(text: str) -> datetime:
    """Parse a checkpoint's timestamp. Without a zone it is UTC.

    Raises:
        WorkflowCheckpointException: it is not ISO 8601.

    """
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise WorkflowCheckpointException(f"a checkpoint's timestamp must be ISO 8601, not {text!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def timestamp(info: Checkpoint) -> datetime:
    """Return the timestamp in a checkpoint's labels, or the time of its save if they do not contain a valid one."""
    try:
        return moment_of(info.labels["timestamp"])
    except (KeyError, WorkflowCheckpointException):
        return info.created


def id_in(info: Checkpoint) -> str:
    """Return the engine's id of a checkpoint, from its labels."""
    return info.labels.get("checkpoint_id", info.checkpoint_id)
