"""`holdfast import crewai`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from holdfast._async.client import AsyncClient
from holdfast.cli import values
from holdfast.cli.moving import common


def add_import(add: Callable[..., ArgumentParser]) -> None:
    """Add the import."""
    command = add(
        "crewai",
        "import the flows of a SQLite file of CrewAI",
        import_,
        example="import crewai flow_states.db --namespace my-flows",
        is_change=True,
    )
    command.add_argument(
        "source", metavar="SOURCE", type=values.required, help="the file of CrewAI's SQLiteFlowPersistence"
    )
    common.add_options(command, "flow")


async def import_(client: AsyncClient, given: Namespace) -> int:
    """Import flows."""
    engine = common.engine("holdfast.adapters.crewai", "crewai")
    lines = common.Lines(given, "flow")
    with lines.shown():
        report = await engine.import_flows(
            given.source,
            client,
            namespace=given.namespace,
            flows=given.items or None,
            prefix=given.prefix,
            dry_run=given.dry_run,
            progress=lines.progress,
        )
    lines.total(report)
    return common.exit_code(report)
