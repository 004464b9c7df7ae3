"""Saves of 4 KiB on a folder with the Go client, beside the Python SDK. Each has a process of its own."""

import asyncio
import shutil
import subprocess
from pathlib import Path

from benchmarks import servers, subjects
from benchmarks.measure import Figure, tree_cpu_seconds, turn
from benchmarks.report import print_figures
from benchmarks.setting import Setting

GO = "Go client"
PYTHON = "Python SDK"
_MODULE = Path(__file__).parents[2] / "clients/go"
_WARM_UP_SECONDS = 0.2


async def run(setting: Setting) -> None:
    """Measure and print them."""
    if shutil.which("go") is None:
        print("\nskipped the Go client: no Go found")
        return
    store, program = setting.folder / "go", setting.folder / "saver"
    build = ["go", "build", "-buildvcs=false", "-o", str(program), "./internal/saver"]
    await asyncio.to_thread(subprocess.run, build, cwd=_MODULE, check=True)
    with servers.holdfast(store.as_uri()) as (target, pid):
        saver = await asyncio.create_subprocess_exec(program, target, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        async with subjects.sdk(target, pid) as sdk:
            figures = {}
            for callers in setting.effort.callers:
                found = figures["save", callers] = {PYTHON: Figure(), GO: Figure()}
                await turn(sdk.save, callers, _WARM_UP_SECONDS, (), Figure())
                await _turn(saver, callers, _WARM_UP_SECONDS, pid, Figure())
                for _ in range(setting.effort.rounds):
                    await turn(sdk.save, callers, setting.effort.seconds, sdk.servers, found[PYTHON])
                    await _turn(saver, callers, setting.effort.seconds, pid, found[GO])
        assert saver.stdin is not None
        saver.stdin.close()
        await saver.wait()
    print_figures("4 KiB on file://", figures, [PYTHON])


async def _turn(saver: asyncio.subprocess.Process, callers: int, seconds: float, server: int, figure: Figure) -> None:
    """Let the Go program save for a while, and add what it measured."""
    assert saver.stdin is not None
    assert saver.stdout is not None
    served = tree_cpu_seconds(server)
    saver.stdin.write(f"{callers} {seconds}\n".encode())
    saves, took, used = (float(each) for each in (await saver.stdout.readline()).split())
    figure.rates.append(saves / took)
    figure.operations += int(saves)
    figure.caller_seconds += used
    figure.server_seconds += tree_cpu_seconds(server) - served
