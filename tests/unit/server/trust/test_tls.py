"""TLS of the server: who gets in, and what happens when its files change or are broken."""

import asyncio
import base64
import re
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace as replaced
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import holdfast
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.config import Config
from holdfast_server.lifecycle import serving
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.trust import tls
from holdfast_server.trust.tls import TLSFiles
from holdfast_server.trust.watched_file import InvalidFileError
from hypothesis import given
from hypothesis import strategies as st

from tests.support import servers
from tests.support.certificates import EXPIRED, Authority, Pair, PrivateKey, replace
from tests.support.server_log import Records, recording


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "theirs")


@pytest.fixture
def _checks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "server_credentials", partial(tls.server_credentials, check_seconds=0.01))


@pytest.fixture
async def records() -> AsyncIterator[Records]:
    with recording() as records:
        yield records


@asynccontextmanager
async def serving_with(pair: Pair, client_ca_file: Path | str = "", **settings: Any) -> AsyncIterator[str]:
    """Run a server with a certificate. Yield its target."""
    config = Config(
        listen="127.0.0.1:0",
        store="file:///unused",
        drain_seconds=0,
        tls_cert_file=str(pair.cert_file),
        tls_key_file=str(pair.key_file),
        tls_client_ca_file=str(client_ca_file),
        **settings,
    )
    async with serving(config, MemoryStore()) as port:
        yield f"127.0.0.1:{port}"


def credentials(authority: Authority, pair: Pair | None = None) -> grpc.ChannelCredentials:
    key, certificate = (pair.key_file.read_bytes(), pair.cert_file.read_bytes()) if pair else (None, None)
    return grpc.ssl_channel_credentials(authority.ca_file.read_bytes(), key, certificate)


def connected(target: str, trusted: grpc.ChannelCredentials) -> grpc.aio.Channel:
    # Each channel makes a connection of its own.
    return grpc.aio.secure_channel(target, trusted, options=[("grpc.use_local_subchannel_pool", 1)])


async def call(channel: grpc.aio.Channel) -> None:
    await CheckpointServiceStub(channel).GetCapabilities(api.GetCapabilitiesRequest(), timeout=10)


async def gets_in(target: str, trusted: grpc.ChannelCredentials) -> bool:
    async with connected(target, trusted) as channel:
        try:
            await call(channel)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
    return True


async def test_calls_health_and_reflection_work_over_tls(authority: Authority):
    def ask(target: str) -> tuple[int, set[str]]:
        with grpc.secure_channel(target, credentials(authority)) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            return answer.status, set(ProtoReflectionDescriptorDatabase(channel).get_services())

    async with serving_with(authority.issue()) as target:
        assert await gets_in(target, credentials(authority))
        status, services = await asyncio.to_thread(ask, target)
    assert status == health_pb2.HealthCheckResponse.SERVING
    assert "holdfast.v1.CheckpointService" in services


async def test_a_plaintext_caller_gets_no_answer(authority: Authority):
    async with serving_with(authority.issue()) as target, grpc.aio.insecure_channel(target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(("version", "is_accepted"), [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)])
