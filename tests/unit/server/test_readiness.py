"""Liveness is about the process alone, readiness about its store as well. Both are logged for an operator."""

import asyncio
import json
import os
import shutil
import time

import grpc
import holdfast
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from holdfast_server import store_watch
from holdfast_server.health import READY, NotServingError, require_serving
from holdfast_server.stores.base import StoreAccessDeniedError, StoreUnavailableError

from tests.support import servers
from tests.support.certificates import Authority
from tests.support.servers import start
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("f", 1)
SERVING, NOT_SERVING = "SERVING", "NOT_SERVING"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(store_watch, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(store_watch, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(store_watch, "_CHECK_SECONDS", 0.5)


class Watched:
    def __init__(self, channel, service):
        self._stub = health_pb2_grpc.HealthStub(channel)
        self._service = service
        self._stream = self._stub.Watch(health_pb2.HealthCheckRequest(service=service))

    async def next(self):
        async with asyncio.timeout(20):
            return health_pb2.HealthCheckResponse.ServingStatus.Name((await self._stream.read()).status)

    async def now(self, service=""):
        answer = await self._stub.Check(health_pb2.HealthCheckRequest(service=service))
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def nothing(operation, key):
    pass


class Failing:
    """A store that calls `before` before each request, so that a test can make it fail."""

    def __init__(self, store):
        self._store = store
        self.before = nothing

    async def get(self, key, **where):
        await self.before("get", key)
        return await self._store.get(key, **where)

    async def put_if_absent(self, key, data):
        await self.before("put_if_absent", key)
        return await self._store.put_if_absent(key, data)

    def __getattr__(self, name):
        return getattr(self._store, name)


@pytest.fixture
async def served(quick, tmp_path):
    stores = []

    def around(store):
        stores.append(Failing(store))
        return stores[0]

    async with serving_watched(tmp_path, around=around) as served:
        served.store = stores[0]
        yield served


@pytest.fixture
async def ready(served):
    async with grpc.aio.insecure_channel(served.target) as channel:
        watched = Watched(channel, READY)
        assert await watched.next() == SERVING
        yield watched


def failing(*operations, error=StoreUnavailableError):
    async def fail(operation, key):
        if operation in operations:
            raise error("no")

    return fail


async def test_a_server_whose_store_cannot_be_read_is_live_but_not_ready(ready, served):
    served.store.before = failing("get", "put_if_absent")
    assert await ready.next() == NOT_SERVING
    for service in ("", "holdfast.v1.CheckpointService"):
        assert await ready.now(service) == SERVING
    served.store.before = nothing
    assert await ready.next() == SERVING


async def test_a_server_whose_store_does_not_answer_is_not_ready(ready, served):
    released = asyncio.Event()

    async def hang(operation, key):
        await released.wait()

    served.store.before = hang
    assert await ready.next() == NOT_SERVING
    released.set()
    assert await ready.next() == SERVING


@pytest.mark.parametrize("error", [StoreUnavailableError, StoreAccessDeniedError])
async def test_a_server_whose_store_cannot_be_written_is_not_ready_once_a_save_has_failed(ready, served, client, error):
    served.store.before = failing("put_if_absent", error=error)
    with pytest.raises(holdfast.HoldfastError):
        await client.save("n", "w", b"x", format=FORMAT, timeout=1)
    assert await ready.next() == NOT_SERVING
    served.store.before = nothing
    assert await ready.next() == SERVING
    await client.save("n", "w", b"x", format=FORMAT)


async def test_a_single_failed_call_does_not_change_readiness(ready, served, client, monkeypatch):
    looked, found = asyncio.Event(), []

    async def note(self, is_ready, why):
        found.append(is_ready)
        looked.set()

    monkeypatch.setattr(store_watch.StoreWatch, "_set_ready", note)
    # Retried requests do not reach the watch, so the call must fail in the end.
    served.store.before = failing("put_if_absent")
    with pytest.raises(holdfast.HoldfastError):
        await client.save("n", "w", b"x", format=FORMAT, timeout=0.5)
    served.store.before = nothing
    found.clear()
    looked.clear()
    await asyncio.wait_for(looked.wait(), 20)
    assert found[0]
    assert await ready.now(READY) == SERVING


async def test_a_server_whose_store_was_replaced_is_never_ready_again(ready, served, client):
    await client.save("n", "w", b"x", format=FORMAT)
    shutil.rmtree(served.folder)
    assert await ready.next() == NOT_SERVING
    assert await ready.now() == SERVING
    with pytest.raises(holdfast.HoldfastError, match="STORE_REPLACED"):
        await client.load("n", "w", timeout=5)
    assert not list(served.folder.rglob("holdfast.json"))


def test_the_health_command_checks_liveness_or_readiness_and_prints_one_line_if_it_fails(tmp_path):
    def health(target, *flags):
        result = servers.run("health", "--target", target, *flags)
        return result.returncode, result.stderr

    def is_ready(target):
        try:
            require_serving(target, ready=True)
        except NotServingError:
            return False
        return True

    process, target = start((tmp_path / "store").as_uri())
    try:
        assert (health(target), health(target, "--ready")) == ((0, ""), (0, ""))
        shutil.rmtree(tmp_path / "store")
        with holdfast.Client(target) as client, pytest.raises(holdfast.HoldfastError):
            # A failed save makes the server check the store at once.
            client.save("n", "w", bytes(100_000), format=FORMAT, timeout=5)
        ended = time.monotonic() + 20
        while is_ready(target) and time.monotonic() < ended:
            time.sleep(0.1)
        not_ready = f"holdfast-server: {target} is not ready: NOT_SERVING\n"
        assert (health(target), health(target, "--ready")) == ((0, ""), (1, not_ready))
    finally:
        process.terminate()
        process.wait(20)
    for flags in ((), ("--ready",)):
        code, message = health(target, *flags)
        assert code == 1
        assert message.startswith(f"holdfast-server: no answer from {target}: UNAVAILABLE: ")
        assert len(message.splitlines()) == 1


def run_and_read(tmp_path, *flags):
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process, target = start((tmp_path / "store").as_uri(), *flags, stderr=stderr)
        with holdfast.Client(target) as client, pytest.raises(holdfast.WorkflowNotFoundError):
            client.load("n", "nobody")
        process.terminate()
        assert process.wait(20) == 0
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_level_decides_whether_a_routine_refusal_is_logged(tmp_path):
    assert [line for line in run_and_read(tmp_path) if line["message"] == "call failed"] == []
    [line] = [each for each in run_and_read(tmp_path, "--log-level", "debug") if each["message"] == "call failed"]
    assert (line["level"], line["reason"]) == ("debug", "WORKFLOW_NOT_FOUND")


def test_the_first_line_is_json_like_the_log(tmp_path):
    process = servers.started("--listen", "127.0.0.1:0", "--store", str(tmp_path / "a store"), "--workers", "2")
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.terminate()
    assert process.wait(20) == 0
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(line)
        assert line["store"] == (tmp_path / "a store").as_uri()
        assert line["message"] == f"holdfast-server listens on {line['address']}, store {line['store']}"


@pytest.mark.parametrize("level", ["", "loud", "INFO"])
def test_an_unknown_level_is_refused(tmp_path, level):
    result = servers.run("fsck", "--store", str(tmp_path), "--log-level", level)
    assert result.returncode == 2
    assert "one of debug, info, warning, error" in result.stderr


@pytest.mark.parametrize("client_auth", ["off", "require"])
def test_the_health_command_reads_from_the_settings_of_the_server_that_it_serves_tls(tmp_path, client_auth):
    authority, stranger = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    pair = authority.issue()
    settings = {
        "HOLDFAST_TLS_CERT_FILE": str(pair.cert_file),
        "HOLDFAST_TLS_KEY_FILE": str(pair.key_file),
        "HOLDFAST_TLS_CLIENT_CA_FILE": str(authority.ca_file),
        "HOLDFAST_TLS_CLIENT_AUTH": client_auth,
    }
    process, target = start((tmp_path / "store").as_uri(), environment=settings)

    def health(*flags, at=target, **environment):
        result = servers.run("health", "--target", at, *flags, env={**os.environ, **environment})
        return result.returncode, result.stderr

    try:
        assert health("--ready", **settings) == (0, "")
        assert health(HOLDFAST_TLS_CA_FILE=str(authority.ca_file), **settings)[0] == 0
        code, problem = health("--tls-ca-file", str(stranger.ca_file), **settings)
        assert code == 1
        assert "CERTIFICATE_VERIFY_FAILED" in problem
        assert health()[0] == 1
        if client_auth == "off":
            assert health(at=f"grpcs://{target}") == (0, "")
            # The server goes on with what it has read.
            pair.cert_file.write_text("broken")
            assert health(**settings) == (0, "")
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_the_health_command_names_the_file_that_it_cannot_read(tmp_path):
    result = servers.run("health", "--tls-ca-file", "none.pem", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "holdfast-server: tls_ca_file: 'none.pem': cannot read it: No such file or directory\n"
