"""A server in the test process, on a store that counts its requests and can fail on request."""

import functools
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import botocore.session
import holdfast
import pytest
from hypothesis import settings

from tests.support import ceph, kept, object_servers
from tests.support.budget import full
from tests.support.listed_reasons import only_listed_reasons
from tests.support.required import require
from tests.support.watched import Served, serving_watched, settings_of

# Each client of S3 would read the descriptions of its calls again, which takes a tenth of a second.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)
# How long an example takes depends on what else runs.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


@pytest.fixture(scope="session", autouse=True)
def _signals_reach_processes() -> None:
    """Give signals their effect, since processes that tests start inherit the signals that nohup or `&` has ignored."""
    for number, effect in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, effect)


@pytest.fixture(autouse=True)
def _reasons_are_listed() -> Iterator[None]:
    with only_listed_reasons():
        yield


@pytest.fixture
async def served(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with serving_watched(tmp_path, **settings_of(request.node)) as served:
        yield served


@pytest.fixture
async def client(served: Served) -> AsyncIterator[holdfast.AsyncClient]:
    async with holdfast.AsyncClient(served.target, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the processes of the run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def s3_endpoint(run_folder: Path) -> str:
    given = os.environ.get("HOLDFAST_TEST_S3_URL")
    if given:
        return given
    if ceph.missing():
        require(f"no S3 server: {', '.join(ceph.missing())} not found, HOLDFAST_TEST_S3_URL not set")
    os.environ |= ceph.CREDENTIALS
    return kept.url_of("ceph", run_folder)


@pytest.fixture
def s3_bucket(s3_endpoint: str) -> str:
    return object_servers.create_bucket(s3_endpoint)


@pytest.fixture(scope="session")
def minio_endpoint(run_folder: Path) -> str:
    require(object_servers.missing("minio"))
    os.environ |= ceph.CREDENTIALS
    return kept.url_of("minio", run_folder)


@pytest.fixture(scope="session")
def versitygw_endpoint(run_folder: Path) -> str:
    require(object_servers.missing("versitygw"))
    os.environ |= ceph.CREDENTIALS
    return kept.url_of("versitygw", run_folder)


@pytest.fixture(scope="session")
def azure_endpoint(run_folder: Path) -> str:
    require(object_servers.missing("azurite-blob"))
    os.environ |= object_servers.AZURE_CREDENTIALS
    return kept.url_of("azurite", run_folder)


@pytest.fixture
def azure_container(azure_endpoint: str) -> str:
    return object_servers.create_container(azure_endpoint)


@pytest.fixture(params=["file", "s3", full("s3 obstore"), full("azure")])
def store_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a store of each durable kind."""
    if request.param == "file":
        return tmp_path.as_uri()
    if request.param == "azure":
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", request.getfixturevalue("azure_endpoint"))
        return f"az://{request.getfixturevalue('azure_container')}/some/prefix"
    if request.param == "s3 obstore":
        monkeypatch.setenv("HOLDFAST_S3_CLIENT", "obstore")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", request.getfixturevalue("s3_endpoint"))
    return f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix"