async def test_a_version_of_tls_before_1_2_is_refused(authority: Authority, version: ssl.TLSVersion, is_accepted: bool):
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    # The caller's own library must not refuse the version.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version

    def handshake(target: str) -> None:
        host, port = target.split(":")
        with (
            socket.create_connection((host, int(port)), 10) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            pass

    async with serving_with(authority.issue()) as target:
        with nullcontext() if is_accepted else pytest.raises(ssl.SSLError, match=r"EOF|alert"):
            await asyncio.to_thread(handshake, target)


async def test_callers_present_a_certificate_of_the_authority_if_one_is_required(
    authority: Authority, stranger: Authority
):
    async with serving_with(authority.issue(), authority.ca_file) as target:
        assert await gets_in(target, credentials(authority, authority.issue("client", hosts=[])))
        assert not await gets_in(target, credentials(authority))
        assert not await gets_in(target, credentials(authority, stranger.issue("client", hosts=[])))
        assert not await gets_in(target, credentials(authority, authority.issue("old", hosts=[], age=EXPIRED)))


async def test_callers_need_no_certificate_if_client_authentication_is_off(authority: Authority):
    async with serving_with(authority.issue(), authority.ca_file, tls_client_auth="off") as target:
        assert await gets_in(target, credentials(authority))


@pytest.mark.usefixtures("_checks_often")
async def test_a_new_certificate_serves_new_connections_while_open_ones_go_on(
    authority: Authority, stranger: Authority, records: Records
):
    pair = authority.issue()
    async with serving_with(pair) as target, connected(target, credentials(authority)) as channel:
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVING
        replace(pair, stranger.issue())
        assert await records.next() == "a changed file is in effect: "
        assert await gets_in(target, credentials(stranger))
        assert not await gets_in(target, credentials(authority))
        await call(channel)
        assert not watched.done()


@pytest.mark.usefixtures("_checks_often")
async def test_a_new_authority_of_callers_takes_effect_with_new_connections(
    authority: Authority, stranger: Authority, records: Records
):
    pair = authority.issue()
    trusted = authority.ca_file.with_name("clients.pem")
    trusted.write_bytes(authority.ca_file.read_bytes())
    ours, theirs = authority.issue("client", hosts=[]), stranger.issue("client", hosts=[])
    async with serving_with(pair, trusted) as target:
        assert not await gets_in(target, credentials(authority, theirs))
        trusted.write_bytes(stranger.ca_file.read_bytes())
        await records.next()
        assert await gets_in(target, credentials(authority, theirs))
        assert not await gets_in(target, credentials(authority, ours))


@pytest.mark.usefixtures("_checks_often")
async def test_certificates_are_exchanged_under_load_without_a_broken_call(authority: Authority, records: Records):
    """Callers with an open connection, in streams as well, and callers that connect anew, while files change."""
    pair = authority.issue()
    trusted = holdfast.TLS(ca_file=authority.ca_file)
    calls: Counter[str] = Counter()
    called = asyncio.Event()

    async def call_again(name: str, call_once: Callable[[], Awaitable[None]]) -> None:
        while True:
            await call_once()
            calls[name] += 1
            called.set()

    async def call_on_one_connection(client: holdfast.AsyncClient, name: str, data: bytes) -> None:
        await client.save("n", name, data, format=holdfast.Format("test", 1))
        assert (await client.load("n", name)).data == data

    async def connect_anew(target: str) -> None:
        assert await gets_in(target, credentials(authority))

    # Without retries, a call that breaks fails.
    retry = holdfast.RetryPolicy(burst_retries=0)
    async with serving_with(pair) as target, holdfast.AsyncClient(target, tls=trusted, retry=retry) as client:
        callers = {
            "small": partial(call_on_one_connection, client, "small", b"x"),
            "large": partial(call_on_one_connection, client, "large", bytes(3 << 20)),
            "new": partial(connect_anew, target),
        }
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call_again(name, call_once)) for name, call_once in callers.items()]
            for number in range(8):
                replace(pair, authority.issue(f"server-{number}"))
                while sum(each.startswith("a changed file is in effect") for each in records.messages) <= number:
                    await records.next()
                before = calls.copy()
                while any(calls[name] <= before[name] + 1 for name in callers):
                    called.clear()
                    await called.wait()
            for task in tasks:
                task.cancel()


def half_of_the_certificate(pair: Pair, other: Pair) -> None:
    pair.cert_file.write_bytes(pair.cert_file.read_bytes()[:200])


def the_key_of_another(pair: Pair, other: Pair) -> None:
    pair.key_file.write_bytes(other.key_file.read_bytes())


def the_certificate_of_another(pair: Pair, other: Pair) -> None:
    pair.cert_file.write_bytes(other.cert_file.read_bytes())


def no_key(pair: Pair, other: Pair) -> None:
    pair.key_file.unlink()


def an_expired_pair(pair: Pair, other: Pair) -> None:
    expired = "expired.pem", "expired-key.pem"
    replace(pair, Pair(*(other.cert_file.with_name(name) for name in expired)))


@pytest.mark.usefixtures("_checks_often")
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (half_of_the_certificate, "tls_cert_file: expected certificates in PEM in "),
        (the_key_of_another, "does not match the certificate in"),
        (the_certificate_of_another, "does not match the certificate in"),
        (no_key, "tls_key_file: .*cannot read it: No such file"),
        (an_expired_pair, "tls_cert_file: the certificate in .* is valid from .* to .*, not now"),
    ],
)
async def test_broken_files_change_nothing_and_are_logged_until_good_ones_come(
    authority: Authority, stranger: Authority, records: Records, damage: Callable[[Pair, Pair], None], problem: str
):
    pair = authority.issue()
    authority.issue("expired", age=EXPIRED)
    async with serving_with(pair) as target:
        damage(pair, authority.issue("other"))
        logged = await records.next()
        assert logged.startswith("a changed file is invalid; its earlier content stays in effect: ")
        assert re.search(problem, logged)
        assert await gets_in(target, credentials(authority))
        replace(pair, stranger.issue())
        while not records.messages[-1].startswith("a changed file is in effect"):
            await records.next()
        assert await gets_in(target, credentials(stranger))


