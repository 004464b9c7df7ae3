"""Convert runs, events, snapshots and tool effects to the JSON that pydantic writes, and back.

Each item is read back before it is stored, so that every accepted item can be loaded. Other items are refused, with the
path of a value that cannot be stored.
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
    cls: TypeAdapter(cls) for cls in (RunRecord, StepEvent, ContinuableSnapshot, ToolEffectRecord)
}
_ANY: TypeAdapter[Any] = TypeAdapter(Any, config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
_MESSAGES, _OTHER_FIELDS, _EXACT = "messages", "snapshot", "exact"
# The errors that pydantic, and classes of the application that it calls, may raise. RecursionError is a RuntimeError.
_FAILURES = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError)
_PATH_STEPS = 12
# More than pydantic reads from JSON. Writing deeper values may take it hours: at each level of a union that fails, it
# tries all alternatives again.
_MAX_DEPTH = 220
_SHOWN_CHARACTERS = 300


def record(item: Any) -> bytes:
    """Return the payload of a run, an event or a tool effect.

    Raises:
        InvalidRequestError: a field cannot be stored; `field_violations` name it.

    """
    adapter = _adapter(item)
    _require_writable(item)
    try:
        data = adapter.dump_json(item, warnings="none")
        back = adapter.validate_json(data)
    except _FAILURES as error:
        raise _refused(item, error) from error
    for field in fields(item):
        if getattr(back, field.name) != getattr(item, field.name):
            raise _error(item, field.name, "it would be loaded as another value")
    return data


def snapshot(item: ContinuableSnapshot) -> dict[str, bytes]:
    """Return the payload of a snapshot.

    Raises:
        InvalidRequestError: a value in it cannot be stored; `field_violations` name its path.

    """
    adapter = _adapter(item)
    _require_writable(item)
    try:
        parts = {
            _MESSAGES: ModelMessagesTypeAdapter.dump_json(item.messages, warnings="none"),
            _OTHER_FIELDS: adapter.dump_json(item, exclude={"messages"}, warnings="none"),
        }
        back = _snapshot(parts)
        if back.messages != item.messages and (forms := exact.forms(item.messages, back.messages)):
            parts[_EXACT] = json.dumps(forms, allow_nan=False).encode()
            back = _snapshot(parts)
            if remaining := exact.forms(item.messages, back.messages):
                path = "messages" + "".join(f"[{step!r}]" for step in remaining[0][0])
                raise _error(item, path, "it would be loaded as another value")
    except HoldfastError:
        raise
    except _FAILURES as error:
        raise _refused(item, error) from error
    for field in fields(item):
        if field.name != "messages" and getattr(back, field.name) != getattr(item, field.name):
            raise _error(item, field.name, "it would be loaded as another value")
    return parts


def read(cls: type[T], loaded: LoadedCheckpoint) -> T:
    """Return the item of a payload.

    Args:
        cls: the item's class.
        loaded: the checkpoint.

    Raises:
        FormatIncompatibleError: this version of the adapter and of the engine cannot read it.

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
        {**json.loads(parts[_OTHER_FIELDS]), "messages": messages}
    )
    return found


def _adapter(item: Any) -> TypeAdapter[Any]:
    found = next((adapter for cls, adapter in _ADAPTERS.items() if isinstance(item, cls)), None)
    if found is None:
        raise of_reason(
            "INVALID_REQUEST", f"an object of class {type(item).__name__!r} is not an item of StepPersistence"
        )
    return found


def _require_writable(item: Any) -> None:
    """Refuse an item that contains an iterator, or is nested too deep, as it always is if it contains itself.

    Raises:
        InvalidRequestError: it is such an item; `field_violations` name the first elements of the path.

    """
    waiting: list[tuple[Any, tuple[str, ...], int]] = [(item, (), 0)]
    while waiting:
        value, path, depth = waiting.pop()
        problem = ""
        if depth > _MAX_DEPTH:
            problem = f"nesting depth exceeded: more than {_MAX_DEPTH} levels, or it contains itself"
        elif isinstance(value, Iterator):
            problem = f"an iterator ({type(value).__name__}) would be used up by the save: make it a list"
        if problem:
            raise _error(item, "".join(path).removeprefix("."), problem)
        try:
            inside = [child for child in _children(value) if not isinstance(child[1], str | bytes | int | float | None)]
        except Exception:  # noqa: BLE001, S112 - code of the object's class; pydantic decides how to write the object
            continue
        for step, inner in reversed(inside):
            waiting.append((inner, (*path, step) if depth < _PATH_STEPS else path, depth + 1))


def _refused(item: Any, error: Exception) -> HoldfastError:
    """Return the error for an item that cannot be stored, with the path of the innermost value that causes it."""
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
        # A path that begins with an index is one inside the messages.
        path = f"messages{path}" if loc and isinstance(loc[0], int) else path
    return _error(item, path.removeprefix(".") or type(item).__name__, _reason(error))


def _failure(value: Any, depth: int) -> Exception | None:
    """Return why a value at this depth cannot be stored as JSON; None if it can."""
    for _ in range(depth):
        value = [value]
    try:
        _ANY.validate_json(_ANY.dump_json(value))
    except _FAILURES as error:
        return error
    return None


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        yield from ((f".{field.name}", getattr(value, field.name, None)) for field in fields(value))
    elif isinstance(value, BaseModel):
        yield from ((f".{name}", inner) for name, inner in vars(value).items())
    elif isinstance(value, Mapping):
        yield from ((f"[{shown_key(key)}]", inner) for key, inner in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", inner) for index, inner in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("<element>", inner) for inner in value)


def _error(item: Any, path: str, reason: str) -> HoldfastError:
    path, reason = (_shown(text) for text in (path, reason))
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
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    texts = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems[:3])
    return "; ".join(text.removeprefix(": ") for text in texts)


def _shown(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
