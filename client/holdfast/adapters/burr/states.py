"""Convert states to the JSON that Burr serialises them to, and back, restoring only classes that the caller allows.

Burr's serde calls the function that a `__burr_serde__` in the data names. The functions of Burr's own plugins import
modules, open files or unpickle data, so they are called only for classes and plugins that the caller allows. Functions
that the application has registered itself are always called.
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
    """The settings with which states are serialised and deserialised.

    Args:
        serde_kwargs: passed on to Burr's serde.
        allowed_classes: the pydantic models that a state may contain, as classes or as "module.Class", and the names of
            Burr's other plugins, such as "lc_message".

    Raises:
        TypeError: an allowed class is neither a class nor text, or a single text is given.

    """

    def __init__(self, serde_kwargs: Mapping[str, Any] | None, allowed_classes: Iterable[type | str]) -> None:
        if isinstance(allowed_classes, str):
            raise TypeError("allowed_classes must be a list of classes or names, not a single text")
        self._serde = dict(serde_kwargs or {})
        self._allowed = frozenset(_name(allowed) for allowed in allowed_classes)

    def dumps(self, state: State[Any]) -> bytes:
        """Return the payload of a state.

        Raises:
            UnsavableValueError: a value inside would not be loaded as an equal value.

        """
        values = state.get_all()
        for key, value in values.items():
            if key not in FIELD_SERIALIZATION:
                _require_unmarked(value, ("state", key))
        serialised = plain_copy(_WHAT, self._serialised(state))
        for key, value in serialised.items():
            if key not in FIELD_SERIALIZATION:
                self._require_savable(value, ("state", key))
        return json.dumps(serialised).encode()

    def loads(self, loaded: LoadedCheckpoint, partition_key: str, app_id: str) -> PersistedStateData:
        """Return the state in a checkpoint, as Burr's interface requires it.

        Raises:
            FormatIncompatibleError: the payload was not made by `dumps`, it names a class that is not allowed, or a
                function that Burr's serde calls for it failed.

        """
        labels = loaded.info.labels
        try:
            data = json.loads(loaded.data)
            sequence_id, position, status = int(labels[SEQUENCE]), labels[POSITION], labels[STATUS]
        except (KeyError, ValueError, RecursionError) as error:
            raise _unreadable(loaded, f"it was not saved by a persister: {error!r}") from error
        try:
            state = self.restored(data)
        except ValueError as error:
            raise _unreadable(loaded, str(error)) from error.__cause__
        return PersistedStateData(
            partition_key=partition_key,
            app_id=app_id,
            sequence_id=sequence_id,
            position=position,
            state=state,
            created_at=loaded.info.created.isoformat(),
            status=status,
        )

    def restored(self, data: Any) -> State[Any]:
        """Return the state that Burr makes of its serialised form, if the form contains only what is allowed.

        Args:
            data: the form, a JSON value.

        Raises:
            ValueError: it is not an object, it names a class that is not allowed, or Burr cannot deserialise it.

        """
        if not isinstance(data, dict):
            raise ValueError(f"the state must be a JSON object, not a {type(data).__name__}")
        for key, value in data.items():
            problem = None if key in FIELD_SERIALIZATION else self._problem(value, ("state", key))
            if problem is not None:
                raise ValueError(f"{path_text(problem[0])}: {problem[1]}")
        try:
            state: State[Any] = State.deserialize(data, **self._serde)
        except Exception as error:
            raise ValueError(f"Burr cannot deserialise it: {type(error).__name__}: {error}") from error
        return state

    def _serialised(self, state: State[Any]) -> dict[str, Any]:
        """Return a state as Burr serialises it."""
        try:
            serialised: dict[str, Any] = state.serialize(**self._serde)
            return serialised
        except Exception:
            # Find the value that Burr cannot serialise.
            for key, value in state.get_all().items():
                try:
                    State({key: value}).serialize(**self._serde)
                except Exception as error:
                    problem = f"Burr cannot serialise it: {type(error).__name__}: {error}"
                    raise UnsavableValueError(_WHAT, ("state", key), problem) from error
            raise

    def _require_savable(self, value: Any, path: Path) -> None:
        """Refuse values that a load would refuse, and models that would not come back as equal ones.

        Raises:
            UnsavableValueError: there is such a value.

        """
        if (problem := self._problem(value, path)) is not None:
            raise UnsavableValueError(_WHAT, *problem)
        for inside, dumped in _marked(value, path):
            if dumped[serde.KEY] == _MODEL:
                _require_equal_model(dumped, inside)

    def _problem(self, value: Any, path: Path) -> tuple[Path, str] | None:
        """Return the path of a value inside that must not be deserialised, and why; None if there is none."""
        for inside, found in _marked(value, path):
            kind = found[serde.KEY]
            if kind == _MODEL:
                name = found.get(_MODEL_CLASS)
                if not isinstance(name, str) or name not in self._allowed:
                    return inside, f"class {name!r:.200} is not allowed: name it in allowed_classes"
            elif not isinstance(kind, str) or kind not in serde.deserializer.func_map:
                return inside, f"no deserialiser is registered for {kind!r:.200}"
            elif kind == _PICKLE:
                return inside, "it is pickled, and pickled values are never loaded"
            elif _is_plugin(serde.deserializer.func_map[kind]) and kind not in self._allowed:
                return inside, f"Burr's plugin {kind!r:.200} is not allowed: name it in allowed_classes"
        return None


def _name(allowed: type | str) -> str:
    """Return the name that Burr gives to a class."""
    if isinstance(allowed, str):
        return allowed
    if isinstance(allowed, type):
        return f"{allowed.__module__}.{allowed.__name__}"
    raise TypeError(f"allowed_classes must hold classes or their names, not {type(allowed).__name__}")


def _is_plugin(deserialiser: Any) -> bool:
    """Return whether a function is Burr's own, which importing one of Burr's modules registers."""
    return str(getattr(deserialiser, "__module__", "")).startswith("burr.")


def _require_unmarked(value: Any, path: Path) -> None:
    """Refuse dicts that would be taken for serialised objects, and nesting too deep for Burr's recursion.

    Raises:
        UnsavableValueError: there is such a dict or nesting.

    """
    waiting: list[tuple[Any, Path, int]] = [(value, path, 1)]
    while waiting:
        current, inside, depth = waiting.pop()
        if depth > MAX_DEPTH:
            problem = f"it is nested deeper than {MAX_DEPTH} levels, or contains itself"
            raise UnsavableValueError(_WHAT, inside, problem)
        if isinstance(current, dict):
            if current.get(serde.KEY) is not None:
                raise UnsavableValueError(_WHAT, inside, f"the key {serde.KEY!r} would be taken for Burr's own")
            waiting += [(item, (inside, key), depth + 1) for key, item in current.items()]
        elif isinstance(current, list):
            waiting += [(item, (inside, index), depth + 1) for index, item in enumerate(current)]


def _marked(value: Any, path: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    """Yield the dicts inside a JSON value for which Burr's serde would call a function, with their paths."""
    waiting: list[tuple[Any, Path]] = [(value, path)]
    while waiting:
        current, inside = waiting.pop()
        if isinstance(current, dict):
            if current.get(serde.KEY) is not None:
                yield inside, current
            waiting += [(item, (inside, key)) for key, item in current.items()]
        elif isinstance(current, list):
            waiting += [(item, (inside, index)) for index, item in enumerate(current)]


