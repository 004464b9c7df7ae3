"""States as Burr serialises them, and back: JSON, in which only classes that the caller allowed are made objects of.

Burr's serde calls the function that a `__burr_serde__` in the data names. The functions of Burr's own plugins import
modules, open files or unpickle what the data names: they are called only for what the caller allowed. Functions that
the application registered itself are called, as it asked for.
"""

import importlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from burr.core import serde
from burr.core.persistence import PersistedStateData
from burr.core.state import FIELD_SERIALIZATION, State
from pydantic import BaseModel

from holdfast._core.checkpoint import Format, LoadedCheckpoint
from holdfast._core.errors import HoldfastError, of_reason
from holdfast.adapters.plain_json import MAX_DEPTH, Path, UnsavableValueError, path_text, plain_copy

FORMAT = Format("burr-state", 1)
SEQUENCE, POSITION, STATUS = "sequence_id", "position", "status"

_WHAT = "the state"
_MODEL, _MODEL_CLASS = "pydantic", "__pydantic_class"
_PICKLE = "pickle"


class States:
    """Serialises and deserialises states.

    Args:
        serde_kwargs: passed on to Burr's serde.
        allowed_classes: the pydantic models that a state may hold, as classes or as "module.Class", and the names of
            Burr's other plugins, such as "lc_message".

    Raises:
        TypeError: an allowed class is neither a class nor text, or they are one text.

    """

    def __init__(self, serde_kwargs: Mapping[str, Any] | None, allowed_classes: Iterable[type | str]) -> None:
        if isinstance(allowed_classes, str):
            raise TypeError("allowed_classes must be several classes or names, not one text")
        self._serde = dict(serde_kwargs or {})
        self._allowed = frozenset(_name(each) for each in allowed_classes)

    def dumped(self, state: State[Any]) -> bytes:
        """The payload of a state.

        Raises:
            UnsavableValueError: a value inside could not be loaded again.

        """
        values = state.get_all()
        for key, each in values.items():
            if key not in FIELD_SERIALIZATION:
                _require_unmarked(each, ("state", key))
        serialised = plain_copy(_WHAT, self._serialised(state))
        for key, each in serialised.items():
            if key not in FIELD_SERIALIZATION:
                self._require_savable(each, ("state", key))
        return json.dumps(serialised).encode()

    def of(self, loaded: LoadedCheckpoint, partition_key: str, app_id: str) -> PersistedStateData:
        """A checkpoint as Burr wants it.

        Raises:
            FormatIncompatibleError: it is none that `dumped` made, it names a class that is not allowed, or a function
                that Burr's serde calls for it failed.

        """
        labels = loaded.info.labels
        try:
            data = json.loads(loaded.data)
            described = int(labels[SEQUENCE]), labels[POSITION], labels[STATUS]
        except (KeyError, ValueError, RecursionError) as error:
            raise _unreadable(loaded, f"it is not a state that a persister saved: {error!r}") from error
        if not isinstance(data, dict):
            raise _unreadable(loaded, f"its state is a JSON {type(data).__name__}, not an object")
        for key, each in data.items():
            problem = None if key in FIELD_SERIALIZATION else self._problem(each, ("state", key))
            if problem is not None:
                raise _unreadable(loaded, f"{path_text(problem[0])}: {problem[1]}")
        try:
            state: State[Any] = State.deserialize(data, **self._serde)
        except Exception as error:
            raise _unreadable(loaded, f"Burr cannot deserialise it: {type(error).__name__}: {error}") from error
        return PersistedStateData(
            partition_key=partition_key,
            app_id=app_id,
            sequence_id=described[0],
            position=described[1],
            state=state,
            created_at=loaded.info.created.isoformat(),
            status=described[2],
        )

    def _serialised(self, state: State[Any]) -> dict[str, Any]:
        """What Burr makes of a state."""
        try:
            serialised: dict[str, Any] = state.serialize(**self._serde)
            return serialised
        except Exception:
            # Which of its values it is that Burr cannot serialise.
            for key, each in state.get_all().items():
                try:
                    State({key: each}).serialize(**self._serde)
                except Exception as error:
                    problem = f"Burr cannot serialise it: {type(error).__name__}: {error}"
                    raise UnsavableValueError(_WHAT, ("state", key), problem) from error
            raise

    def _require_savable(self, value: Any, path: Path) -> None:
        """Refuse what a load would refuse, and models that do not come back as they are."""
        if (problem := self._problem(value, path)) is not None:
            raise UnsavableValueError(_WHAT, *problem)
        for inside, found in _models(value, path):
            _require_equal_model(found, inside)

    def _problem(self, value: Any, path: Path) -> tuple[Path, str] | None:
        """The path of a value inside that may not be deserialised, and why; None if there is none."""
        for inside, found in _marked(value, path):
            kind = found[serde.KEY]
            if kind == _MODEL:
                name = found.get(_MODEL_CLASS)
                if not isinstance(name, str) or name not in self._allowed:
                    return inside, f"class {name!r:.200} is not allowed: name it in allowed_classes"
            elif not isinstance(kind, str) or kind not in serde.deserializer.func_map:
                return inside, f"no deserialiser is registered for {kind!r:.200}"
            elif kind == _PICKLE:
                return inside, "it is pickled, and nothing is ever unpickled"
            elif _is_plugin(serde.deserializer.func_map[kind]) and kind not in self._allowed:
                return inside, f"Burr's plugin {kind!r:.200} is not allowed: name it in allowed_classes"
        return None


