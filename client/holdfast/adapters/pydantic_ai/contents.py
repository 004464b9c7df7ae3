"""What the store keeps of runs, events, snapshots and tool effects: JSON as pydantic writes it.

Each item is read back before it is stored, so that whatever was accepted can be loaded. The rest is refused by its
path.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai_harness.step_persistence import ContinuableSnapshot, RunRecord, StepEvent, ToolEffectRecord

from holdfast._core.checkpoint import Format, LoadedCheckpoint
from holdfast._core.errors import HoldfastError, of_reason
from holdfast.adapters.objects import shown_key
from holdfast.adapters.pydantic_ai import exact

RUN_FORMAT = Format("pydantic-ai-run", 1)
EVENT_FORMAT = Format("pydantic-ai-event", 1)
SNAPSHOT_FORMAT = Format("pydantic-ai-snapshot", 1)
TOOL_EFFECT_FORMAT = Format("pydantic-ai-tool-effect", 1)

T = TypeVar("T")

_ADAPTERS: dict[type, TypeAdapter[Any]] = {
    each: TypeAdapter(each) for each in (RunRecord, StepEvent, ContinuableSnapshot, ToolEffectRecord)
}
_ANY: TypeAdapter[Any] = TypeAdapter(Any, config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
_MESSAGES, _ABOUT, _EXACT = "messages", "snapshot", "exact"
# What pydantic, and the classes of an application that it asks, raise. RecursionError is a RuntimeError.
_FAILURES = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError)
_PATH_STEPS = 12
# More than pydantic reads from JSON. What is nested deeper, pydantic may try to write for hours: each level of a union
# that fails is tried again in every way.
_MOST_LEVELS = 220
_SHOWN_CHARACTERS = 300


def record(item: Any) -> bytes:
    """The payload of a run, an event or a tool effect.

    Raises:
        InvalidRequestError: a field cannot be kept; `field_violations` name it.

    """
    adapter = _adapter(item)
    _require_writable(item)
    try:
        data = adapter.dump_json(item, warnings="none")
        back = adapter.validate_json(data)
    except _FAILURES as error:
        raise _refused(item, error) from error
    for each in fields(item):
        if getattr(back, each.name) != getattr(item, each.name):
            raise _error(item, each.name, "it would be loaded as another value")
    return data


def snapshot(item: ContinuableSnapshot) -> dict[str, bytes]:
    """The payload of a snapshot.

    Raises:
        InvalidRequestError: something in it cannot be kept; `field_violations` name its path.

    """
    adapter = _adapter(item)
    _require_writable(item)
    try:
        parts = {
            _MESSAGES: ModelMessagesTypeAdapter.dump_json(item.messages, warnings="none"),
            _ABOUT: adapter.dump_json(item, exclude={"messages"}, warnings="none"),
        }
        back = _snapshot(parts)
        if back.messages != item.messages and (forms := exact.forms(item.messages, back.messages)):
            parts[_EXACT] = json.dumps(forms, allow_nan=False).encode()
            back = _snapshot(parts)
            if left := exact.forms(item.messages, back.messages):
                raise _error(item, "messages" + "".join(f"[{step!r}]" for step in left[0][0]), "it would be changed")
    except HoldfastError:
        raise
    except _FAILURES as error:
        raise _refused(item, error) from error
    for each in fields(item):
        if each.name != "messages" and getattr(back, each.name) != getattr(item, each.name):
            raise _error(item, each.name, "it would be loaded as another value")
    return parts


def read(cls: type[T], loaded: LoadedCheckpoint) -> T:
    """The item that was stored.

    Raises:
        FormatIncompatibleError: it is none that this version of the adapter and of the engine reads.

    """
    try:
        if cls is ContinuableSnapshot:
            return _snapshot(loaded.parts)
        return _ADAPTERS[cls].validate_json(loaded.data)
    except _FAILURES as error:
        info = loaded.info
        raise of_reason(
            "FORMAT_INCOMPATIBLE",
            f"checkpoint {info.checkpoint_id} of workflow {info.workflow_id} has format {info.format.name} "
            f"{info.format.version}, but cannot be read as {cls.__name__}: {_reason(error)}",
            metadata={"checkpoint_id": info.checkpoint_id, "workflow_id": info.workflow_id},
        ) from error


def _snapshot(parts: Mapping[str, bytes]) -> ContinuableSnapshot:
    messages = ModelMessagesTypeAdapter.validate_json(parts[_MESSAGES])
    if _EXACT in parts:
        exact.restore(messages, json.loads(parts[_EXACT]))
    found: ContinuableSnapshot = _ADAPTERS[ContinuableSnapshot].validate_python(
        {**json.loads(parts[_ABOUT]), "messages": messages}
    )
    return found


def _adapter(item: Any) -> TypeAdapter[Any]:
    found = next((adapter for cls, adapter in _ADAPTERS.items() if isinstance(item, cls)), None)
    if found is None:
        raise of_reason("INVALID_REQUEST", f"an object of class {type(item).__name__!r} is none of StepPersistence's")
    return found


def _require_writable(item: Any) -> None:
    """Refuse an item in which values are nested too deep, as one that contains itself always is, or are iterators.

    Raises:
        InvalidRequestError: there are such values; `field_violations` name the path of one, as far as it is shown.

    """
    waiting: list[tuple[Any, tuple[str, ...], int]] = [(item, (), 0)]
    while waiting:
        value, path, depth = waiting.pop()
        problem = ""
        if depth > _MOST_LEVELS:
            problem = f"nesting depth exceeded: more than {_MOST_LEVELS} levels, or it contains itself"
        elif isinstance(value, Iterator):
            problem = f"an iterator ({type(value).__name__}) would be used up by the save: make it a list"
        if problem:
            raise _error(item, "".join(path).removeprefix("."), problem)
        try:
            inside = [each for each in _children(value) if not isinstance(each[1], str | bytes | int | float | None)]
        except Exception:  # noqa: BLE001 - code of the object's own: what it is written as is pydantic's to say
            continue
        for step, inner in reversed(inside):
            waiting.append((inner, (*path, step) if depth < _PATH_STEPS else path, depth + 1))


def _refused(item: Any, error: Exception) -> HoldfastError:
    """The error of an item that cannot be kept, with the path of the innermost value that cannot."""
    value: Any = item
    path = ""
    for depth in range(_PATH_STEPS):
        for step, inner in _children(value):
            if (failure := _failure(inner, depth)) is not None:
                path, value, error = path + step, inner, failure
                break
        else:
            break
    if not path and isinstance(error, ValidationError):
        loc = error.errors(include_url=False)[0]["loc"]
        path = "".join(f"[{step!r}]" for step in loc)
        # A message has a number, a field a name.
        path = f"messages{path}" if loc and isinstance(loc[0], int) else path
    return _error(item, path.removeprefix(".") or type(item).__name__, _reason(error))


def _failure(value: Any, depth: int) -> Exception | None:
    """Why a value cannot be kept that lies so deep in JSON."""
    for _ in range(depth):
        value = [value]
    try:
        _ANY.validate_json(_ANY.dump_json(value))
    except _FAILURES as error:
        return error
    return None


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        yield from ((f".{each.name}", getattr(value, each.name, None)) for each in fields(value))
    elif isinstance(value, BaseModel):
        yield from ((f".{name}", each) for name, each in vars(value).items())
    elif isinstance(value, Mapping):
        yield from ((f"[{shown_key(key)}]", each) for key, each in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", each) for index, each in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("<element>", each) for each in value)


def _error(item: Any, path: str, reason: str) -> HoldfastError:
    path, reason = (_shown(each) for each in (path, reason))
    return of_reason(
        "INVALID_REQUEST",
        f"{type(item).__name__} cannot be saved: {path}: {reason}",
        metadata={"path": path},
        field_violations=[(path, reason)],
        advice="Change the value, or leave it out.",
    )


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error) or type(error).__name__
    told = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": ") for each in told[:3])


def _shown(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
