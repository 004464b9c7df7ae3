"""What the commands of all engines have: their options, and the part of an adapter that they need."""

from argparse import ArgumentParser
from importlib import import_module
from typing import Any

from holdfast.cli import values
from holdfast.moving import SourceError


def add_options(command: ArgumentParser, item: str) -> None:
    """Add the options that every import and export has.

    Args:
        command: the parser of the command.
        item: what the engine calls an item, such as "thread".

    """
    command.add_argument(
        "--namespace", type=values.required, required=True, help=f"the namespace of the {item}s in Holdfast; required"
    )
    command.add_argument(
        f"--{item}",
        dest="items",
        action="append",
        type=values.text,
        default=[],
        metavar="ID",
        help=f"move only this {item}; may be repeated (default: all)",
    )
    command.add_argument(
        "--prefix", type=values.text, default="", help=f"move only {item}s whose ids begin with this (default: all)"
    )
    command.add_argument("--dry-run", action="store_true", help="read, check and count, but write nothing")


def load(module: str, extra: str) -> Any:
    """Import the part of an adapter that moves items.

    Args:
        module: the module.
        extra: the extra of this package that installs the engine.

    Raises:
        SourceError: the engine is not installed.

    """
    try:
        return import_module(module)
    except ImportError as error:
        raise SourceError(f"{error}: install it with pip install 'holdfast-client[cli,{extra}]'") from error
