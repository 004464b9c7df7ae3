"""The parser of the command line: what all commands have in common. `arguments` has each command's own arguments."""

import argparse
import io
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NoReturn, get_args

from holdfast._core.load_balancing import LoadBalancing
from holdfast._package import VERSION
from holdfast.cli import credentials, encryption, streams, values
from holdfast.cli.arguments import add_commands, add_moves
from holdfast.cli.exit_codes import USAGE
from holdfast.cli.options import add_tls
from holdfast.cli.text import printable

_DEFAULT_TARGET = "127.0.0.1:7433"


def parse(given: Sequence[str]) -> argparse.Namespace | int:
    """Parse the command line.

    Returns:
        The arguments, or the exit code if there is nothing to run: after help, version or an error was printed.

    Raises:
        LocalIOError: help or version cannot be written.

    """
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
    """A parser whose options cannot be abbreviated, and whose messages escape text that is not printable."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n")


class _Commands:
    """The set of commands, each with the common options."""

    def __init__(self, subparsers: Any, common: argparse.ArgumentParser) -> None:
        self._subparsers, self._common = subparsers, common

    def add(
        self, name: str, about: str, run: Callable[..., Any], *positionals: str, example: str, is_change: bool = False
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser.

        Args:
            name: its name.
            about: its purpose in one line, a clause that begins with a verb.
            run: the function that runs it: with a client, the arguments and the output, or, if it is asynchronous,
                with an asynchronous client and the arguments.
            positionals: names from `_POSITIONALS`. A "?" at the end makes the last one optional.
            example: a command line without the program's name.
            is_change: whether it changes the store.

        """
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

    def group(self, name: str, about: str) -> "_Commands":
        """Add a command that has commands of its own, and return their set.

        Args:
            name: its name.
            about: its purpose in one line, a clause that begins with a verb.

        """
        command = self._subparsers.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        return _Commands(command.add_subparsers(required=True, dest="engine"), self._common)


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
    # argparse treats an optional positional after an option as missing, and leaves it in `rest`.
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
        metavar="TARGET",
        help="the server's HOST:PORT, grpcs://HOST:PORT for TLS, or a folder as file:///path "
        f"(default: HOLDFAST_TARGET, else {_DEFAULT_TARGET})",
    )
    common.add_argument(
        "--load-balancing",
        choices=get_args(LoadBalancing),
        default="pick_first",
        help="how calls go to the addresses of the target: to the first one that answers, or each to the next "
        "(default: pick_first)",
    )
    add_tls(common)
    common.add_argument(
        "--timeout",
        type=values.seconds,
        default=30.0,
        metavar="SECONDS",
        help="limit for each call with its retries, above 0, at most 86400 (default: 30)",
    )
    credentials.add_options(common, os.environ)
    encryption.add_options(common)
    common.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    commands = _Commands(parser.add_subparsers(required=True, metavar="COMMAND"), common)
    add_commands(commands.add)
    moves = (
        commands.group("import", "import what an engine has kept elsewhere"),
        commands.group("export", "export what an engine has kept here"),
    )
    add_moves(*(each.add for each in moves))
    return parser
