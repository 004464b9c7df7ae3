"""A run of `gc` or `fsck` that is cut off prints the position from which another run can continue."""

import json
import shlex
import signal
from collections.abc import Callable
from functools import partial

import pytest
from holdfast_server.protocol.checkpoints import fence
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log, now
from holdfast_server.protocol.maintenance.sweep import Policies
from holdfast_server.store_commands import run_fsck, run_gc
from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.memory import MemoryStore

WORKFLOWS = 300
RUNS = {
    "gc": partial(run_gc, policies=Policies({}), dry_run=False),
    "fsck": partial(run_fsck, repair=False, quick=False),
}


class CutOff(MemoryStore):
    """A store that calls `happens` at one of the reads."""

    countdown = 0
    happens: Callable[[], None]

    async def get(self, key, **where):
        self.countdown -= 1
        if self.countdown == 0:
            self.happens()
        return await super().get(key, **where)


@pytest.fixture
async def log():
    log = Log(CutOff(), cache_bytes=0)
    for number in range(WORKFLOWS):
        await fence.acquire_writer(log, Request(WorkflowKeys("n", f"w{number}"), "r"), deadline=now() + 60)
    log.store.countdown = WORKFLOWS // 2
    return log


async def require_the_rest(log, command, printed):
    *_, position = shlex.split(printed)
    first = int(printed.partition(" ")[0])
    assert 0 < first < WORKFLOWS
    log.store.countdown = 0
    assert await RUNS[command](log, after=position) == 0
    return first


@pytest.mark.parametrize("command", RUNS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_run_that_a_signal_ends_prints_its_position_and_exits_with_its_number(log, command, number, capsys):
    log.store.happens = partial(signal.raise_signal, number)
    assert await RUNS[command](log, after="") == 128 + number
    out, printed = capsys.readouterr()
    assert out == ""
    first = await require_the_rest(log, command, printed)
    assert json.loads(capsys.readouterr().out)["workflows"] == WORKFLOWS - first


@pytest.mark.parametrize("command", RUNS)
async def test_a_run_that_is_ended_by_a_failure_of_the_store_prints_its_position(log, command, capsys):
    def fails():
        # All later reads fail as well, because a single failure is retried.
        log.store.countdown = 1
        raise StoreUnavailableError("no answer")

    log.store.happens = fails
    with pytest.raises(StoreUnavailableError):
        await RUNS[command](log, after="")
    await require_the_rest(log, command, capsys.readouterr().err)
