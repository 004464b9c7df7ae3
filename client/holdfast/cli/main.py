"""The entry point: runs a command with a client and turns errors into exit codes."""

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from inspect import iscoroutinefunction
from typing import Any

from holdfast._async.client import AsyncClient
from holdfast._core.errors import HoldfastError
from holdfast._package import VERSION
from holdfast._sync.client import Client
from holdfast.cli import encryption, streams
from holdfast.cli.credentials import token_of
from holdfast.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, LOCAL_IO, USAGE, of_error
from holdfast.cli.files import UsageError
from holdfast.cli.json_output import JsonOutput
from holdfast.cli.options import tls_of
from holdfast.cli.output import Output
from holdfast.cli.parser import parse
from holdfast.cli.streams import LocalIOError
from holdfast.cli.table_output import TableOutput
from holdfast.cli.text import printable


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code.

    Args:
        arguments: without the program's name; None means those of the process.

    """
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
    except LocalIOError as error:
        code = _local_failure(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    given = parse(arguments)
    if isinstance(given, int):
        return given
    output: Output = JsonOutput() if given.json else TableOutput()
    try:
        return _run_with_client(given, output)
    except HoldfastError as error:
        output.error(encryption.with_advice(error))
        return of_error(error)
    except (UsageError, TypeError, ValueError) as error:
        streams.note(f"holdfast: {printable(str(error))}")
        return USAGE
    except LocalIOError as error:
        return _local_failure(error, is_change=given.is_change)
    except (MemoryError, OSError) as error:
        streams.note(f"holdfast: {printable(str(error)) or 'out of memory'}")
        return LOCAL_IO


def _run_with_client(given: Namespace, output: Output) -> int:
    options: Any = {
        "timeout": given.timeout,
        "producer": ("holdfast-cli", VERSION),
        "tls": tls_of(given),
        "token": token_of(given, os.environ),
        "insecure": given.insecure,
        "load_balancing": given.load_balancing,
        "encryption": encryption.keyring_of(given, os.environ),
    }
    code: int
    if iscoroutinefunction(given.run):

        async def run() -> int:
            async with AsyncClient(given.target, **options) as client:
                code: int = await given.run(client, given)
            return code

        return asyncio.run(run())
    with Client(given.target, **options) as client:
        code = given.run(client, given, output)
    return code


def _local_failure(error: LocalIOError, *, is_change: bool = False) -> int:
    """Report that a file or a standard stream failed.

    A closed pipe is reported only if the command has changed something: the reader has seen all that it needs.
    """
    end = "has stopped, and can be repeated" if error.is_early else "was carried out"
    changed = f", the command {end}" if is_change and error.is_output else ""
    if changed or not error.is_broken_pipe:
        streams.note(f"holdfast: {error}{changed}")
    return BROKEN_PIPE if error.is_broken_pipe else LOCAL_IO
