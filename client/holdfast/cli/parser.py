"""The arguments of every command, with their help."""

import argparse
import io
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NoReturn

from holdfast._package import VERSION
from holdfast.cli import arguments as values
from holdfast.cli import commands, streams
from holdfast.cli.exit_codes import USAGE
from holdfast.cli.text import printable

_DEFAULT_TARGET = "127.0.0.1:7433"
_MAX_COUNT = 2**31 - 1
_MAX_INTEGER = 2**63 - 1

_COUNT = values.integer(1, _MAX_COUNT)
_NOT_NEGATIVE = values.integer(0, _MAX_INTEGER)


def parse(given: Sequence[str]) -> argparse.Namespace | int:
    """Return the arguments, or the exit code where there is nothing to run: help, version, a mistake."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            return _parsed(given)
    except SystemExit as end:
        streams.write(out.getvalue())
        if err.getvalue():
            streams.note(err.getvalue().removesuffix("\n"))
        return end.code if isinstance(end.code, int) else USAGE


class _Parser(argparse.ArgumentParser):
    """One whose messages show what was given as text, and whose options are never abbreviated."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n")


class _Commands:
    """The commands, as they are added one after the other."""

    def __init__(self, subparsers: Any, common: argparse.ArgumentParser) -> None:
        self._subparsers, self._common = subparsers, common

    def add(
        self, name: str, about: str, run: Callable[..., int], *positionals: str, example: str, is_change: bool = False
    ) -> argparse.ArgumentParser:
        """Add a command. A positional that ends in "?" may be left out."""
        command: argparse.ArgumentParser = self._subparsers.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"example:\n  holdfast {example}",
            parents=[self._common],
        )
        for positional in positionals:
            argument = positional.rstrip("?")
            optional = positional.endswith("?")
            kind = str if argument == "file" else values.required
            command.add_argument(
                argument,
                metavar=argument.upper().replace("_", "-"),
                nargs="?" if optional else None,
                type=kind,
                help=_POSITIONALS[argument],
            )
        last = positionals[-1].rstrip("?") if positionals and positionals[-1].endswith("?") else ""
        command.set_defaults(run=run, is_change=is_change, last=last)
        return command


_POSITIONALS = {
    "namespace": "the namespace",
    "workflow": "the workflow's id",
    "checkpoint": "the checkpoint's id",
    "file": "the file to save; - for stdin",
    "target_workflow": "the id of the workflow to copy to, in the same namespace",
}


def _parsed(given: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    found, rest = parser.parse_known_args(given)
    # argparse counts an optional positional as left out if an option stands before it.
    if found.last and getattr(found, found.last) is None and len(rest) == 1 and (rest[0] == "-" or rest[0][:1] != "-"):
        try:
            value = rest.pop() if found.last == "file" else values.required(rest.pop())
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument {found.last.upper()}: {error}")
        setattr(found, found.last, value)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="holdfast",
        description="Save, load and check workflow checkpoints.",
        epilog="`holdfast COMMAND --help` describes a command. Exit codes: docs/reference/cli.md.",
    )
    parser.add_argument("--version", action="version", version=f"holdfast {VERSION}")
    common = _Parser(add_help=False)
    common.add_argument(
        "--target",
        type=values.required,
        default=os.environ.get("HOLDFAST_TARGET") or _DEFAULT_TARGET,
        metavar="HOST:PORT",
        help=f"the server (default: HOLDFAST_TARGET, else {_DEFAULT_TARGET})",
    )
    common.add_argument(
        "--timeout",
        type=values.seconds,
        default=30.0,
        metavar="SECONDS",
        help="for each call with its retries, above 0, at most 86400 (default: 30)",
    )
    common.add_argument("--json", action="store_true", help="print one JSON document, for programs")
    add = _Commands(parser.add_subparsers(required=True, metavar="COMMAND"), common).add
    _add_saves(add)
    _add_reads(add)
    _add_checks(add)
    _add_deletions(add)
    _add_records(add)
    return parser


def _add_saves(add: Callable[..., argparse.ArgumentParser]) -> None:
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
    save.add_argument("--format", type=values.format_, required=True, metavar="NAME:VERSION", help="required")
    save.add_argument(
        "--part",
        action="append",
        type=values.pair,
        default=[],
        metavar="NAME=FILE",
        help="a named part, instead of FILE; may be repeated (default: none)",
    )
    save.add_argument("--id", type=values.required, help="the checkpoint's id (default: the server chooses one)")
    save.add_argument(
        "--parent",
        type=values.text,
        default="",
        metavar="CHECKPOINT",
        help="the checkpoint that this one was made from (default: none)",
    )
    _add_label(save, "a label; may be repeated")
    save.add_argument(
        "--expected-revision",
        type=_NOT_NEGATIVE,
        metavar="N",
        help="save only if nobody has saved since this revision; 0: while there is no checkpoint (default: always)",
    )
    save.add_argument(
        "--ttl",
        type=values.duration,
        metavar="SECONDS",
        help="how long it is kept at least and at most (default: until it is deleted or retired)",
    )
    save.add_argument("--pinned", action="store_true", help="keep it when retention or a prune would let it go")
    _add_writer(save)


