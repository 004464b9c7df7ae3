"""TLS between client and server: what is needed for a connection, and the error of each thing that is wrong."""

import asyncio
import multiprocessing
import re
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import holdfast
import pytest
from holdfast._core import tls as settings
from holdfast._core.handshakes import Suspicions
from holdfast_server.config import Config
from holdfast_server.lifecycle import serving
from holdfast_server.stores.memory import MemoryStore

from tests.support import servers
from tests.support.certificates import EXPIRED, Authority, Pair, replace

FORMAT = holdfast.Format("test", 1)

Connect = Callable[..., Any]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "theirs")


@asynccontextmanager
async def serving_with(pair: Pair | None, client_ca_file: Path | str = "") -> AsyncIterator[str]:
    """Run a server with a certificate, or without TLS. Yield its target."""
    files = {"tls_cert_file": str(pair.cert_file), "tls_key_file": str(pair.key_file)} if pair else {}
    config = Config(
        listen="127.0.0.1:0", store="file:///unused", drain_seconds=0, **files, tls_client_ca_file=str(client_ca_file)
    )
    async with serving(config, MemoryStore()) as port:
        yield f"127.0.0.1:{port}"


def trusting(authority: Authority, pair: Pair | None = None, server_name: str | None = None) -> holdfast.TLS:
    if pair is None:
        return holdfast.TLS(ca_file=authority.ca_file, server_name=server_name)
    return holdfast.TLS(ca_file=authority.ca_file, cert_file=pair.cert_file, key_file=pair.key_file)


async def use(connect: Connect, target: str, tls: Any) -> None:
    """Call in every way: in a pipeline, as a unary call, and in streams of both directions."""
    data = bytes(3_000_000)
    async with connect(target, tls=tls, timeout=20) as client:
        await client.capabilities()
        await client.save("n", "w", data, format=FORMAT)
        assert (await client.load("n", "w")).data == data


async def refused(connect: Connect, target: str, tls: Any, **options: Any) -> holdfast.HandshakeFailedError:
    """Return the error of a call that fails for good, long before its time is up."""
    async with connect(target, tls=tls, timeout=100, **options) as client:
        with pytest.raises(holdfast.HandshakeFailedError) as caught:
            await client.load("n", "w")
    error = caught.value
    assert (error.reason, error.code, error.retryable) == ("HANDSHAKE_FAILED", grpc.StatusCode.UNAVAILABLE, False)
    assert re.search("gRPC: UNAVAILABLE: (failed to connect|connections to all backends failing)", error.message)
    assert len(error.trace_id) == 32
    return error


async def test_a_client_that_trusts_the_authority_uses_tls(connect: Connect, authority: Authority):
    async with serving_with(authority.issue()) as target:
        await use(connect, target, trusting(authority))
        await use(connect, f"grpcs://{target}", trusting(authority))
        await use(connect, f"GRPCS://localhost:{target.partition(':')[2]}", trusting(authority))


@pytest.mark.parametrize("tls", [True, None])
async def test_tls_without_settings_trusts_the_authorities_of_the_system(
    connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch, tls: bool | None
):
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    async with serving_with(authority.issue()) as target:
        await use(connect, f"grpcs://{target}", tls)


async def test_a_client_presents_its_certificate(connect: Connect, authority: Authority):
    async with serving_with(authority.issue(), authority.ca_file) as target:
        await use(connect, target, trusting(authority, authority.issue("client", hosts=[])))


async def test_several_addresses_have_one_name(connect: Connect, authority: Authority):
    pair = authority.issue("holdfast.example", hosts=["holdfast.example"])
    async with serving_with(pair) as target:
        several = f"ipv4:127.0.0.1:9,{target}"
        await use(connect, several, trusting(authority, server_name="holdfast.example"))
        with pytest.raises(holdfast.InvalidRequestError, match=r"tls\.server_name must name the server"):
            connect(several, tls=trusting(authority))


async def test_a_plaintext_client_of_a_server_with_tls_is_told_to_use_it(connect: Connect, authority: Authority):
    async with serving_with(authority.issue()) as target:
        assert "it expects TLS: use a target grpcs://host:port" in (await refused(connect, target, None)).message


@pytest.mark.parametrize("load_balancing", ["pick_first", "round_robin"])
async def test_no_policy_of_load_balancing_hides_what_is_wrong(
    connect: Connect, authority: Authority, stranger: Authority, load_balancing: str
):
    async with serving_with(authority.issue(), authority.ca_file) as target:
        for tls, problem in (
            (None, "it expects TLS: use a target grpcs://host:port"),
            (trusting(stranger), "its certificate is of an authority that this client does not trust"),
            (trusting(authority), "it requires a certificate of the client"),
        ):
            assert problem in (await refused(connect, target, tls, load_balancing=load_balancing)).message


