"""`holdfast watch`."""

import asyncio
import json
import signal

import holdfast
import pytest

from tests.unit.client.cli.command import EXECUTABLE

FORMAT = holdfast.Format("f", 1)
LONG = 60.0


async def save(client, number):
    return await client.save("n", "w", b"x", format=FORMAT, checkpoint_id=f"c{number}")


@pytest.fixture
async def start(environment):
    """Start the command. Kill it in the end if it still runs."""
    started = []

    async def start(*arguments):
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        process = await asyncio.create_subprocess_exec(EXECUTABLE, "watch", *arguments, env=environment, **pipes)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_entries_are_printed_as_they_are_committed_until_an_interrupt(start, client):
    await save(client, 1)
    process = await start("n", "w", "--after", "0")
    assert b"c1" in await asyncio.wait_for(process.stdout.readline(), LONG)
    await save(client, 2)
    line = (await asyncio.wait_for(process.stdout.readline(), LONG)).decode()
    assert line.split()[:2] == ["2", "checkpoint"]
    assert line.endswith("c2\n")
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), LONG) == 130
    assert await process.stderr.read() == b""


async def test_each_line_is_a_document_for_programs(start, client):
    for number in range(3):
        await save(client, number)
    process = await start("n", "w", "--after", "1", "--limit", "2", "--json")
    out, err = await asyncio.wait_for(process.communicate(), LONG)
    assert (process.returncode, err) == (0, b"")
    assert [json.loads(line)["revision"] for line in out.splitlines()] == [2, 3]


async def test_a_silent_workflow_ends_the_command(start, client):
    await save(client, 1)
    process = await start("n", "w", "--after", "0", "--silence", "0.3")
    out, _ = await asyncio.wait_for(process.communicate(), LONG)
    assert (process.returncode, len(out.splitlines())) == (0, 1)


async def test_a_reader_that_has_gone_ends_the_command_quietly(shell, client):
    for number in range(3):
        await save(client, number)
    code, out, err = await shell("set -o pipefail; $HOLDFAST watch n w --after 0 | head -n 1")
    assert (code, len(out.splitlines()), err) == (141, 1, "")
