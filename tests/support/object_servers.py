"""Throw-away servers of object stores, on loopback only: MinIO and versitygw (S3), and Azurite (Azure Blob Storage)."""

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.config import Config

from tests.support import ceph
from tests.support.ports import free_port, wait_for_http

# The key that MinIO has by default.
KMS_KEY = "test-key"
AZURE_ACCOUNT = "devstoreaccount1"
# The key that Azurite publishes in its documentation.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
AZURE_CREDENTIALS = {"AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}


def missing(program: str) -> str:
    """Return why a program cannot be run, "" if it can."""
    return "" if shutil.which(program) else f"{program} not found: .ci/run installs it"


@contextmanager
def minio(folder: Path, kms_key: str = KMS_KEY) -> Iterator[str]:
    """Run MinIO, with a key management that has one key. Yield its URL; the credentials are those of `ceph`."""
    port, console = free_port(), free_port()
    addresses = ("--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console}")
    environment = {
        "MINIO_ROOT_USER": ceph.ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": ceph.SECRET_KEY,
        "MINIO_KMS_SECRET_KEY": f"{kms_key}:{base64.b64encode(bytes(32)).decode()}",
    }
    with _running(port, "minio", "server", "--quiet", *addresses, str(folder), environment=environment) as url:
        # It answers before it is initialized, with an error that is retried.
        limits = Config(retries={"total_max_attempts": 10})
        credentials = {"aws_access_key_id": ceph.ACCESS_KEY, "aws_secret_access_key": ceph.SECRET_KEY}
        boto3.client("s3", endpoint_url=url, config=limits, **credentials).list_buckets()
        yield url


@contextmanager
def versitygw(folder: Path) -> Iterator[str]:
    """Run versitygw on a folder. Yield its URL; the credentials are those of `ceph`."""
    port = free_port()
    command = ("versitygw", "--quiet", "--port", f"127.0.0.1:{port}", "posix", str(folder))
    environment = {"ROOT_ACCESS_KEY": ceph.ACCESS_KEY, "ROOT_SECRET_KEY": ceph.SECRET_KEY}
    with _running(port, *command, environment=environment) as url:
        yield url


@contextmanager
def azurite() -> Iterator[str]:
    """Run Azurite, which keeps everything in memory. Yield the URL of its account."""
    port = free_port()
    command = ("azurite-blob", "--silent", "--disableTelemetry", "--inMemoryPersistence", "--skipApiVersionCheck")
    with _running(port, *command, "--blobPort", str(port), environment={}) as url:
        yield f"{url}/{AZURE_ACCOUNT}"


def create_bucket(endpoint_url: str) -> str:
    """Create a bucket in an S3 server. Return its name."""
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    # Without these limits, a server that hangs would fail a test by its timeout, which says less.
    limits = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1})
    boto3.client("s3", endpoint_url=endpoint_url, config=limits).create_bucket(Bucket=bucket)
    return bucket


def empty_bucket(endpoint_url: str, bucket: str) -> None:
    """Delete every object of a bucket in an S3 server."""
    boto3.resource("s3", endpoint_url=endpoint_url).Bucket(bucket).objects.delete()


def create_container(account_url: str) -> str:
    """Create a container in Azurite. Return its name."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    headers = {"x-ms-date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"), "x-ms-version": "2021-08-06"}
    signed = "\n".join(f"{key}:{value}" for key, value in headers.items())
    text = "PUT" + "\n" * 12 + f"{signed}\n/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"
    url = f"{account_url}/{name}?restype=container"
    urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers), timeout=100).close()
    return name


@contextmanager
def _running(port: int, *command: str, environment: Mapping[str, str]) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for_http(url)
            yield url
        finally:
            server.kill()
