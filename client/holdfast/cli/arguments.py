"""The commands' arguments with their help. Options that several commands share are in `options`."""

from argparse import ArgumentParser
from collections.abc import Callable

from holdfast.cli import commands, options, usage, values
from holdfast.cli.moving import adk, agent_framework, burr, crewai, langgraph

Add = Callable[..., ArgumentParser]


def add_commands(add: Add) -> None:
    """Add all commands, in the order in which the help lists them.

    Args:
        add: adds one command and returns its parser, as `parser._Commands.add` does.

    """
    _saves(add)
    _reads(add)
    _checks(add)
    _deletions(add)
    _records(add)


def add_moves(add_import: Add, add_export: Add) -> None:
    """Add the engines of `holdfast import` and `holdfast export`, in the order in which the help lists them.

    Args:
        add_import: adds one engine to `import`, as `add_commands` adds a command.
        add_export: the same for `export`.

    """
    for engine in (langgraph, adk, agent_framework, burr, crewai):
        engine.add_import(add_import)
    langgraph.add_export(add_export)


def _saves(add: Add) -> None:
    save = add(
        "save",
        "save a checkpoint",
        commands.save,
        "namespace",
        "workflow",
        "file?",
        example="save my-app run-42 state.json --format my-engine:1 --label step=3",
        is_change=True,
    )
    save.add_argument(
        "--format", type=values.format_, required=True, metavar="NAME:VERSION", help="the payload's format; required"
    )
    save.add_argument(
        "--part",
        action="append",
        type=values.pair,
        default=[],
        metavar="NAME=FILE",
        help="a named part; replaces FILE; may be repeated (default: none)",
    )
    save.add_argument("--id", type=values.required, help="the checkpoint's id (default: the server chooses one)")
    save.add_argument(
        "--parent",
        type=values.text,
        default="",
        metavar="CHECKPOINT",
        help="the checkpoint that this one was made from (default: none)",
    )
    options.add_label(save, "a label; may be repeated")
    save.add_argument(
        "--expected-revision",
        type=options.NOT_NEGATIVE,
        metavar="N",
        help="save only if there was no save since this revision; 0: only if there is no checkpoint (default: always)",
    )
    save.add_argument(
        "--ttl",
        type=values.duration,
        metavar="SECONDS",
        help="how long the checkpoint is kept, at least and at most (default: until it is deleted or retired)",
    )
    save.add_argument("--pinned", action="store_true", help="exempt the checkpoint from retention and prune")
    options.add_writer(save)


def _reads(add: Add) -> None:
    load = add(
        "load",
        "load a checkpoint, the newest if none is named",
        commands.load,
        "namespace",
        "workflow",
        "checkpoint?",
        example="load my-app run-42 --output state.json",
    )
    options.add_output(load, "the payload")
    load.add_argument("--part", type=values.text, metavar="NAME", help="the part to write (default: the only part)")
    load.add_argument("--fallback", action="store_true", help="if the checkpoint is damaged, load the last good one")
    options.add_accept(load)
    options.add_not_before(load)

    listing = add(
        "list",
        "list a workflow's checkpoints, newest first",
        commands.list_,
        "namespace",
        "workflow",
        example="list my-app run-42 --label step=3 --limit 10",
    )
    options.add_label(listing, "only checkpoints with this label; may be repeated")
    options.add_limit(listing, 50)

    history = add(
        "history",
        "load and check a workflow's checkpoints, newest first; --json includes their payloads",
        commands.history,
        "namespace",
        "workflow",
        example="history my-app run-42 --limit 10 --records --json",
    )
    options.add_label(history, "only checkpoints with this label; may be repeated")
    history.add_argument("--records", action="store_true", help="load the records of the checkpoints")
    options.add_limit(history, 50)

    workflows = add(
        "workflows",
        "list the workflows of a namespace",
        commands.workflows,
        "namespace",
        example="workflows my-app --prefix run-",
    )
    workflows.add_argument(
        "--prefix", type=values.text, default="", help="only workflows whose ids begin with this (default: all)"
    )
    options.add_limit(workflows, 1000)

    log = add(
        "log",
        "list the entries of a workflow's log, newest first: checkpoints, fences, deletions, collections, damage",
        commands.log,
        "namespace",
        "workflow",
        example="log my-app run-42 --limit 20",
    )
    log.add_argument("--before", type=options.NOT_NEGATIVE, metavar="REVISION", help="only entries below this revision")
    log.add_argument("--after", type=options.NOT_NEGATIVE, metavar="REVISION", help="only entries above this revision")
    options.add_limit(log, 50)

    namespaces = add(
        "namespaces",
        "list the namespaces that the caller may read",
        commands.namespaces,
        example="namespaces --prefix team-",
    )
    namespaces.add_argument(
        "--prefix", type=values.text, default="", help="only namespaces that begin with this (default: all)"
    )
    options.add_limit(namespaces, 1000)

    used = add(
        "usage",
        "show what the workflows of a namespace take in the store, and their total",
        usage.usage,
        "namespace",
        "workflow?",
        example="usage my-app --prefix run- --sort deleted",
    )
    used.add_argument(
        "--prefix", type=values.text, default="", help="only workflows whose ids begin with this (default: all)"
    )
    used.add_argument(
        "--sort",
        choices=(*usage.SORTS, usage.BY_NAME),
        default="stored",
        help="what to sort by, the largest first, or the workflow's id (default: stored)",
    )
    used.add_argument(
        "--stored-only",
        action="store_true",
        help="count objects and their bytes only, without checkpoints: much faster",
    )
    options.add_limit(used, 50)
    watch = add(
        "watch",
        "print the entries of a workflow's log as they are committed, one line each; --json: one document in each line",
        commands.watch,
        "namespace",
        "workflow",
        example="watch my-app run-42 --after 0 --json",
    )
    watch.add_argument(
        "--after",
        type=options.NOT_NEGATIVE,
        metavar="REVISION",
        help="begin after this revision; 0: with the first entry (default: with the next commit)",
    )
    watch.add_argument(
        "--silence", type=values.seconds, metavar="SECONDS", help="end after so long without an entry (default: never)"
    )
    watch.add_argument("--limit", type=options.COUNT, metavar="N", help="end after so many entries (default: never)")


