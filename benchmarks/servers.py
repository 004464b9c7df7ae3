"""The servers that the benchmarks run: Holdfast, a service that does nothing, S3."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from tests.support import ceph
from tests.support.servers import start


@contextmanager
def holdfast(
    store_url: str, *, s3_client: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, int]]:
    """Run a server of Holdfast. Yield its target and its process id.

    Args:
        store_url: the store.
        s3_client: the library that sends small requests to S3; "" for the server's default.
        environment: variables to add.

    """
    flags = ("--s3-client", s3_client) if s3_client else ()
    process, target = start(store_url, *flags, environment=environment)
    try:
        yield target, process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def nothing() -> Iterator[tuple[str, int]]:
    """Run the service that does nothing. Yield its target and its process id."""
    command = [sys.executable, "-m", "benchmarks.nothing_service"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{process.stdout.readline().strip()}", process.pid
    finally:
        process.terminate()
        process.wait(15)


@dataclass(frozen=True, slots=True)
class S3:
    """An S3 server that runs.

    Attributes:
        endpoint: its URL.
        bucket: a bucket.

    """

    endpoint: str
    bucket: str
    _configuration: Path

    def delete_all(self) -> None:
        """Delete every object, and wait until the server, which keeps them in memory, has freed it."""
        objects: Any = boto3.resource("s3").Bucket(self.bucket).objects
        objects.all().delete()
        command = ["radosgw-admin", "--name", "client.rgw", "gc", "process", "--include-all", "-c"]
        subprocess.run([*command, str(self._configuration)], check=True, capture_output=True)


@contextmanager
def s3(folder: Path) -> Iterator[S3 | None]:
    """Run an S3 server with a bucket. Yield it, or None if no S3 server is installed."""
    if ceph.missing():
        print("\nskipped s3://: no S3 server found")
        yield None
        return
    with ceph.running(folder / "ceph") as server:
        os.environ |= {**ceph.CREDENTIALS, "AWS_ENDPOINT_URL_S3": server.endpoint_url}
        bucket = f"bench-{uuid.uuid4().hex[:8]}"
        boto3.client("s3").create_bucket(Bucket=bucket)
        yield S3(server.endpoint_url, bucket, folder / "ceph" / "ceph.conf")
