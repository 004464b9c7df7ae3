"""`holdfast import agent-framework`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from holdfast._async.client import AsyncClient
from holdfast.cli import values
from holdfast.cli.moving import application, engines, outcome


def add_import(add: Callable[..., ArgumentParser]) -> None:
    """Add the import."""
    command = add(
        "agent-framework",
        "import the checkpoints of a folder of Agent Framework",
        import_,
        example="import agent-framework checkpoints --namespace my-agents --workflow run-42",
        is_change=True,
    )
    command.add_argument("source", metavar="SOURCE", type=values.required, help="the folder of a FileCheckpointStorage")
    engines.add_options(command, "checkpoint")
    command.add_argument(
        "--workflow",
        type=values.required,
        default="checkpoints",
        metavar="ID",
        help="the workflow_id of the HoldfastCheckpointStorage to import to (default: checkpoints, as there)",
    )
    application.add_options(command, "a class", "my.module:Draft", "allowed_checkpoint_types")


async def import_(client: AsyncClient, given: Namespace) -> int:
    """Import checkpoints."""
    engine = engines.load("holdfast.adapters.agent_framework", "agent-framework")
    application.load(given)
    lines = outcome.Lines(given, "checkpoint")
    with lines.shown():
        report = await engine.import_checkpoints(
            given.source,
            client,
            namespace=given.namespace,
            workflow_id=given.workflow,
            checkpoints=given.items or None,
            prefix=given.prefix,
            allowed_checkpoint_types=given.allow,
            dry_run=given.dry_run,
            progress=lines.progress,
        )
    lines.total(report)
    return outcome.exit_code(report)
