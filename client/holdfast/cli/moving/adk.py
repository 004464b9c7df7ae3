"""`holdfast import adk`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from holdfast._async.client import AsyncClient
from holdfast.cli import values
from holdfast.cli.moving import application, engines, outcome


def add_import(add: Callable[..., ArgumentParser]) -> None:
    """Add the import."""
    command = add(
        "adk",
        "import the sessions of a database of Google ADK",
        import_,
        example="import adk sessions.db --namespace my-agents",
        is_change=True,
    )
    command.add_argument(
        "source",
        metavar="SOURCE",
        type=values.required,
        help="a SQLite file, or a URL of SQLAlchemy such as postgresql+asyncpg://USER@HOST/NAME; "
        "a password in it is visible to other users of the machine: use PGPASSWORD or ~/.pgpass",
    )
    engines.add_options(command, "session")
    command.add_argument(
        "--app", type=values.required, metavar="NAME", help="move only sessions of this app (default: all)"
    )
    application.add_options(command, "a class", "my.module:Draft", "allowed_types")


async def import_(client: AsyncClient, given: Namespace) -> int:
    """Import sessions, and the states that they share."""
    engine = engines.load("holdfast.adapters.adk", "adk")
    application.load(given)
    lines = outcome.Lines(given, "item")
    with lines.shown():
        report = await engine.import_sessions(
            given.source,
            client,
            namespace=given.namespace,
            sessions=given.items or None,
            prefix=given.prefix,
            app_name=given.app,
            allowed_types=given.allow,
            dry_run=given.dry_run,
            progress=lines.progress,
        )
    lines.total(report)
    return outcome.exit_code(report)