async def test_an_expired_certificate_serves_if_there_is_no_other_and_is_logged(authority: Authority, records: Records):
    async with serving_with(authority.issue(age=EXPIRED)) as target:
        assert re.search("callers will refuse the server: .* valid from .* to .*, not now", records.messages[0])
        assert not await gets_in(target, credentials(authority))


def no_file(files: TLSFiles) -> TLSFiles:
    return replaced(files, cert_file=files.cert_file + "-none")


def a_folder(files: TLSFiles) -> TLSFiles:
    return replaced(files, key_file=str(Path(files.key_file).parent))


def no_certificate(files: TLSFiles) -> TLSFiles:
    return replaced(files, cert_file=files.key_file)


def no_private_key(files: TLSFiles) -> TLSFiles:
    return replaced(files, key_file=files.cert_file)


def a_key_with_a_password(files: TLSFiles) -> TLSFiles:
    path = Path(files.key_file)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return files


def authorities_that_are_none(files: TLSFiles) -> TLSFiles:
    path = Path(files.cert_file).with_name("none.pem")
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return replaced(files, client_ca_file=str(path))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (no_file, r"^tls_cert_file: '.*-none': cannot read it: No such file or directory$"),
        (a_folder, r"^tls_key_file: '.*': cannot read it: Is a directory$"),
        (no_certificate, r"^tls_cert_file: expected certificates in PEM in '.*-key.pem': "),
        (no_private_key, r"^tls_key_file: expected a private key in PEM in '.*': "),
        (a_key_with_a_password, r"^tls_key_file: the key in '.*-key.pem' has a password; expected one without$"),
        (authorities_that_are_none, r"^tls_client_ca_file: expected certificates in PEM in '.*none.pem': "),
    ],
)
async def test_a_bad_file_is_refused_at_the_start_with_its_setting_and_path(
    authority: Authority, damage: Callable[[TLSFiles], TLSFiles], problem: str
):
    pair = authority.issue()
    with pytest.raises(InvalidFileError, match=problem):
        async with tls.server_credentials(damage(TLSFiles(str(pair.cert_file), str(pair.key_file)))):
            pass


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 2048), id="RSA-2048"),
        pytest.param(ec.generate_private_key(ec.SECP256R1()), id="P-256"),
        pytest.param(ec.generate_private_key(ec.SECP384R1()), id="P-384"),
    ],
)
async def test_every_kind_of_key_that_is_accepted_serves(authority: Authority, key: PrivateKey):
    async with serving_with(authority.issue(key=key)) as target:
        assert await gets_in(target, credentials(authority))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 1024), id="RSA-1024"),
        pytest.param(ec.generate_private_key(ec.SECP521R1()), id="P-521"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), id="Ed25519"),
    ],
)
async def test_a_kind_of_key_that_clients_refuse_is_refused_at_the_start(authority: Authority, key: PrivateKey):
    with pytest.raises(InvalidFileError, match=r"^tls_key_file: expected a key of RSA with at least 2048 bits, or of"):
        async with serving_with(authority.issue(key=key)):
            pass


async def test_a_certificate_for_clients_is_refused_at_the_start(authority: Authority):
    pair = authority.issue(uses=[ExtendedKeyUsageOID.CLIENT_AUTH])
    with pytest.raises(InvalidFileError, match=r"^tls_cert_file: the certificate in '.*' is not for servers"):
        async with serving_with(pair):
            pass


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, bytes]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    pair = authority.issue()
    return pair.cert_file.read_bytes(), pair.key_file.read_bytes(), authority.ca_file.read_bytes()


@given(data=st.data())
def test_files_of_any_content_are_used_or_refused(contents: tuple[bytes, bytes, bytes], data: st.DataObject):
    number = data.draw(st.integers(0, 2))
    original = base64.b64decode("".join(contents[number].decode().splitlines()[1:-1]))
    label = contents[number].split(b"-----")[1].removeprefix(b"BEGIN ").decode()
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    encoded = base64.encodebytes(bytes(changed)).decode()
    given_contents = list(contents)
    given_contents[number] = data.draw(
        st.one_of(st.just(f"-----BEGIN {label}-----\n{encoded}-----END {label}-----\n".encode()), st.binary())
    )
    parser = tls._Parser(TLSFiles("cert.pem", "key.pem", "ca.pem"))
    with suppress(InvalidFileError):
        parser.parse(tuple(given_contents))


def test_every_worker_serves_tls(authority: Authority, tmp_path: Path):
    pair = authority.issue()
    files = f"--tls-cert-file={pair.cert_file}", f"--tls-key-file={pair.key_file}"
    with servers.server((tmp_path / "store").as_uri(), "--workers", "2", *files) as target:
        for _ in range(8):
            with holdfast.Client(target, tls=holdfast.TLS(ca_file=authority.ca_file)) as client:
                client.capabilities()
