"""Read commands from standard input, run them on the SDK, and write their answers to standard output."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from conformance.drivers.python.answers import error_of
from conformance.drivers.python.mutants import MUTANTS
from conformance.drivers.python.ops import Ops

# A line may hold some MiB of base64.
_LONGEST_LINE = 64 << 20


async def _run(mutant: str) -> None:
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ops = Ops(mutant)
    try:
        async with asyncio.TaskGroup() as group:
            while line := await reader.readline():
                group.create_task(_answer(ops, json.loads(line), _write))
    finally:
        await ops.close()


async def _answer(ops: Ops, command: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
    number = command.pop("id")
    try:
        answer = {"ok": await ops.run(command)}
    except Exception as error:  # noqa: BLE001 - whatever the client raises is an answer
        answer = error_of(error)
    write({"id": number, **answer})


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="conformance.drivers.python", description=__doc__)
    parser.add_argument("--mutant", choices=MUTANTS, default="", help="behave wrongly in one way")
    asyncio.run(_run(parser.parse_args().mutant))
