"""Look up classes by name, and check that objects of a class can be restored from their state."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any, NoReturn

from holdfast.adapters.objects.errors import NotAllowedError, Path, UnsupportedValueError
from holdfast.adapters.objects.forms import CONTAINERS, type_name

Allowed = Callable[[str], bool]

# CPython's Py_TPFLAGS_HEAPTYPE: set for classes that a `class` statement made.
_HEAP_TYPE = 1 << 9

BUILTINS: dict[str, type] = {
    type_name(cls): cls
    for cls in (object, type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
}


def find_class(name: Any, allowed: Allowed, path: Path) -> type:
    """Return the class with a name, and import its module if necessary.

    Args:
        name: the module, a colon and the qualified name.
        allowed: returns whether a class may be used, by its name.
        path: where the name is, for errors.

    Raises:
        NotAllowedError: the class is not allowed.
        UnsupportedValueError: the name is not text, or no class is found by it.

    """
    if not isinstance(name, str):
        raise UnsupportedValueError(path, f"the name of a class must be text, not {type(name).__name__}")
    if name in BUILTINS:
        return BUILTINS[name]
    if not allowed(name):
        raise NotAllowedError(path, f"class {name!r:.300} is not allowed")
    module, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise UnsupportedValueError(path, f"no class found by the name {name!r}: {error!r}") from error
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    if not isinstance(found, type) or type_name(found) != name:
        raise UnsupportedValueError(
            path, f"no class found by the name {name!r}: define it at the top of a module, under that name"
        )
    return found


def layout_of(cls: type) -> type:
    """Return the base class that determines what objects of a class contain besides their attributes."""
    return next(base for base in cls.__mro__ if type_name(base) in CONTAINERS or not base.__flags__ & _HEAP_TYPE)


def require_plain(cls: Any, layout: Any, path: Path) -> None:
    """Check that objects of a class can be restored from their content and attributes.

    Args:
        cls: the class.
        layout: what `layout_of` returns for it.
        path: where the object is, for errors.

    Raises:
        UnsupportedValueError: they cannot be restored.

    """
    name = type_name(cls)
    if layout is not object and type_name(layout) not in CONTAINERS:
        _refuse(path, name, "omit it, or let the object that contains it leave it out in its __getstate__")
    if dataclasses.is_dataclass(cls):
        # A dataclass is its fields, whatever it defines for pickle.
        return
    if cls.__reduce_ex__ is not layout.__reduce_ex__ or cls.__reduce__ is not layout.__reduce__:
        _refuse(
            path,
            name,
            "its class defines __reduce__; make it a dataclass, or use __getstate__ and __setstate__ instead",
        )
    if layout is object and (hasattr(cls, "__getnewargs__") or hasattr(cls, "__getnewargs_ex__")):
        _refuse(path, name, "its class defines __getnewargs__; use __getstate__ and __setstate__ instead")


def _refuse(path: Path, name: str, advice: str) -> NoReturn:
    raise UnsupportedValueError(path, f"an object of {name!r} has no JSON form: {advice}")
