"""Errors that do not come from a server of Holdfast: the message has the cause, with gRPC's own code and words."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import grpc
import holdfast
import pytest
from google.rpc import error_details_pb2, status_pb2
from holdfast._core import targets
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceServicer, add_CheckpointServiceServicer_to_server
from hypothesis import given
from hypothesis import strategies as st

from tests.support import servers

FORMAT = holdfast.Format("test", 1)
REFUSED = [
    "http://127.0.0.1:7433",
    "https://x.example",
    "HTTP://x:1",
    "grpc://x:1",
    "tcp://x:1",
    "s3://b/p",
    "",
    "localhost",
    ":7433",
    "x:",
    "x:0",
    "x:65536",
    "x:99999999999999999999",
    "a b:1",
    "x:1\n",
    "\x1bx:1",
]
HERE = [
    "127.0.0.1:1",
    "127.8.9.1:1",
    "localhost:1",
    "LOCALHOST:1",
    "x.localhost:1",
    "[::1]:1",
    "unix:/x",
    "unix:///x",
    "dns:///localhost:1",
    "ipv4:127.0.0.1:1,127.0.0.1:2",
    "ipv6:[::1]:1",
    "unix-abstract:x",
    "0.0.0.0:1",
]
ELSEWHERE = [
    "10.0.0.1:1",
    "x.example:1",
    "localhost.example:1",
    "notlocalhost:1",
    "[2001:db8::1]:1",
    "1127.0.0.1:1",
    "ipv4:127.0.0.1:1,10.0.0.1:1",
    "dns://8.8.8.8/x.example:1",
    "xds:///x",
    "127.0.0.1.example:1",
]
# However slow the machine is, a call that can be retried has two attempts, and does not use up its time.
ONE_RETRY = holdfast.RetryPolicy(burst_retries=1, retries_per_second=0)
PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


async def failed(connect, target, *, timeout=0.6, **options):
    """Return the error of a load. A busy machine may need longer for the first attempt: the load has more time then."""
    async with connect(target, timeout=timeout, **options) as client:
        with pytest.raises(holdfast.HoldfastError) as caught:
            await client.load("n", "w")
    assert len(caught.value.trace_id) == 32
    if type(caught.value) is holdfast.DeadlineExceededError and timeout < 10:
        return await failed(connect, target, timeout=5 * timeout, **options)
    return caught.value


@asynccontextmanager
async def answering(answer):
    """Run a server that answers every connection with these bytes and closes it. Yield its port and what it read."""

    async def serve(reader, writer):
        seen.append(await reader.read(4096))
        writer.write(answer)
        writer.close()

    seen = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], seen


# Connections


async def test_a_refused_connection_is_named_as_the_cause(connect):
    error = await failed(connect, "127.0.0.1:9")
    assert type(error) is holdfast.ServerUnavailableError
    assert (error.reason, error.code) == ("SERVER_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE)
    assert "127.0.0.1:9" in str(error)
    assert "Connection refused" in str(error)


async def test_an_unknown_host_name_is_named_as_the_cause(connect):
    error = await failed(connect, "none.invalid:7433")
    assert type(error) is holdfast.ServerUnavailableError
    assert "none.invalid:7433" in str(error)
    assert "resolv" in str(error)


async def test_an_http_1_server_is_named_as_the_cause(connect):
    async with answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as (port, _):
        assert "Trying to connect an http1.x server" in str(await failed(connect, f"127.0.0.1:{port}"))


async def test_a_server_that_expects_tls_is_named_as_the_cause(connect, tmp_path):
    names = ("-subj", "/CN=localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "certificate")
    made = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, stderr=asyncio.subprocess.PIPE
    )
    await made.communicate()
    pair = (tmp_path / "key").read_bytes(), (tmp_path / "certificate").read_bytes()
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        assert "it expects TLS" in str(await failed(connect, f"127.0.0.1:{port}"))
    finally:
        server.stop(0)


# Targets


@pytest.mark.parametrize(
    "target",
    REFUSED,
)
def test_a_target_that_grpc_cannot_parse_is_refused_at_once(target):
    for kind in (holdfast.Client, holdfast.AsyncClient):
        with pytest.raises(holdfast.InvalidRequestError, match="target must be host:port") as caught:
            kind(target)
        assert caught.value.field_violations[0][0] == "target"
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("target", [None, 7433, b"x:1", ("x", 1)])
def test_a_target_must_be_text(target):
    with pytest.raises(TypeError, match="target must be text"):
        holdfast.Client(target)


def test_credentials_in_a_target_are_not_shown():
    with pytest.raises(holdfast.InvalidRequestError) as caught:
        holdfast.Client("https://user:secret@x.example:1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    HERE,
)
def test_targets_on_this_machine_are_recognized(target):
    assert targets.checked(target) == target
    assert targets.is_loopback(target)
    assert targets.proxy_of(target, {"http_proxy": "http://p:1"}) == ""


@pytest.mark.parametrize(
    "target",
    ELSEWHERE,
)
def test_targets_on_other_machines_are_recognized(target):
    assert targets.checked(target) == target
    assert not targets.is_loopback(target)
    assert targets.proxy_of(target, {"http_proxy": "http://u:p@p:1"}) == "p:1"


@given(st.text(max_size=60))
def test_any_text_is_accepted_as_a_target_or_refused(text):
    with suppress(holdfast.InvalidRequestError):
        targets.checked(text)
        targets.is_loopback(text)
        targets.proxy_of(text, {"http_proxy": text, "no_proxy": text})


# Proxies


async def test_a_proxy_that_refuses_is_named_without_its_password(connect, monkeypatch):
    async with answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (port, seen):
        monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
        error = await failed(connect, "holdfast.example:7433")
    assert type(error) is holdfast.ServerUnavailableError
    assert f"through the proxy 127.0.0.1:{port} that the environment names" in str(error)
    assert "403" in str(error)
    assert "secret" not in str(error)
    assert seen[0].startswith(b"CONNECT holdfast.example:7433")


@pytest.mark.asynchronous_only("two commands, which use the synchronous client")
@pytest.mark.remote_only("proxies")
async def test_targets_on_this_machine_never_go_through_a_proxy(connect, monkeypatch, served):
    async with answering(b"HTTP/1.1 403 Forbidden\r\n\r\n") as (port, seen):
        for name in PROXIES[:3]:
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        async with connect(served.target) as client:
            await client.save("n", "w", b"x", format=FORMAT)
        for target in (served.target, served.target.replace("127.0.0.1", "localhost")):
            health = await asyncio.to_thread(servers.run, "health", "--target", target)
            assert health.returncode == 0
        assert seen == []


# Statuses


class Ending(CheckpointServiceServicer):
    """A server that ends every load with a status, with or without the details of a reason."""

    def __init__(self, code, said="said", reason="", retry_seconds=None):
        self.attempts = 0
        self._code, self._said, self._reason, self._retry_seconds = code, said, reason, retry_seconds

    async def Load(self, request, context):  # noqa: N802
        self.attempts += 1
        if self._reason:
            status = status_pb2.Status(code=self._code.value[0], message=self._said)
            info = error_details_pb2.ErrorInfo(reason=self._reason, domain="holdfast.dev", metadata={"a": "b"})
            status.details.add().Pack(info)
            if self._retry_seconds is not None:
                retry = error_details_pb2.RetryInfo()
                retry.retry_delay.FromSeconds(self._retry_seconds)
                status.details.add().Pack(retry)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        await context.abort(self._code, self._said)


async def ended(connect, ending):
    server = grpc.aio.server()
    add_CheckpointServiceServicer_to_server(ending, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with connect(f"127.0.0.1:{port}", timeout=20, retry=ONE_RETRY) as client:
            with pytest.raises(holdfast.HoldfastError) as caught:
                await client.load("n", "w")
    finally:
        await server.stop(0)
    return caught.value


CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


@pytest.mark.parametrize("code", CODES)
async def test_a_status_without_details_keeps_its_code_and_words(connect, code):
    error = await ended(connect, Ending(code, "said by a proxy"))
    assert error.code is code
    assert f"{code.name}: said by a proxy" in str(error)
    assert isinstance(error, holdfast.WorkflowCheckpointResumeError)
    assert type(error) not in (holdfast.WorkflowNotFoundError, holdfast.CheckpointNotFoundError)


@pytest.mark.parametrize("code", CODES)
async def test_a_reason_of_a_newer_server_keeps_its_name_and_its_code(connect, code):
    ending = Ending(code, reason="OF_TOMORROW")
    error = await ended(connect, ending)
    assert (error.reason, error.code, error.metadata["a"]) == ("OF_TOMORROW", code, "b")
    assert isinstance(error, holdfast.WorkflowCheckpointResumeError)
    assert type(error) not in (holdfast.WorkflowNotFoundError, holdfast.CheckpointNotFoundError)
    assert error.retryable == (code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED))
    assert (ending.attempts > 1) == error.retryable


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, holdfast.ServerUnavailableError),
        (grpc.StatusCode.INVALID_ARGUMENT, holdfast.InvalidRequestError),
        (grpc.StatusCode.DATA_LOSS, holdfast.CheckpointCorruptedError),
        (grpc.StatusCode.PERMISSION_DENIED, holdfast.PermissionDeniedError),
        (grpc.StatusCode.NOT_FOUND, holdfast.WorkflowCheckpointResumeError),
    ],
)
async def test_a_reason_of_a_newer_server_has_the_class_of_its_code(connect, code, expected):
    assert type(await ended(connect, Ending(code, reason="OF_TOMORROW"))) is expected


async def test_an_unknown_reason_that_asks_to_wait_is_retried(connect):
    ending = Ending(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="OF_TOMORROW", retry_seconds=0)
    assert (await ended(connect, ending)).retryable
    assert ending.attempts > 1


async def test_a_foreign_message_is_shown_on_one_line_and_shortened(connect):
    error = await ended(connect, Ending(grpc.StatusCode.UNKNOWN, "a\x1b[2J\n\u202e" + "b" * 3000))
    assert str(error).isprintable()
    assert len(str(error)) < 1000


async def test_a_call_that_the_server_lacks_is_an_unimplemented_error(connect):
    class Old(CheckpointServiceServicer):
        async def Load(self, request, context):  # noqa: N802
            return api.LoadResponse()

    server = grpc.aio.server()
    add_CheckpointServiceServicer_to_server(Old(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(f"127.0.0.1:{port}") as client:
        with pytest.raises(holdfast.UnimplementedError) as caught:
            await client.prune("n", "w")
    await server.stop(0)
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED
    assert "Upgrade the server" in caught.value.advice
    assert sys.exc_info() == (None, None, None)
