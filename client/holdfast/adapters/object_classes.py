"""Classes by their names, and whether an object of a class can be restored from its state: used by `objects` alone."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any, NoReturn

from holdfast.adapters.object_errors import NotAllowedError, NotKeptError, Path
from holdfast.adapters.object_forms import CONTAINERS, type_name

Allowed = Callable[[str], bool]

_HEAP_TYPE = 1 << 9

BUILTINS: dict[str, type] = {
    type_name(cls): cls
    for cls in (object, type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
}


def find_class(name: Any, allowed: Allowed, path: Path) -> type:
    """Return the class of a name.

    Raises:
        NotAllowedError: it is not allowed.
        NotKeptError: none is found by that name.

    """
    if not isinstance(name, str):
        raise NotKeptError(path, f"a class's name is of class {type(name).__name__!r}, expected text")
    if name in BUILTINS:
        return BUILTINS[name]
    if not allowed(name):
        raise NotAllowedError(path, f"class {name!r:.300} is not allowed")
    module, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise NotKeptError(path, f"no class is found by the name {name!r}: {error!r}") from error
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    if not isinstance(found, type) or type_name(found) != name:
        raise NotKeptError(
            path, f"no class is found by the name {name!r}: define it at the top of a module, under that name"
        )
    return found


def layout_of(cls: type) -> type:
    """The class that gives objects of a class what is not among their attributes."""
    return next(base for base in cls.__mro__ if type_name(base) in CONTAINERS or not base.__flags__ & _HEAP_TYPE)


def require_plain(cls: Any, layout: Any, path: Path) -> None:
    """Raise unless an object can be restored from what it holds and its attributes."""
    name = type_name(cls)
    if layout is not object and type_name(layout) not in CONTAINERS:
        _refuse(path, name, "keep it out, or let the object that holds it leave it out in its __getstate__")
    if dataclasses.is_dataclass(cls):
        # Its fields are all that there is to it, whichever way it has for pickle.
        return
    if cls.__reduce_ex__ is not layout.__reduce_ex__ or cls.__reduce__ is not layout.__reduce__:
        _refuse(
            path,
            name,
            "it has a __reduce__ of its own; make it a dataclass, or use __getstate__ and __setstate__ instead",
        )
    if layout is object and (hasattr(cls, "__getnewargs__") or hasattr(cls, "__getnewargs_ex__")):
        _refuse(path, name, "it has a __getnewargs__; use __getstate__ and __setstate__ instead")


def _refuse(path: Path, name: str, advice: str) -> NoReturn:
    raise NotKeptError(path, f"an object of {name!r} has no JSON form: {advice}")
