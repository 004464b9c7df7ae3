"""Attributes of modules that a caller names, such as `my_app.keys:keyring`."""

import os
import sys
from importlib import import_module
from typing import Any


def named(name: str) -> Any:
    """Return the attribute that MODULE:ATTRIBUTE names. Modules in the current folder are found, too.

    Raises:
        ValueError: the name has another form, or its module or attribute cannot be imported.

    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute or "/" in name:
        raise ValueError(f"invalid name {name!r:.200}: expected MODULE:ATTRIBUTE")
    search_current_folder()
    try:
        found = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        what = str(error) if isinstance(error, (ImportError, AttributeError)) else repr(error)
        raise ValueError(f"{name!r:.200} cannot be imported: {what}") from error
    return found


def search_current_folder() -> None:
    """Let modules of the current folder be found: installed programs do not search it, unlike `python -m`."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
