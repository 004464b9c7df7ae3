"""Run the benchmarks and print ratios: `python -m benchmarks [--quick] [GROUP …]`, default all groups."""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import postgres, report, servers
from benchmarks.groups import fairness, go, graphs, large, lists, requests, resume, sizes, small, small_s3, tls, watch
from benchmarks.measure import Effort
from benchmarks.setting import Setting

_GROUPS: dict[str, Callable[[Setting], Awaitable[None]]] = {
    "small": small.run,
    "graphs": graphs.run,
    "lists": lists.run,
    "bytes": sizes.run,
    "requests": requests.run,
    "s3": small_s3.run,
    "large": large.run,
    "resume": resume.run,
    "fairness": fairness.run,
    "watch": watch.run,
    "tls": tls.run,
    "go": go.run,
}
_USE_POSTGRES = {"small", "graphs", "bytes", "resume", "watch"}
_USE_S3 = {"requests", "s3", "large", "resume", "watch"}
_QUICK = Effort(callers=(1, 32), rounds=2, seconds=0.7)


def main() -> None:
    arguments = _arguments()
    chosen = [name for name in _GROUPS if name in arguments.group or not arguments.group]
    effort = _QUICK if arguments.quick else Effort()
    changes = {"callers": arguments.callers, "rounds": arguments.rounds, "seconds": arguments.seconds}
    effort = replace(effort, **{name: value for name, value in changes.items() if value})
    at = os.environ.get("HOLDFAST_BENCH_FOLDER")
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=at) as name, ExitStack() as stack:
        folder = Path(name)
        print(report.header(folder))
        database = stack.enter_context(postgres.running(folder)) if _USE_POSTGRES & set(chosen) else None
        setting = Setting(folder, effort, arguments.quick, database, None)
        for group in chosen:
            if group in _USE_S3 and setting.s3 is None:
                # Not before, since it takes memory and time of the processor.
                setting = replace(setting, s3=stack.enter_context(servers.s3(folder)))
            asyncio.run(_GROUPS[group](setting))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare Holdfast with other stores.")
    parser.add_argument("group", nargs="*", metavar="GROUP", help=f"{', '.join(_GROUPS)}; default all")
    parser.add_argument("--quick", action="store_true", help="fewer callers, shorter turns, no long workloads")
    parser.add_argument("--callers", type=_numbers, help="numbers of concurrent callers, such as 1,32")
    parser.add_argument("--rounds", type=int, help="how often each store has its turn")
    parser.add_argument("--seconds", type=float, help="how long a turn takes")
    arguments = parser.parse_args()
    if unknown := set(arguments.group) - set(_GROUPS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; the groups are {', '.join(_GROUPS)}")
    return arguments


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


if __name__ == "__main__":
    main()
