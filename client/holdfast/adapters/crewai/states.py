"""A flow's state as JSON, and back: as pydantic writes it, and never in a form that would not come back.

CrewAI restores a dict as it was loaded, and a model by validating it. So a model's JSON is validated before it is
saved, and values that pydantic writes as something else in silence are refused: secrets, which it masks, and infinite
numbers in places where it writes null.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Secret, SecretBytes, SecretStr, TypeAdapter

from holdfast._core.checkpoint import AcceptedFormat, Format, LoadedCheckpoint
from holdfast._core.errors import HoldfastError, of_reason
from holdfast.adapters.plain_json import MAX_DEPTH, Path, UnsavableValueError, dumps, plain_copy

FORMAT = Format("crewai-flow-state", 1)
ACCEPTED = (AcceptedFormat(FORMAT.name, 1, FORMAT.version),)
STATE_PART = ""

_WHAT = "the flow's state"
_USED_UP = "an iterator is used up by a save"
_ANY: Any = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))
_SECRETS = (Secret, SecretStr, SecretBytes)


def state_json(state: object) -> bytes:
    """The payload of a state.

    Raises:
        UnsavableValueError: a value inside has no JSON form, or would not come back.
        ValueError: it is neither a dict nor a model.

    """
    if isinstance(state, BaseModel):
        form = plain_copy(_WHAT, state, convert=_converted)
        _require_valid(state, form)
        return json.dumps(form).encode()
    if not isinstance(state, dict):
        raise ValueError(f"a flow's state must be a dict or a pydantic model, not {type(state).__name__}")
    return value_json(_WHAT, state)


def value_json(what: str, value: Any, *, root: str = "state") -> bytes:
    """The payload of any other value, as `state_json`."""
    return dumps(what, value, convert=_converted, root=root)


def read(loaded: LoadedCheckpoint, part: str) -> dict[str, Any]:
    """A part of a checkpoint.

    Raises:
        FormatIncompatibleError: it is none that this adapter wrote.

    """
    try:
        found = json.loads(loaded.parts[part])
    except (KeyError, ValueError, RecursionError) as error:
        raise unreadable(loaded, f"its part {part!r} is not the JSON of this adapter: {error!r}") from error
    if not isinstance(found, dict):
        raise unreadable(loaded, f"its part {part!r} is a JSON {type(found).__name__}, not an object")
    return found


def unreadable(loaded: LoadedCheckpoint, problem: str) -> HoldfastError:
    """The error of a checkpoint that holds something else than this adapter writes."""
    return of_reason(
        "FORMAT_INCOMPATIBLE",
        f"checkpoint {loaded.checkpoint_id!r} cannot be read: {problem}",
        metadata={"checkpoint_id": loaded.checkpoint_id, "revision": str(loaded.revision)},
    )


def _converted(value: Any) -> Any:
    """What pydantic makes of a value where JSON is asked for."""
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, _SECRETS):
        raise ValueError("a secret would be masked")
    if isinstance(value, Iterator):
        raise ValueError(_USED_UP)
    if not (isinstance(value, BaseModel) or hasattr(value, "__dataclass_fields__")):
        return _ANY.dump_python(value, mode="json")
    inside = list(_inside(value, _ANY.dump_python(value)))
    _require_kept(value, inside)
    form = _ANY.dump_python(value, mode="json")
    infinite = [(path, each) for path, each in inside if _is_infinite(each)]
    if len(infinite) > sum(_is_infinite(each) for _, each in _inside(value, form)):
        path, each = infinite[0]
        raise _refused(value, path, f"pydantic writes {each} as null here: declare the field as a float")
    return form


def _require_kept(value: Any, inside: list[tuple[Path, Any]]) -> None:
    """Refuse an object for a value inside that pydantic cannot write, or writes as another one.

    Raises:
        UnsavableValueError: there is one.

    """
    for path, each in inside:
        if isinstance(each, _SECRETS):
            raise _refused(value, path, "a secret would be masked")
        if isinstance(each, Iterator):
            raise _refused(value, path, _USED_UP)
        if isinstance(each, dict):
            names = {name for key in each for name in _written({key: None}, value, path)}
            if len(names) < len(each):
                raise _refused(value, path, "several of its keys become the same text")
        elif not isinstance(each, list | tuple | set | frozenset):
            _written(each, value, path)


def _written(each: Any, value: Any, path: Path) -> Any:
    try:
        return _ANY.dump_python(each, mode="json")
    except Exception as error:
        raise _refused(value, path, str(error)) from error


def _refused(value: Any, path: Path, problem: str) -> UnsavableValueError:
    return UnsavableValueError(f"an object of {type(value).__qualname__}", path, problem)


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _inside(value: Any, dumped_value: Any) -> Iterator[tuple[Path, Any]]:
    """All values inside of what pydantic makes of an object, with their paths.

    Raises:
        UnsavableValueError: it is nested too deep; what contains itself always is.

    """
    waiting: list[tuple[Any, Path, int]] = [(dumped_value, "object", 0)]
    while waiting:
        each, inside, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _refused(value, inside, f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")
        yield inside, each
        if isinstance(each, dict):
            waiting += [(item, (inside, key), depth + 1) for key, item in each.items()]
        elif isinstance(each, list | tuple | set | frozenset):
            waiting += [(item, (inside, index), depth + 1) for index, item in enumerate(each)]


def _require_valid(state: BaseModel, form: Any) -> None:
    """Refuse a model that CrewAI could not restore from its JSON form.

    Raises:
        UnsavableValueError: it is one.

    """
    name = type(state).__qualname__
    try:
        again = type(state).model_validate(json.loads(json.dumps(form)))
        differs = _round_trip(again) != _round_trip(state)
    except Exception as error:
        raise UnsavableValueError(_WHAT, "state", f"{name} does not accept its own JSON form: {error}") from error
    if differs:
        raise UnsavableValueError(_WHAT, "state", f"{name} would come back from its JSON form changed")


def _round_trip(state: BaseModel) -> str:
    form = state.model_dump(mode="json", round_trip=True)
    return json.dumps(plain_copy(_WHAT, form, convert=_converted), sort_keys=True)
