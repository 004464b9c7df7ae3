"""A driver: a process that runs the commands of cases on one client, and answers in any order."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

_LONGEST_LINE = 64 << 20
_END_SECONDS = 20


class DriverError(Exception):
    """A driver that cannot run a command, or has ended."""


class Driver:
    """A driver that runs.

    Args:
        process: its process.

    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._end = ""

    async def run(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run a command. Return its answer, which has `ok` or `error`.

        Raises:
            DriverError: the driver cannot run it, or has ended.

        """
        if self._end:
            raise DriverError(self._end)
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._process.stdin.write(json.dumps({"id": number, **command}).encode() + b"\n")
            await self._process.stdin.drain()
            found: dict[str, Any] = await answer
        except ConnectionError:
            raise DriverError("the driver has ended") from None
        finally:
            del self._waiting[number]
        if "fault" in found:
            raise DriverError(f"{command['op']}: {found['fault']}")
        return found

    async def read(self) -> None:
        """Read answers until the driver ends."""
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                try:
                    answer = json.loads(line)
                    waiting = self._waiting.get(answer["id"])
                except (ValueError, TypeError, KeyError):
                    self._end = f"the driver wrote a line that is not an answer: {line[:200]!r}"
                    return
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        finally:
            self._end = self._end or f"the driver has ended with exit code {self._process.returncode}"
            for each in self._waiting.values():
                if not each.done():
                    each.set_exception(DriverError(self._end))


@asynccontextmanager
async def driving(command: Sequence[str], folder: Path, mutant: str = "") -> AsyncIterator[Driver]:
    """Run a driver while the block lasts.

    Raises:
        DriverError: the program cannot be started, or does not end when its input does.

    """
    arguments = [*command, *(["--mutant", mutant] if mutant else [])]
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments, cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LONGEST_LINE
        )
    except OSError as error:
        raise DriverError(f"{arguments[0]}: {error.strerror}") from None
    driver = Driver(process)
    reading = asyncio.create_task(driver.read())
    try:
        yield driver
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                code = await process.wait()
        except TimeoutError:
            raise DriverError("the driver did not end when its input did") from None
        if code:
            raise DriverError(f"the driver ended with exit code {code}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading
