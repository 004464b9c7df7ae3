"""How far a flow or a crew has come: taken from CrewAI's checkpoints, and put into a flow or crew of the program."""

import json
from typing import Any

from crewai import Crew
from crewai.flow.flow import Flow
from crewai.tasks.task_output import TaskOutput

from holdfast._core.checkpoint import Format, LoadedCheckpoint
from holdfast.adapters.crewai.states import read, unreadable
from holdfast.adapters.plain_json import UnsavableValueError, dumps

FORMAT = Format("crewai-checkpoint", 1)

_ABOUT = ("crewai_version", "parent_id", "branch", "trigger")
_OF_FLOW = (
    "checkpoint_completed_methods",
    "checkpoint_method_outputs",
    "checkpoint_method_counts",
    "checkpoint_state",
)
_OF_CREW = ("checkpoint_inputs", "checkpoint_kickoff_event_id", "checkpoint_train")
_PART = ""


def of_checkpoint(data: str) -> tuple[bytes, int]:
    """The progress in a checkpoint of CrewAI's, as a payload, and how many events CrewAI had recorded by then.

    Raises:
        UnsavableValueError: it is none, or could not be loaded again.

    """
    what = "the checkpoint"
    try:
        whole = json.loads(data)
        entities = [each for each in map(_progress, whole["entities"]) if each is not None]
        events = len((whole.get("event_record") or {}).get("nodes") or ())
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise UnsavableValueError(what, "checkpoint", f"it is none of CrewAI's: {error!r}") from error
    about = {key: whole.get(key) for key in _ABOUT}
    return dumps(what, {**about, "entities": entities}, root="checkpoint"), events


def put_into(entity: "Flow[Any] | Crew", loaded: LoadedCheckpoint) -> None:
    """Put the progress of a checkpoint into a flow or a crew.

    Raises:
        FormatIncompatibleError: it holds none for such an entity, or for one of other methods or tasks.

    """
    kind = "flow" if isinstance(entity, Flow) else "crew"
    entities = read(loaded, _PART).get("entities")
    found = [each for each in entities if isinstance(each, dict)] if isinstance(entities, list) else []
    progress = [each for each in found if each.get("entity_type") == kind]
    if not progress:
        raise unreadable(loaded, f"it holds no progress of a {kind} {_class(entity)!r}")
    try:
        if isinstance(entity, Flow):
            _into_flow(entity, progress[0])
        else:
            _into_crew(entity, progress[0])
    except Exception as error:
        raise unreadable(loaded, f"its progress is not one of {_class(entity)!r}: {error}") from error


def _progress(entity: dict[str, Any]) -> dict[str, Any] | None:
    """What is kept of an entity; None if nothing is: agents, and the flows that CrewAI runs inside of them."""
    kind = entity.get("entity_type")
    if kind == "flow" and "executor_type" not in entity:
        return {"entity_type": kind, **{key: entity.get(key) for key in _OF_FLOW}}
    if kind != "crew":
        return None
    tasks = [
        {"description": each.get("checkpoint_original_description") or each["description"], "output": each["output"]}
        for each in entity["tasks"]
    ]
    return {"entity_type": kind, **{key: entity.get(key) for key in _OF_CREW}, "tasks": tasks}


def _class(entity: object) -> str:
    return type(entity).__qualname__


def _into_flow(flow: "Flow[Any]", progress: dict[str, Any]) -> None:
    strange = set(progress["checkpoint_completed_methods"] or ()) - set(flow.flow_definition().methods)
    if strange:
        raise ValueError(f"the flow has no methods {sorted(strange)!r:.200}")
    for key in _OF_FLOW:
        setattr(flow, key, progress[key])
    flow._restore_from_checkpoint()  # noqa: SLF001 - CrewAI restores a flow of the caller's in this way only


def _into_crew(crew: Crew, progress: dict[str, Any]) -> None:
    saved = progress["tasks"]
    descriptions = [task.description for task in crew.tasks]
    if [each["description"] for each in saved] != descriptions:
        raise ValueError("the crew has other tasks")
    # All of them are read before the first one is set.
    outputs = [_output(each["output"], task) for each, task in zip(saved, crew.tasks, strict=True)]
    for task, output in zip(crew.tasks, outputs, strict=True):
        task.output = output
    crew.checkpoint_inputs = progress["checkpoint_inputs"]
    # Marks the crew as one that goes on; without a kickoff before there is nothing to go on from.
    crew.checkpoint_kickoff_event_id = progress["checkpoint_kickoff_event_id"]


def _output(saved: dict[str, Any] | None, task: Any) -> TaskOutput | None:
    """A task's output, whose model is the one that the task's code names."""
    if saved is None:
        return None
    fields = dict(saved)
    model = fields.pop("pydantic", None)
    cls = task.output_pydantic
    if model is not None and cls is not None:
        fields["pydantic"] = cls.model_validate(model)
    return TaskOutput.model_validate(fields)
