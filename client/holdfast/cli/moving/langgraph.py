"""`holdfast import langgraph` and `holdfast export langgraph`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from holdfast._async.client import AsyncClient
from holdfast.cli import values
from holdfast.cli.moving import engines, outcome

_SAVER = "sqlite:///FILE, postgresql://HOST/DATABASE, or MODULE:ATTRIBUTE of a saver or of a function that returns one"


def add_import(add: Callable[..., ArgumentParser]) -> None:
    """Add the import."""
    command = add(
        "langgraph",
        "import the threads of another saver of LangGraph",
        import_,
        example="import langgraph sqlite:///checkpoints.db --namespace my-app",
        is_change=True,
    )
    command.add_argument("source", metavar="SOURCE", type=values.required, help=f"the saver to read: {_SAVER}")
    _add_options(command)


def add_export(add: Callable[..., ArgumentParser]) -> None:
    """Add the export."""
    command = add(
        "langgraph",
        "export threads to another saver of LangGraph",
        export,
        example="export langgraph sqlite:///checkpoints.db --namespace my-app",
        is_change=True,
    )
    command.add_argument("saver", metavar="TARGET", type=values.required, help=f"the saver to write to: {_SAVER}")
    _add_options(command)


async def import_(client: AsyncClient, given: Namespace) -> int:
    """Import threads."""
    return await _move("import_from", given.source, client, given)


async def export(client: AsyncClient, given: Namespace) -> int:
    """Export threads."""
    return await _move("export_to", given.saver, client, given)


async def _move(function: str, name: str, client: AsyncClient, given: Namespace) -> int:
    moving = engines.load("holdfast.adapters.langgraph.moving.by_name", "langgraph")
    lines = outcome.Lines(given, "thread")
    with lines.shown():
        report = await getattr(moving, function)(
            client,
            given.namespace,
            name,
            given.serde,
            threads=given.items or None,
            prefix=given.prefix,
            is_dry_run=given.dry_run,
            progress=lines.progress,
        )
    lines.total(report)
    return outcome.exit_code(report)


def _add_options(command: ArgumentParser) -> None:
    engines.add_options(command, "thread")
    command.add_argument(
        "--serde",
        type=values.required,
        metavar="MODULE:ATTRIBUTE",
        help="the serializer of the savers, or a function that returns it; for encrypted or pickled values "
        "(default: LangGraph's own, objects are kept as bytes)",
    )