def _checks(add: Add) -> None:
    validate = add(
        "validate",
        "validate a checkpoint, the newest if none is named",
        commands.validate,
        "namespace",
        "workflow",
        "checkpoint?",
        example="validate my-app run-42 --depth presence",
    )
    validate.add_argument(
        "--depth",
        choices=("marker", "presence", "checksum"),
        default="checksum",
        help="read the marker; also look for the blobs; also read all parts (default: checksum)",
    )
    options.add_accept(validate)
    options.add_not_before(validate)

    check = add(
        "resume-check",
        "check whether a resume would succeed",
        commands.resume_check,
        "namespace",
        "workflow",
        example="resume-check my-app run-42 --format my-engine:3 --oldest 1",
    )
    check.add_argument(
        "--format", type=values.format_, required=True, metavar="NAME:VERSION", help="the engine's format; required"
    )
    check.add_argument(
        "--oldest",
        type=options.COUNT,
        metavar="VERSION",
        help="the oldest version that the engine can migrate (default: that of --format)",
    )
    options.add_not_before(check)

    add("capabilities", "print the capabilities of the server", commands.capabilities, example="capabilities --json")
    add(
        "store-status",
        "print the state of the server and its store: versions, settings, the last collection and check",
        commands.store_status,
        example="store-status --json",
    )


def _deletions(add: Add) -> None:
    delete = add(
        "delete",
        "delete a checkpoint, or all checkpoints of a workflow",
        commands.delete,
        "namespace",
        "workflow",
        "checkpoint?",
        example="delete my-app run-42 --all --yes",
        is_change=True,
    )
    delete.add_argument(
        "--all", action="store_true", help="delete all checkpoints; asks for confirmation at a terminal"
    )
    delete.add_argument(
        "--purge", action="store_true", help="remove the bytes before the command ends, not after the store's grace"
    )
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options.add_writer(delete)

    prune = add(
        "prune",
        "delete all checkpoints of a workflow except the newest ones and the parents that these need",
        commands.prune,
        "namespace",
        "workflow",
        example="prune my-app run-42 --keep-last 5",
        is_change=True,
    )
    prune.add_argument(
        "--keep-last", type=options.COUNT, required=True, metavar="N", help="how many to keep, at least 1; required"
    )
    options.add_writer(prune)

    copy = add(
        "copy",
        "copy a workflow's checkpoints and records into one that has none",
        commands.copy,
        "namespace",
        "workflow",
        "target_workflow",
        example="copy my-app run-42 run-42-copy",
        is_change=True,
    )
    options.add_request_id(copy)


def _records(add: Add) -> None:
    records = add(
        "records",
        "list the records of a checkpoint, or write the data of one record",
        commands.records,
        "namespace",
        "workflow",
        "checkpoint",
        example="records my-app run-42 step-3 --key result --output result.bin",
    )
    records.add_argument("--key", type=values.required, help="write the data of this record (default: list all)")
    options.add_output(records, "the data of --key")

    attach = add(
        "attach",
        "attach files to a checkpoint as records",
        commands.attach,
        "namespace",
        "workflow",
        "checkpoint",
        example="attach my-app run-42 step-3 --record result=result.bin",
        is_change=True,
    )
    attach.add_argument(
        "--record",
        action="append",
        type=values.pair,
        required=True,
        metavar="KEY=FILE",
        help="a record; may be repeated; required",
    )
    attach.add_argument("--replace", action="store_true", help="replace records that have the same keys")
    options.add_writer(attach)
