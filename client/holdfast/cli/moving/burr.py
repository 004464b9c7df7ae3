"""`holdfast import burr`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

from holdfast._async.client import AsyncClient
from holdfast.cli import values
from holdfast.cli.moving import application, engines, outcome

# The modules that register Burr's plugins, by what may be allowed.
_PLUGINS = {
    "lc_message": "burr.integrations.serde.langchain",
    "lc_document": "burr.integrations.serde.langchain",
    "pandas.DataFrame": "burr.integrations.serde.pandas",
}


def add_import(add: Callable[..., ArgumentParser]) -> None:
    """Add the import."""
    command = add(
        "burr",
        "import the applications of a SQLite file of Burr",
        import_,
        example="import burr burr.db --namespace my-agents",
        is_change=True,
    )
    command.add_argument("source", metavar="SOURCE", type=values.required, help="the file of Burr's SQLitePersister")
    engines.add_options(command, "application")
    command.add_argument(
        "--table", type=values.required, default="burr_state", help="the table's name (default: burr_state)"
    )
    application.add_options(
        command, "a Pydantic model or a plugin of Burr", "my.module.Model or lc_message", "allowed_classes"
    )


async def import_(client: AsyncClient, given: Namespace) -> int:
    """Import applications."""
    engine = engines.load("holdfast.adapters.burr", "burr")
    application.load(given)
    for name in given.allow:
        with suppress(ImportError):
            import_module(_PLUGINS.get(name, "burr.integrations.serde.pydantic"))
    lines = outcome.Lines(given, "application")
    with lines.shown():
        report = await engine.import_applications(
            given.source,
            client,
            namespace=given.namespace,
            applications=given.items or None,
            prefix=given.prefix,
            table=given.table,
            allowed_classes=given.allow,
            dry_run=given.dry_run,
            progress=lines.progress,
        )
    lines.total(report)
    return outcome.exit_code(report)