async def test_a_client_with_tls_never_falls_back_to_plaintext(connect: Connect, authority: Authority):
    async with serving_with(None) as target:
        error = await refused(connect, target, trusting(authority))
    assert "it does not use TLS" in error.message
    assert "WRONG_VERSION_NUMBER" in error.message


async def test_a_server_of_another_authority_is_refused(connect: Connect, authority: Authority, stranger: Authority):
    async with serving_with(authority.issue()) as target:
        error = await refused(connect, target, trusting(stranger))
        assert "its certificate is of an authority that this client does not trust (tls.ca_file)" in error.message
        assert "CERTIFICATE_VERIFY_FAILED" in error.message
        await refused(connect, target, True)


async def test_a_server_of_another_authority_with_the_same_name_is_refused(connect: Connect, tmp_path: Path):
    real, forged = Authority(tmp_path / "real", "An authority"), Authority(tmp_path / "forged", "An authority")
    async with serving_with(forged.issue()) as target:
        error = await refused(connect, target, trusting(real))
    assert "its certificate is of an authority that this client does not trust" in error.message


async def test_a_certificate_for_another_name_is_refused(connect: Connect, authority: Authority):
    async with serving_with(authority.issue(hosts=["holdfast.example"])) as target:
        error = await refused(connect, target, trusting(authority))
        assert "its certificate is for another name" in error.message
        assert "Hostname Verification Check failed" in error.message
        await use(connect, target, trusting(authority, server_name="holdfast.example"))


async def test_an_expired_certificate_is_refused(connect: Connect, authority: Authority):
    async with serving_with(authority.issue(age=EXPIRED)) as target:
        error = await refused(connect, target, trusting(authority))
    assert "has expired: it needs a new one" in error.message


async def test_a_missing_certificate_of_the_client_is_named(connect: Connect, authority: Authority):
    async with serving_with(authority.issue(), authority.ca_file) as target:
        error = await refused(connect, target, trusting(authority))
    assert "it requires a certificate of the client (tls.cert_file and tls.key_file)" in error.message


@pytest.mark.parametrize("age", [None, EXPIRED])
async def test_a_certificate_of_the_client_that_the_server_refuses_is_named(
    connect: Connect, authority: Authority, stranger: Authority, age: Any
):
    pair = authority.issue("client", hosts=[], age=age) if age else stranger.issue("client", hosts=[])
    async with serving_with(authority.issue(), authority.ca_file) as target:
        error = await refused(connect, target, trusting(authority, pair))
    assert "it refuses the client's certificate (tls.cert_file); the server's log says why" in error.message


@pytest.mark.parametrize("is_replaced", [True, False])
async def test_a_certificate_that_was_renewed_after_the_client_was_made_is_named(
    connect: Connect, authority: Authority, is_replaced: bool
):
    old, new = authority.issue("client", hosts=[], age=EXPIRED), authority.issue("renewed", hosts=[])
    async with serving_with(authority.issue(), authority.ca_file) as target:
        async with connect(target, tls=trusting(authority, old), timeout=100) as client:
            if is_replaced:
                replace(old, new)
            with pytest.raises(holdfast.HandshakeFailedError) as caught:
                await client.load("n", "w")
        assert "it refuses the client's certificate (tls.cert_file)" in caught.value.message
        assert ("has changed since this client has read it: make a new client" in caught.value.message) == is_replaced
        if is_replaced:
            await use(connect, target, trusting(authority, old))


@pytest.mark.asynchronous_only("a target")
def test_a_target_of_tls_cannot_be_used_without_it(connect: Connect):
    with pytest.raises(holdfast.InvalidRequestError, match="tls must not be False for a target that begins with grpcs"):
        connect("grpcs://x:1", tls=False)
    with pytest.raises(holdfast.InvalidRequestError, match="tls must not be given for a folder"):
        connect("file:///tmp/x", tls=True)
    for target in ("grpcs://x", "grpcs://", "grpcs://x:0", "grpcs://:1"):
        with pytest.raises(holdfast.InvalidRequestError, match="target must be host:port"):
            connect(target)


@pytest.mark.parametrize("tls", ["ca.pem", 1, {}])
def test_tls_of_another_type_is_refused(tls: Any):
    with pytest.raises(TypeError, match="tls must be True, False or a TLS, not a "):
        holdfast.Client("x:1", tls=tls)


