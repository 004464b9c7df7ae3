"""Run the benchmarks and print ratios: `python -m benchmarks [--quick] [GROUP …]`, default all groups.

The groups are small, graphs, lists, bytes, s3, large and resume. `--quick` leaves out the longest workloads of bytes.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from benchmarks import graphs, large, lists, postgres, resume, savers, servers, sizes, small
from benchmarks.measure import per_second
from benchmarks.small import Subject

CALLERS = (1, 32, 256)
_ALL = ("small", "graphs", "lists", "bytes", "s3", "large", "resume")
_QUICK = "--quick"
Figures = dict[tuple[str, int], float]


def main() -> None:
    is_quick = _QUICK in sys.argv
    chosen = [each for each in sys.argv[1:] if each != _QUICK] or list(_ALL)
    if unknown := set(chosen) - set(_ALL):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; the benchmarks are {', '.join(_ALL)}")
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=os.environ.get("HOLDFAST_BENCH_FOLDER")) as name:
        folder = Path(name)
        print(f"{os.cpu_count()} cores, callers on the same machine, files in {folder.parent}")
        if "small" in chosen:
            asyncio.run(_small_on_files(folder))
        if "graphs" in chosen:
            asyncio.run(_graphs(folder))
        if "lists" in chosen:
            asyncio.run(_lists(folder))
        if "bytes" in chosen:
            with postgres.running(folder) if not is_quick else nullcontext() as url:
                asyncio.run(sizes.run(folder / "bytes", url, is_quick=is_quick))
        if {"s3", "large", "resume"} & set(chosen):
            with servers.s3(folder) as s3:
                if "s3" in chosen and s3:
                    asyncio.run(_small_on_s3(folder, *s3))
                if "large" in chosen:
                    asyncio.run(_large(folder, s3))
                if "resume" in chosen:
                    _resume(folder, s3)


async def _small_on_files(folder: Path) -> None:
    plain = folder / "plain"
    plain.mkdir()
    with (
        postgres.running(folder) as url,
        servers.holdfast((folder / "store").as_uri()) as (target, _),
        servers.nothing() as nothing,
    ):
        subjects = {
            "Holdfast": small.sdk(target),
            "Holdfast embedded": small.sdk((folder / "embedded").as_uri()),
            "a service that does nothing": small.sdk(nothing),
            "Holdfast, plain gRPC": small.stub(target),
            "a service that does nothing, plain gRPC": small.stub(nothing),
            "fsynced files": small.files(plain),
            "LangGraph's sqlite saver": small.saves(savers.sqlite(folder)),
        } | ({"LangGraph's Postgres saver": small.saves(savers.postgres(url))} if url else {})
        figures = await _measured(subjects)
    others = [name for name in subjects if not name.startswith("Holdfast") and "plain gRPC" not in name]
    pairs = [(ours, theirs) for ours in ("Holdfast", "Holdfast embedded") for theirs in others]
    pairs.append(("Holdfast, plain gRPC", "a service that does nothing, plain gRPC"))
    _print_ratios("4 KiB on file://", figures, pairs)
    if not url:
        print("  skipped the Postgres saver: no Postgres server found")


async def _graphs(folder: Path) -> None:
    with postgres.running(folder) as url, servers.holdfast((folder / "graphs").as_uri()) as (target, _):
        opened = {
            "Holdfast's saver": savers.holdfast(target),
            "Holdfast's, embedded": savers.holdfast((folder / "graphs-embedded").as_uri()),
            "the saver in memory": savers.memory(),
            "LangGraph's sqlite saver": savers.sqlite(folder),
        } | ({"LangGraph's Postgres saver": savers.postgres(url)} if url else {})
        figures = await _measured({name: graphs.conversation(each) for name, each in opened.items()})
    remote, embedded, *others = opened
    title = f"conversations of {graphs.STEPS} steps (save) and their states (load), LangGraph on file://"
    _print_ratios(title, figures, [(ours, each) for ours in (remote, embedded) for each in others])


async def _lists(folder: Path) -> None:
    store = (folder / "lists").as_uri()
    with servers.holdfast(store) as (target, _):
        await lists.fill_lists(target)
    await lists.fill_logs(store)
    print("\nlists of workflows on file://: milliseconds for each workflow, and of the smallest list's")
    with servers.holdfast(store) as (target, _):
        least = 0.0
        async for count, each in lists.milliseconds_per_workflow(target):
            least = least or each
            print(f"  {count:7d} workflows {each:8.4f} ms {each / least:6.2f}")
        print("\nnewest checkpoint on file://: milliseconds of the server's first load, and of later ones")
        async for count, first, later in lists.milliseconds_of_newest(target):
            print(f"  {count:7d} checkpoints {first:8.2f} ms {later:8.2f} ms")


async def _small_on_s3(folder: Path, endpoint: str, bucket: str) -> None:
    with servers.holdfast(f"s3://{bucket}/bench") as (target, _):
        figures = await _measured({"Holdfast": small.sdk(target), "aioboto3": small.s3_objects(endpoint, bucket)})
    _print_ratios("4 KiB on s3://", figures, [("Holdfast", "aioboto3")])


async def _large(folder: Path, s3: tuple[str, str] | None) -> None:
    source, copy = folder / "input", folder / "copy"
    large.write_input(source)
    print("\n1 GiB")
    # First: later uploads would reuse memory that this process has kept.
    plain = await large.by_multipart(*s3, source, copy) if s3 else None
    cp = await large.by_cp(source, copy)
    copy.unlink()
    with servers.holdfast((folder / "large").as_uri()) as (target, pid):
        transfers, lift = await large.through_holdfast(target, pid, source, copy)
    shutil.rmtree(folder / "large")
    print(f"  file://, the server's memory rose by {lift:.0f} MiB; cp with sync: {cp:.0f} MB/s")
    for verb, ours in transfers.items():
        _print_transfer(verb, ours, cp, "cp")
    if s3 is None or plain is None:
        return
    with servers.holdfast(f"s3://{s3[1]}/large") as (target, pid):
        transfers, lift = await large.through_holdfast(target, pid, source, copy)
    print(f"  s3://, the server's memory rose by {lift:.0f} MiB")
    for verb, ours in transfers.items():
        theirs, name = (plain[0], "aioboto3's upload") if verb == "save" else (plain[1], "aioboto3's download")
        _print_transfer(verb, ours, theirs.speed, name)
    for name, theirs in zip(("upload", "download"), plain, strict=True):
        _print_transfer(f"aioboto3's {name}", theirs, theirs.speed, "itself")


def _print_transfer(verb: str, transfer: large.Transfer, theirs: float, name: str) -> None:
    print(
        f"    {verb:20s} {transfer.speed:6.0f} MB/s, {transfer.speed / theirs:.2f} of {name}; CPU of the server "
        f"{transfer.server_seconds:.1f} s, of the caller {transfer.caller_seconds:.1f} s; "
        f"the caller's memory rose by {transfer.caller_mib:.0f} MiB"
    )


def _resume(folder: Path, s3: tuple[str, str] | None) -> None:
    embedded, file = (folder / "resume-embedded").as_uri(), (folder / "resume").as_uri()
    with postgres.running(folder) as url, servers.holdfast(file) as (remote, _):
        places = {
            "Holdfast embedded": ("holdfast", embedded),
            "Holdfast remote": ("holdfast", remote),
            "LangGraph's sqlite saver": ("sqlite", str(folder)),
        } | ({"LangGraph's Postgres saver": ("postgres", url)} if url else {})
        _print_resumes("file://", places)
    if s3 is not None:
        with servers.holdfast(f"s3://{s3[1]}/resume") as (remote, _):
            _print_resumes("s3://", {"Holdfast remote": ("holdfast", remote)})


def _print_resumes(store: str, places: dict[str, tuple[str, str]]) -> None:
    print(f"\ntime to resume on {store}, LangGraph's savers: milliseconds from opening to the loaded newest state")
    for name, place in places.items():
        asyncio.run(resume.fill(*place))
        taken = ", ".join(f"{size}: {resume.milliseconds(*place, size):.1f}" for size in resume.SIZES)
        print(f"  {name:26s} {taken}")


async def _measured(subjects: dict[str, AbstractAsyncContextManager[Subject]]) -> Figures:
    figures: Figures = {}
    for name, subject in subjects.items():
        async with subject as under_test:
            for callers in CALLERS:
                figures[f"{name} save", callers] = await per_second(under_test.save, callers)
                figures[f"{name} load", callers] = await per_second(under_test.load, callers)
    return figures


def _print_ratios(title: str, figures: Figures, pairs: list[tuple[str, str]]) -> None:
    print(f"\n{title}: operations per second, and ratio")
    for ours, theirs in pairs:
        for verb in ("save", "load"):
            for callers in CALLERS:
                mine, other = figures[f"{ours} {verb}", callers], figures[f"{theirs} {verb}", callers]
                ratio = f"{mine / other:6.2f} of {theirs} ({other:.0f}/s)"
                print(f"  {ours:22s} {verb} {callers:3d} callers {mine:6.0f}/s {ratio}")


if __name__ == "__main__":
    main()