def _add_reads(add: Callable[..., argparse.ArgumentParser]) -> None:
    load = add(
        "load",
        "load a checkpoint, the newest if none is named",
        commands.load,
        "namespace",
        "workflow",
        "checkpoint?",
        example="load my-app run-42 --output state.json",
    )
    _add_output(load, "the payload")
    load.add_argument("--part", type=values.text, metavar="NAME", help="the part to write (default: the only one)")
    load.add_argument("--fallback", action="store_true", help="answer damage with the last good checkpoint")
    _add_accept(load)

    listing = add(
        "list",
        "list a workflow's checkpoints, newest first",
        commands.list_,
        "namespace",
        "workflow",
        example="list my-app run-42 --label step=3 --limit 10",
    )
    _add_label(listing, "only checkpoints with this label; may be repeated")
    _add_limit(listing, 50)

    history = add(
        "history",
        "load and check a workflow's checkpoints, newest first; with --json their payloads too",
        commands.history,
        "namespace",
        "workflow",
        example="history my-app run-42 --limit 10 --records --json",
    )
    _add_label(history, "only checkpoints with this label; may be repeated")
    history.add_argument("--records", action="store_true", help="load their records too")
    _add_limit(history, 50)

    workflows = add(
        "workflows",
        "list the workflows of a namespace",
        commands.workflows,
        "namespace",
        example="workflows my-app --prefix run-",
    )
    workflows.add_argument(
        "--prefix", type=values.text, default="", help="only those whose ids begin with this (default: all)"
    )
    _add_limit(workflows, 1000)


def _add_checks(add: Callable[..., argparse.ArgumentParser]) -> None:
    validate = add(
        "validate",
        "check a checkpoint, the newest if none is named",
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
        help="read the marker, look for the parts, or read these too (default: checksum)",
    )
    _add_accept(validate)

    check = add(
        "resume-check",
        "say whether a resume would succeed",
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
        type=_COUNT,
        metavar="VERSION",
        help="the oldest version that the engine can migrate (default: that of --format)",
    )

    add("capabilities", "say what the server can do", commands.capabilities, example="capabilities --json")


def _add_deletions(add: Callable[..., argparse.ArgumentParser]) -> None:
    delete = add(
        "delete",
        "delete a checkpoint, or all of a workflow",
        commands.delete,
        "namespace",
        "workflow",
        "checkpoint?",
        example="delete my-app run-42 --all --yes",
        is_change=True,
    )
    delete.add_argument("--all", action="store_true", help="delete every checkpoint; asks first at a terminal")
    delete.add_argument("--purge", action="store_true", help="remove the bytes now, not after the store's grace")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    _add_writer(delete)

    prune = add(
        "prune",
        "delete all but the newest checkpoints of a workflow, and what these need",
        commands.prune,
        "namespace",
        "workflow",
        example="prune my-app run-42 --keep-last 5",
        is_change=True,
    )
    prune.add_argument(
        "--keep-last", type=_COUNT, required=True, metavar="N", help="how many stay, at least 1; required"
    )
    _add_writer(prune)

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
    _add_request_id(copy)


def _add_records(add: Callable[..., argparse.ArgumentParser]) -> None:
    records = add(
        "records",
        "list the records of a checkpoint, or write the data of one",
        commands.records,
        "namespace",
        "workflow",
        "checkpoint",
        example="records my-app run-42 step-3 --key result --output result.bin",
    )
    records.add_argument("--key", type=values.required, help="write the data of this record (default: list all)")
    _add_output(records, "the data of --key")

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
    attach.add_argument("--replace", action="store_true", help="take the place of records with the same keys")
    _add_writer(attach)


def _add_accept(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--accept",
        action="append",
        type=values.accepted,
        default=[],
        metavar="NAME:MIN-MAX",
        help="refuse other formats; may be repeated (default: any)",
    )


def _add_label(command: argparse.ArgumentParser, meaning: str) -> None:
    command.add_argument(
        "--label",
        action="append",
        type=values.label,
        default=[],
        metavar="KEY=VALUE",
        help=f"{meaning} (default: none)",
    )


def _add_limit(command: argparse.ArgumentParser, default: int) -> None:
    command.add_argument(
        "--limit", type=_COUNT, default=default, metavar="N", help=f"how many at most (default: {default})"
    )


def _add_output(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "--output",
        "-o",
        default="-",
        metavar="FILE",
        help=f"where to write {what}; a file gets all of it or is left as it was (default: -, stdout)",
    )


def _add_writer(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--epoch", type=_NOT_NEGATIVE, metavar="N", help="the writer's epoch (default: not fenced by any)"
    )
    _add_request_id(command)


def _add_request_id(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--request-id", type=values.required, metavar="ID", help="the idempotency key (default: made up)"
    )
