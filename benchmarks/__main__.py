"""Run the benchmarks and print ratios: `python -m benchmarks [small|s3|large|graphs …]`, by default all of them."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import boto3

from benchmarks import graphs, large, postgres, savers, small
from benchmarks.measure import per_second
from benchmarks.small import Subject
from tests.support import ceph
from tests.support.servers import start

CALLERS = (1, 32)
Figures = dict[tuple[str, int], float]


def main() -> None:
    chosen = set(sys.argv[1:]) or {"small", "s3", "large", "graphs"}
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=os.environ.get("HOLDFAST_BENCH_FOLDER")) as name:
        folder = Path(name)
        print(f"{os.cpu_count()} cores, callers on the same machine, files in {folder.parent}")
        if "small" in chosen:
            asyncio.run(_small_on_files(folder))
        if "graphs" in chosen:
            asyncio.run(_graphs(folder))
        if chosen & {"s3", "large"}:
            with _s3(folder) as s3:
                if "s3" in chosen and s3:
                    asyncio.run(_small_on_s3(folder, *s3))
                if "large" in chosen:
                    asyncio.run(_large(folder, s3))


async def _small_on_files(folder: Path) -> None:
    plain = folder / "plain"
    plain.mkdir()
    with postgres.running(folder) as url, _holdfast((folder / "store").as_uri()) as (target, _), _nothing() as nothing:
        figures = await _measured(
            {
                "Holdfast": small.sdk(target),
                "a service that does nothing": small.sdk(nothing),
                "Holdfast, plain gRPC": small.stub(target),
                "a service that does nothing, plain gRPC": small.stub(nothing),
                "fsynced files": small.files(plain),
                "LangGraph's sqlite saver": small.saves(savers.sqlite(folder)),
            }
            | ({"LangGraph's Postgres saver": small.saves(savers.postgres(url))} if url else {})
        )
    pairs = [
        ("Holdfast", "a service that does nothing"),
        ("Holdfast, plain gRPC", "a service that does nothing, plain gRPC"),
        ("Holdfast", "fsynced files"),
        ("Holdfast", "LangGraph's sqlite saver"),
    ]
    _print_ratios("4 KiB on file://", figures, pairs + ([("Holdfast", "LangGraph's Postgres saver")] if url else []))
    if not url:
        print("  skipped the Postgres saver: no Postgres server found")


async def _graphs(folder: Path) -> None:
    with postgres.running(folder) as url, _holdfast((folder / "graphs").as_uri()) as (target, _):
        opened = {
            "Holdfast's saver": savers.holdfast(target),
            "the saver in memory": savers.memory(),
            "LangGraph's sqlite saver": savers.sqlite(folder),
        } | ({"LangGraph's Postgres saver": savers.postgres(url)} if url else {})
        figures = await _measured({name: graphs.conversation(each) for name, each in opened.items()})
    ours, *others = opened
    title = f"conversations of {graphs.STEPS} steps (save) and their states (load), LangGraph on file://"
    _print_ratios(title, figures, [(ours, each) for each in others])


async def _small_on_s3(folder: Path, endpoint: str, bucket: str) -> None:
    with _holdfast(f"s3://{bucket}/bench") as (target, _):
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
    with _holdfast((folder / "large").as_uri()) as (target, pid):
        save, load, lift = await large.through_holdfast(target, pid, source)
    shutil.rmtree(folder / "large")
    print(f"  file://  save {save:6.0f} MB/s, {save / cp:.2f} of cp with sync ({cp:.0f} MB/s)")
    print(f"           load {load:6.0f} MB/s, {load / cp:.2f} of it; the server's memory rose by {lift:.0f} MiB")
    if s3 is None or plain is None:
        return
    put, got, plain_lift = plain
    with _holdfast(f"s3://{s3[1]}/large") as (target, pid):
        save, load, lift = await large.through_holdfast(target, pid, source)
    print(f"  s3://    save {save:6.0f} MB/s, {save / put:.2f} of aioboto3's multipart upload ({put:.0f} MB/s)")
    print(f"           load {load:6.0f} MB/s, {load / got:.2f} of its download ({got:.0f} MB/s)")
    print(f"           the server's memory rose by {lift:.0f} MiB, aioboto3's by {plain_lift:.0f} MiB")


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
                print(f"  {ours:22s} {verb} {callers:2d} callers {mine:6.0f}/s {ratio}")


@contextmanager
def _holdfast(store_url: str) -> Iterator[tuple[str, int]]:
    process, target = start(store_url)
    try:
        yield target, process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _nothing() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.nothing_service"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait(15)


@contextmanager
def _s3(folder: Path) -> Iterator[tuple[str, str] | None]:
    if ceph.missing():
        print("  skipped s3://: no S3 server found")
        yield None
        return
    with ceph.running(folder / "ceph") as server:
        os.environ |= {**ceph.CREDENTIALS, "AWS_ENDPOINT_URL_S3": server.endpoint_url}
        bucket = f"bench-{uuid.uuid4().hex[:8]}"
        boto3.client("s3").create_bucket(Bucket=bucket)
        yield server.endpoint_url, bucket


if __name__ == "__main__":
    main()