def _require_equal_model(dumped: dict[str, Any], path: Path) -> None:
    """Refuse a model that would not come back as an equal one from Burr's dump of it.

    Raises:
        UnsavableValueError: it would not.

    """
    name = dumped[_MODEL_CLASS]
    fields = {key: value for key, value in dumped.items() if key not in (serde.KEY, _MODEL_CLASS)}
    module, _, attribute = name.rpartition(".")
    try:
        cls: type[BaseModel] = getattr(importlib.import_module(module), attribute)
        again = plain_copy(_WHAT, cls.model_validate(fields).model_dump(), root=path)
    except UnsavableValueError:
        raise
    except Exception as error:
        raise UnsavableValueError(_WHAT, path, f"class {name!r} cannot be restored from its fields: {error}") from error
    if json.dumps(again, sort_keys=True) != json.dumps(fields, sort_keys=True):
        raise UnsavableValueError(_WHAT, path, f"an object of class {name!r} would come back changed")


def _unreadable(loaded: LoadedCheckpoint, problem: str) -> HoldfastError:
    return of_reason(
        "FORMAT_INCOMPATIBLE",
        f"checkpoint {loaded.checkpoint_id!r} cannot be read: {problem}",
        metadata={"checkpoint_id": loaded.checkpoint_id, "revision": str(loaded.revision)},
    )
