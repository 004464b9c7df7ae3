"""Run the command in a process, with pipes, files or a terminal as its streams."""

import asyncio
import os
import pty

import holdfast
import pytest

from tests.support import forked
from tests.unit.client.cli import command
from tests.unit.client.cli.command import EXECUTABLE, clean_environment


@pytest.fixture
async def client(served):
    """One client: here the command is tested."""
    async with holdfast.AsyncClient(served.target, timeout=20) as client:
        yield client


@pytest.fixture
def environment(served):
    return clean_environment(HOLDFAST_TARGET=served.target)


@pytest.fixture
def run(served):
    """Run the command. Return its exit code, stdout and stderr."""

    async def run(*arguments, stdin=b"", target=served.target, **settings):
        done = await asyncio.to_thread(
            forked.run,
            command.__name__,
            *arguments,
            modules=command.MODULES,
            env=clean_environment(HOLDFAST_TARGET=target, **settings),
            input=stdin,
            text=False,
        )
        return done.returncode, done.stdout, done.stderr.decode()

    return run


@pytest.fixture
def run_executable(served):
    """Run the command in a new interpreter, whose own settings count. Return its exit code, stdout and stderr."""

    async def run_executable(*arguments, **settings):
        process = await asyncio.create_subprocess_exec(
            EXECUTABLE,
            *arguments,
            env=clean_environment(**{"HOLDFAST_TARGET": served.target, **settings}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out, err.decode()

    return run_executable


@pytest.fixture
def shell(environment):
    """Run a line of bash, in which $HOLDFAST is the command. Return its exit code, stdout and stderr."""

    async def shell(line, **settings):
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            line,
            env=environment | {"HOLDFAST": EXECUTABLE} | settings,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out, err.decode()

    return shell


@pytest.fixture
def at_terminal(environment):
    """Run the command with a terminal as all its streams. Return its exit code and the output."""

    async def at_terminal(*arguments, typed=b"", **settings):
        master, slave = pty.openpty()
        os.write(master, typed)
        process = await asyncio.create_subprocess_exec(
            EXECUTABLE,
            *arguments,
            env=environment | {"TERM": "xterm"} | settings,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        shown = await asyncio.to_thread(_read_to_end, master)
        os.close(master)
        return await process.wait(), shown

    return at_terminal


def _read_to_end(master):
    shown = b""
    while True:
        try:
            data = os.read(master, 65536)
        # Linux fails the read once the last process has closed its side.
        except OSError:
            return shown
        if not data:
            return shown
        shown += data