def test_settings_of_tls_are_checked_at_once():
    with pytest.raises(holdfast.InvalidRequestError, match=r"tls\.key_file must be given, because tls.cert_file is"):
        holdfast.TLS(cert_file="a.pem")
    with pytest.raises(holdfast.InvalidRequestError, match=r"tls\.cert_file must be given, because tls.key_file is"):
        holdfast.TLS(key_file="a.pem")
    with pytest.raises(holdfast.InvalidRequestError, match=r"tls\.server_name must not be empty"):
        holdfast.TLS(server_name="")
    with pytest.raises(TypeError, match="a file of TLS must be a path"):
        holdfast.TLS(ca_file=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"tls\.server_name must be text"):
        holdfast.TLS(server_name=b"x")  # type: ignore[arg-type]


def test_a_bad_file_is_named_when_the_client_is_made(authority: Authority, stranger: Authority, tmp_path: Path):
    ours, theirs = authority.issue(), stranger.issue()
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for tls, problem in (
        (holdfast.TLS(ca_file="none.pem"), "tls.ca_file must name a file that can be read, not 'none.pem': No such"),
        (holdfast.TLS(ca_file=tmp_path), f"tls.ca_file must name a file that can be read, not '{tmp_path}': Is a dir"),
        (holdfast.TLS(ca_file=broken), f"tls.ca_file must name a file of certificates in PEM, not '{broken}': "),
        (holdfast.TLS(ca_file=ours.key_file), "tls.ca_file must name a file of certificates in PEM, not "),
        (holdfast.TLS(cert_file=ours.cert_file, key_file=theirs.key_file), "tls.cert_file must name a certificate in"),
        (holdfast.TLS(cert_file=broken, key_file=ours.key_file), "tls.cert_file must name a certificate in PEM, and "),
        (holdfast.TLS(cert_file=ours.cert_file, key_file="none"), "tls.key_file must name a file that can be read"),
    ):
        with pytest.raises(holdfast.InvalidRequestError, match=problem) as caught:
            holdfast.Client("x:1", tls=tls)
        assert caught.value.field_violations[0][0].startswith("tls.")


def test_the_list_of_grpc_is_used_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    monkeypatch.setattr(settings, "_SYSTEM_FILES", ())
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert settings.secured("x:1", True)[1] == settings.Security(holdfast.TLS(), None, None, None)
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "/x")
    assert settings.secured("x:1", True)[1] == settings.Security(holdfast.TLS(), None, None, None)


@pytest.mark.parametrize("tls", [True, False])
async def test_a_server_that_closes_connections_before_a_handshake_is_called_again(connect: Connect, tls: bool):
    connections = 0

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"127.0.0.1:{port}", tls=tls, timeout=2) as client:
            with pytest.raises(holdfast.ServerUnavailableError) as caught:
                await client.load("n", "w")
    assert caught.value.retryable
    # The first attempt, the handshake that finds nothing, and at least one more attempt.
    assert connections > 2


def _save(client: holdfast.Client) -> None:
    client.save("n", "child", b"x", format=FORMAT)


def test_a_client_with_tls_works_after_a_fork(authority: Authority, tmp_path: Path):
    pair = authority.issue()
    flags = "--tls-cert-file", str(pair.cert_file), "--tls-key-file", str(pair.key_file)
    with (
        servers.server((tmp_path / "store").as_uri(), *flags) as target,
        holdfast.Client(target, tls=trusting(authority), timeout=20) as client,
    ):
        client.save("n", "parent", b"x", format=FORMAT)
        child = multiprocessing.get_context("fork").Process(target=_save, args=(client,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert client.load("n", "child").data == b"x"


async def test_a_certificate_that_is_trusted_itself_is_trusted(connect: Connect, authority: Authority):
    pair = authority.issue()
    tls = holdfast.TLS(ca_file=pair.cert_file)
    async with serving_with(pair) as target:
        await use(connect, target, tls)
    async with serving_with(pair, authority.ca_file) as target:
        assert "it requires a certificate of the client" in (await refused(connect, target, tls)).message


def test_only_a_server_that_is_trusted_sees_the_certificate_of_the_client(authority: Authority, stranger: Authority):
    """A server in the middle must not learn who calls from the handshake beside gRPC."""
    own, forged = authority.issue("client", hosts=[]), stranger.issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(forged.cert_file, forged.key_file)
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    seen = []

    def accept(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as secured:
            seen.append(secured.getpeercert())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        target, security = settings.secured(f"127.0.0.1:{listener.getsockname()[1]}", trusting(authority, own))
        closed = holdfast.ServerUnavailableError("failed to connect: Socket closed", reason="SERVER_UNAVAILABLE")
        assert Suspicions(target, security).explained(closed, 10) is closed
        thread.join(10)
    assert seen == []
