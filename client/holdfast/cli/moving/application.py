"""The application's code that an import needs: modules to load, and classes that values may contain."""

from argparse import ArgumentParser, Namespace
from importlib import import_module

from holdfast._core import attributes
from holdfast.cli import values
from holdfast.moving import SourceError


def add_options(command: ArgumentParser, classes: str, example: str, argument: str) -> None:
    """Add `--allow` and `--load`.

    Args:
        command: the parser of the command.
        classes: what may be allowed.
        example: a name that may be allowed.
        argument: the argument of the adapter that errors name.

    """
    command.add_argument(
        "--allow",
        action="append",
        type=values.required,
        default=[],
        metavar="NAME",
        help=f"{classes} that values may contain, such as {example}: an element of {argument}; may be repeated "
        "(default: none)",
    )
    command.add_argument(
        "--load",
        action="append",
        type=values.required,
        default=[],
        metavar="MODULE",
        help="a module of the application to import first, which is found in the current folder too; "
        "may be repeated (default: none)",
    )


def load(given: Namespace) -> None:
    """Import the modules of `--load`, and let classes of `--allow` be found in the current folder.

    Raises:
        SourceError: a module cannot be imported.

    """
    if given.allow or given.load:
        attributes.search_current_folder()
    for module in given.load:
        try:
            import_module(module)
        except Exception as error:
            raise SourceError(f"module {module!r} cannot be imported: {error!r}") from error
