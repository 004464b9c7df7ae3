"""Convert a flow's state to the JSON that pydantic writes, and refuse a state that would not come back from it.

CrewAI restores a dict as it was loaded, and a model by validating it. So a model's JSON is validated before it is
saved. Values that pydantic silently writes as other values are refused: secrets, which it masks, and infinite numbers
where it writes null.
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
_USED_UP = "saving would exhaust the iterator"
_ANY: Any = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))
_SECRETS = (Secret, SecretStr, SecretBytes)


def state_json(state: object) -> bytes:
    """Return the payload of a state.

    Raises:
        UnsavableValueError: a value inside has no JSON form, or would not be loaded as an equal value.
        ValueError: the state is neither a dict nor a model.

    """
    if isinstance(state, BaseModel):
        form = plain_copy(_WHAT, state, convert=_converted)
        _require_valid(state, form)
        return json.dumps(form).encode()
    if not isinstance(state, dict):
        raise ValueError(f"a flow's state must be a dict or a pydantic model, not {type(state).__name__}")
    return value_json(_WHAT, state)


def value_json(what: str, value: Any, *, root: str = "state") -> bytes:
    """Return the payload of another value than a state.

    Args:
        what: the value's name in errors.
        value: the value.
        root: the first element of paths in errors.

    Raises:
        UnsavableValueError: as for `state_json`.

    """
    return dumps(what, value, convert=_converted, root=root)


def read(loaded: LoadedCheckpoint, part: str) -> dict[str, Any]:
    """Return the content of a part of a checkpoint.

    Raises:
        FormatIncompatibleError: this adapter did not save the part.

    """
    try:
        found = json.loads(loaded.parts[part])
    except (KeyError, ValueError, RecursionError) as error:
        raise unreadable(loaded, f"part {part!r} is not JSON of this adapter: {error!r}") from error
    if not isinstance(found, dict):
        raise unreadable(loaded, f"part {part!r} must be a JSON object, not a {type(found).__name__}")
    return found


def unreadable(loaded: LoadedCheckpoint, problem: str) -> HoldfastError:
    """Return the error of a checkpoint whose content this adapter did not write."""
    return of_reason(
        "FORMAT_INCOMPATIBLE",
        f"checkpoint {loaded.checkpoint_id!r} cannot be read: {problem}",
        metadata={"checkpoint_id": loaded.checkpoint_id, "revision": str(loaded.revision)},
    )


def _converted(value: Any) -> Any:
    """Convert a value as pydantic does in JSON mode.

    Raises:
        UnsavableValueError, ValueError: pydantic would write it, or a value inside, as another value.

    """
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, _SECRETS):
        raise ValueError("a secret would be masked")
    if isinstance(value, Iterator):
        raise ValueError(_USED_UP)
    if not (isinstance(value, BaseModel) or hasattr(value, "__dataclass_fields__")):
        return _ANY.dump_python(value, mode="json")
    inside = list(_inside(value, _ANY.dump_python(value)))
    _require_writable(value, inside)
    form = _ANY.dump_python(value, mode="json")
    infinite = [(path, number) for path, number in inside if _is_infinite(number)]
    if len(infinite) > sum(_is_infinite(written) for _, written in _inside(value, form)):
        path, number = infinite[0]
        raise _refused(value, path, f"pydantic writes {number} as null here: declare the field as a float")
    return form


def _require_writable(value: Any, inside: list[tuple[Path, Any]]) -> None:
    """Refuse an object that contains a value which pydantic cannot write, or writes as another value.

    Args:
        value: the object.
        inside: the values inside, with their paths.

    Raises:
        UnsavableValueError: there is such a value.

    """
    for path, inner in inside:
        if isinstance(inner, _SECRETS):
            raise _refused(value, path, "a secret would be masked")
        if isinstance(inner, Iterator):
            raise _refused(value, path, _USED_UP)
        if isinstance(inner, dict):
            names = {name for key in inner for name in _written({key: None}, value, path)}
            if len(names) < len(inner):
                raise _refused(value, path, "several of its keys become the same text")
        elif not isinstance(inner, list | tuple | set | frozenset):
            _written(inner, value, path)


def _written(inner: Any, value: Any, path: Path) -> Any:
    try:
        return _ANY.dump_python(inner, mode="json")
    except Exception as error:
        raise _refused(value, path, str(error)) from error


def _refused(value: Any, path: Path, problem: str) -> UnsavableValueError:
    return UnsavableValueError(f"an object of class {type(value).__qualname__}", path, problem)


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _inside(value: Any, dumped_value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield all values inside the form that pydantic makes of an object, with their paths.

    Raises:
        UnsavableValueError: the form is nested too deep, as it always is if the object contains itself.

    """
    waiting: list[tuple[Any, Path, int]] = [(dumped_value, "object", 0)]
    while waiting:
        current, path, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _refused(value, path, f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")
        yield path, current
        if isinstance(current, dict):
            waiting += [(item, (path, key), depth + 1) for key, item in current.items()]
        elif isinstance(current, list | tuple | set | frozenset):
            waiting += [(item, (path, index), depth + 1) for index, item in enumerate(current)]


def _require_valid(state: BaseModel, form: Any) -> None:
    """Refuse a model that CrewAI could not restore from its JSON form.

    Raises:
        UnsavableValueError: the model does not accept the form, or would come back changed.

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
