"""The servers that the benchmarks run: Holdfast, a service that does nothing, S3."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from tests.support import ceph
from tests.support.servers import start


@contextmanager
def holdfast(store_url: str) -> Iterator[tuple[str, int]]:
    """Run a server of Holdfast. Yield its target and its process id."""
    process, target = start(store_url)
    try:
        yield target, process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def nothing() -> Iterator[str]:
    """Run the service that does nothing. Yield its target."""
    command = [sys.executable, "-m", "benchmarks.nothing_service"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait(15)


@contextmanager
def s3(folder: Path) -> Iterator[tuple[str, str] | None]:
    """Run an S3 server with a bucket. Yield its URL and the bucket, or None if no S3 server is installed."""
    if ceph.missing():
        print("  skipped s3://: no S3 server found")
        yield None
        return
    with ceph.running(folder / "ceph") as server:
        os.environ |= {**ceph.CREDENTIALS, "AWS_ENDPOINT_URL_S3": server.endpoint_url}
        bucket = f"bench-{uuid.uuid4().hex[:8]}"
        boto3.client("s3").create_bucket(Bucket=bucket)
        yield server.endpoint_url, bucket
