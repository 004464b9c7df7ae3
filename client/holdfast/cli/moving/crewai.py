"""`holdfast import crewai`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from holdfast._async.client import AsyncClient
from holdfast.cli import values
from holdfast.cli.moving import engines, outcome
from holdfast.moving import SourceError


def add_import(add: Callable[..., ArgumentParser]) -> None:
    """Add the import."""
    command = add(
        "crewai",
        "import the flows or checkpoints of a SQLite file of CrewAI",
        import_,
        example="import crewai flow_states.db --namespace my-flows",
        is_change=True,
    )
    command.add_argument(
        "source",
        metavar="SOURCE",
        type=values.required,
        help="the file of CrewAI's SQLiteFlowPersistence, or of its SqliteProvider for checkpoints",
    )
    engines.add_options(command, "flow")
    command.add_argument(
        "--kind", choices=["flows", "checkpoints"], help="what to import of a file that has both (default: what it has)"
    )
    command.add_argument(
        "--branch",
        dest="branches",
        action="append",
        type=values.text,
        default=[],
        metavar="NAME",
        help="move only checkpoints of this branch; may be repeated (default: all); --prefix selects branches as well",
    )
    command.add_argument(
        "--location",
        type=values.required,
        metavar="NAME",
        help="the location from which checkpoints are resumed (default: the file's name without its suffix)",
    )


async def import_(client: AsyncClient, given: Namespace) -> int:
    """Import flows or checkpoints."""
    engine = engines.load("holdfast.adapters.crewai.files", "crewai")
    async with engine.opened(given.source, given.kind) as file:
        has_flows = file.kind == "flows"
        if has_flows and (given.branches or given.location):
            raise SourceError(f"{given.source} has flows: --branch and --location are for checkpoints")
        if not has_flows and given.items:
            raise SourceError(f"{given.source} has checkpoints: use --branch instead of --flow")
        lines = outcome.Lines(given, "flow" if has_flows else "branch")
        with lines.shown():
            report = await file.move(
                client,
                namespace=given.namespace,
                items=given.items or given.branches or None,
                location=given.location,
                prefix=given.prefix,
                dry_run=given.dry_run,
                progress=lines.progress,
            )
    lines.total(report)
    return outcome.exit_code(report)
