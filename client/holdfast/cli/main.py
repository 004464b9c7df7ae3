"""The command line: its arguments, its client, and the exit code that an error ends it with."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from datetime import timedelta

from holdfast.checkpoint import AcceptedFormat, Format
from holdfast.cli import commands
from holdfast.cli.exit_codes import INTERRUPTED, USAGE, of_error
from holdfast.cli.output import JsonOutput, Output, TableOutput
from holdfast.errors import HoldfastError
from holdfast.sync.client import Client

_DEFAULT_TARGET = "127.0.0.1:7433"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    given = _parser().parse_args(arguments)
    output: Output = JsonOutput() if given.json else TableOutput()
    try:
        with Client(given.target, timeout=given.timeout, producer=("holdfast-cli", "")) as client:
            sys.exit(given.run(client, given, output))
    except HoldfastError as error:
        output.error(error)
        sys.exit(of_error(error))
    except commands.UsageError as error:
        sys.stderr.write(f"holdfast: {error}\n")
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holdfast", description="Save, load and check workflow checkpoints.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--target",
        default=os.environ.get("HOLDFAST_TARGET", _DEFAULT_TARGET),
        help=f"the server, host:port; else HOLDFAST_TARGET, else {_DEFAULT_TARGET}",
    )
    common.add_argument("--timeout", type=_seconds, default=30.0, help="seconds for each call, retries included (30)")
    common.add_argument("--json", action="store_true", help="print JSON, for programs")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, about: str, run: object, *positionals: str) -> argparse.ArgumentParser:
        command = subparsers.add_parser(name, help=about, description=about, parents=[common])
        for positional in positionals:
            optional = positional.endswith("?")
            command.add_argument(positional.rstrip("?"), nargs="?" if optional else None)
        command.set_defaults(run=run)
        return command

    save = add("save", "save a checkpoint", commands.save, "namespace", "workflow", "file?")
    save.add_argument("--format", type=_format, required=True, metavar="NAME:VERSION", help="the payload's format")
    save.add_argument("--part", action="append", type=_pair, default=[], metavar="NAME=FILE", help="a named part")
    save.add_argument("--id", default="", help="the checkpoint's id; the server chooses one where none is given")
    save.add_argument("--parent", default="", help="the checkpoint that this one was made from")
    save.add_argument("--label", action="append", type=_pair, default=[], metavar="KEY=VALUE", help="a label")
    save.add_argument("--expected-revision", type=int, help="save only if nobody has saved since this revision; 0: new")
    save.add_argument("--epoch", type=int, help="the writer's epoch")
    save.add_argument("--ttl", type=_duration, metavar="SECONDS", help="how long it must be kept")
    save.add_argument("--request-id", help="the idempotency key; made up where none is given")

    load = add("load", "load a checkpoint", commands.load, "namespace", "workflow", "checkpoint?")
    load.add_argument("--output", "-o", default="-", metavar="FILE", help="where to write it; - for stdout")
    load.add_argument("--part", metavar="NAME", help="the part to write, where there are several")
    load.add_argument("--fallback", action="store_true", help="answer damage with the last good checkpoint")
    _add_accept(load)

    listing = add("list", "list a workflow's checkpoints, newest first", commands.list_, "namespace", "workflow")
    listing.add_argument("--label", action="append", type=_pair, default=[], metavar="KEY=VALUE", help="only with it")
    listing.add_argument("--limit", type=_count, default=50, help="how many at most (50)")

    workflows = add("workflows", "list the workflows of a namespace", commands.workflows, "namespace")
    workflows.add_argument("--prefix", default="", help="only those whose ids begin with this")
    workflows.add_argument("--limit", type=_count, default=1000, help="how many at most (1000)")

    validate = add("validate", "check a checkpoint", commands.validate, "namespace", "workflow", "checkpoint?")
    validate.add_argument("--depth", choices=("marker", "presence", "checksum"), default="checksum")
    _add_accept(validate)

    delete = add("delete", "delete a checkpoint, or all", commands.delete, "namespace", "workflow", "checkpoint?")
    delete.add_argument("--all", action="store_true", help="delete every checkpoint of the workflow")
    delete.add_argument("--epoch", type=int, help="the writer's epoch")

    check = add("resume-check", "tell whether a resume would succeed", commands.resume_check, "namespace", "workflow")
    check.add_argument("--format", type=_format, required=True, metavar="NAME:VERSION", help="the engine's format")
    check.add_argument("--oldest", type=_count, metavar="VERSION", help="the oldest version that it can migrate")

    add("capabilities", "tell what the server can do", commands.capabilities)
    return parser


def _add_accept(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--accept",
        action="append",
        type=_accepted,
        default=[],
        metavar="NAME:MIN-MAX",
        help="refuse other formats",
    )


def _format(text: str) -> Format:
    name, _, version = text.rpartition(":")
    if not name or not version.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME:VERSION")
    return Format(name, int(version))


def _accepted(text: str) -> AcceptedFormat:
    found = re.fullmatch(r"(.+):(\d+)(?:-(\d+))?", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME:MIN-MAX")
    return AcceptedFormat(found[1], int(found[2]), int(found[3] or found[2]))


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} has no =")
    return key, value


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not within 0 to 86400 seconds")
    return seconds


def _duration(text: str) -> timedelta:
    return timedelta(seconds=float(text))


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)
