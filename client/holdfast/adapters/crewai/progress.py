"""Extract the progress of a flow or crew from CrewAI's checkpoints, and restore it into a flow or crew."""

import json
from typing import Any

from crewai import Crew
from crewai.flow.flow import Flow
from crewai.tasks.task_output import TaskOutput

from holdfast._core.checkpoint import Format, LoadedCheckpoint
from holdfast.adapters.crewai.states import read, unreadable
from holdfast.adapters.plain_json import UnsavableValueError, dumps

FORMAT = Format("crewai-checkpoint", 1)
PART = ""

_ABOUT = ("crewai_version", "parent_id", "branch", "trigger")
_OF_FLOW = (
    "checkpoint_completed_methods",
    "checkpoint_method_outputs",
    "checkpoint_method_counts",
    "checkpoint_state",
)
_OF_CREW = ("checkpoint_inputs", "checkpoint_kickoff_event_id", "checkpoint_train")


def extract(data: str) -> tuple[bytes, int]:
    """Return the progress in one of CrewAI's checkpoints.

    Args:
        data: the checkpoint as JSON.

    Returns:
        The payload to save, and the number of events that CrewAI had recorded by then.

    Raises:
        UnsavableValueError: the data is not a checkpoint of CrewAI, or would not be loaded as equal data.

    """
    what = "the checkpoint"
    try:
        whole = json.loads(data)
        entities = [kept for kept in map(_progress, whole["entities"]) if kept is not None]
        events = len((whole.get("event_record") or {}).get("nodes") or ())
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise UnsavableValueError(what, "checkpoint", f"it is not a checkpoint of CrewAI: {error!r}") from error
    about = {key: whole.get(key) for key in _ABOUT}
    return dumps(what, {**about, "entities": entities}, root="checkpoint"), events


def restore(entity: "Flow[Any] | Crew", loaded: LoadedCheckpoint) -> None:
    """Put the progress of a checkpoint into a flow or a crew.

    Raises:
        FormatIncompatibleError: the checkpoint contains no progress of such an entity, or that of an entity with other
            methods or tasks.

    """
    kind = "flow" if isinstance(entity, Flow) else "crew"
    entities = read(loaded, PART).get("entities")
    stored = [item for item in entities if isinstance(item, dict)] if isinstance(entities, list) else []
    progress = [item for item in stored if item.get("entity_type") == kind]
    if not progress:
        raise unreadable(loaded, f"it contains no progress of a {kind} for {_class(entity)!r}")
    try:
        if isinstance(entity, Flow):
            _into_flow(entity, progress[0])
        else:
            _into_crew(entity, progress[0])
    except Exception as error:
        raise unreadable(loaded, f"its progress does not match {_class(entity)!r}: {error}") from error


def _progress(entity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the part of an entity that is saved; None for agents and the flows that CrewAI runs inside of them."""
    kind = entity.get("entity_type")
    if kind == "flow" and "executor_type" not in entity:
        return {"entity_type": kind, **{key: entity.get(key) for key in _OF_FLOW}}
    if kind != "crew":
        return None
    tasks = [
        {"description": task.get("checkpoint_original_description") or task["description"], "output": task["output"]}
        for task in entity["tasks"]
    ]
    return {"entity_type": kind, **{key: entity.get(key) for key in _OF_CREW}, "tasks": tasks}


def _class(entity: object) -> str:
    return type(entity).__qualname__


def _into_flow(flow: "Flow[Any]", progress: dict[str, Any]) -> None:
    unknown = set(progress["checkpoint_completed_methods"] or ()) - set(flow.flow_definition().methods)
    if unknown:
        raise ValueError(f"the flow has no methods {sorted(unknown)!r:.200}")
    for key in _OF_FLOW:
        setattr(flow, key, progress[key])
    flow._restore_from_checkpoint()  # noqa: SLF001 - CrewAI has no other way to restore a given flow


def _into_crew(crew: Crew, progress: dict[str, Any]) -> None:
    saved = progress["tasks"]
    descriptions = [task.description for task in crew.tasks]
    if [task["description"] for task in saved] != descriptions:
        raise ValueError("the crew has other tasks")
    # Read all outputs before setting the first one, so that an error leaves the crew unchanged.
    outputs = [_output(stored["output"], task) for stored, task in zip(saved, crew.tasks, strict=True)]
    for task, output in zip(crew.tasks, outputs, strict=True):
        task.output = output
    crew.checkpoint_inputs = progress["checkpoint_inputs"]
    # Marks the crew as resumed; None if there was no kickoff before.
    crew.checkpoint_kickoff_event_id = progress["checkpoint_kickoff_event_id"]


def _output(saved: dict[str, Any] | None, task: Any) -> TaskOutput | None:
    """Return a task's output. The class of a model in it is the one that the task's code names."""
    if saved is None:
        return None
    fields = dict(saved)
    model = fields.pop("pydantic", None)
    cls = task.output_pydantic
    if model is not None and cls is not None:
        fields["pydantic"] = cls.model_validate(model)
    return TaskOutput.model_validate(fields)