def _name(allowed: type | str) -> str:
    """The name that Burr gives a class."""
    if isinstance(allowed, str):
        return allowed
    if isinstance(allowed, type):
        return f"{allowed.__module__}.{allowed.__name__}"
    raise TypeError(f"allowed_classes must hold classes or their names, not {type(allowed).__name__}")


def _is_plugin(deserialiser: Any) -> bool:
    """Whether a function came with Burr, and is registered wherever its module is imported."""
    return str(getattr(deserialiser, "__module__", "")).startswith("burr.")


def _require_unmarked(value: Any, path: Path) -> None:
    """Refuse a dict that would be taken for a serialised object, and nesting that Burr's own recursion may not bear."""
    waiting: list[tuple[Any, Path, int]] = [(value, path, 1)]
    while waiting:
        each, inside, depth = waiting.pop()
        if depth > MAX_DEPTH:
            problem = f"it is nested deeper than {MAX_DEPTH} levels, or contains itself"
            raise UnsavableValueError(_WHAT, inside, problem)
        if isinstance(each, dict):
            if each.get(serde.KEY) is not None:
                raise UnsavableValueError(_WHAT, inside, f"the key {serde.KEY!r} would be taken for Burr's own")
            waiting += [(item, (inside, key), depth + 1) for key, item in each.items()]
        elif isinstance(each, list):
            waiting += [(item, (inside, index), depth + 1) for index, item in enumerate(each)]


def _marked(value: Any, path: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    """The dicts in a JSON value that Burr's serde would call a function for, with their paths, at any depth."""
    waiting: list[tuple[Any, Path]] = [(value, path)]
    while waiting:
        each, inside = waiting.pop()
        if isinstance(each, dict):
            if each.get(serde.KEY) is not None:
                yield inside, each
            waiting += [(item, (inside, key)) for key, item in each.items()]
        elif isinstance(each, list):
            waiting += [(item, (inside, index)) for index, item in enumerate(each)]


def _models(value: Any, path: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    return ((inside, found) for inside, found in _marked(value, path) if found[serde.KEY] == _MODEL)


def _require_equal_model(dumped: dict[str, Any], path: Path) -> None:
    """Refuse a model that does not come back from what Burr dumped of it."""
    name = dumped[_MODEL_CLASS]
    fields = {key: each for key, each in dumped.items() if key not in (serde.KEY, _MODEL_CLASS)}
    module, _, attribute = name.rpartition(".")
    try:
        cls: type[BaseModel] = getattr(importlib.import_module(module), attribute)
        again = plain_copy(_WHAT, cls.model_validate(fields).model_dump(), root=path)
    except UnsavableValueError:
        raise
    except Exception as error:
        raise UnsavableValueError(_WHAT, path, f"class {name!r} cannot be made again of its fields: {error}") from error
    if json.dumps(again, sort_keys=True) != json.dumps(fields, sort_keys=True):
        raise UnsavableValueError(_WHAT, path, f"an object of class {name!r} would come back changed")


def _unreadable(loaded: LoadedCheckpoint, problem: str) -> HoldfastError:
    return of_reason(
        "FORMAT_INCOMPATIBLE",
        f"checkpoint {loaded.checkpoint_id!r} cannot be read: {problem}",
        metadata={"checkpoint_id": loaded.checkpoint_id, "revision": str(loaded.revision)},
    )
