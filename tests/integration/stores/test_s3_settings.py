"""Wrong settings, credentials and S3 servers: each is reported by its cause, before anything relies on it."""

import asyncio
import ssl
import subprocess
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

import obstore
import pytest
from aiohttp import web
from botocore import exceptions
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.log.put_if_absent import put_if_absent
from holdfast_server.stores import s3_errors, s3_obstore
from holdfast_server.stores.base import (
    NothingWrittenError,
    ObjectNotFoundError,
    StoreAccessDeniedError,
    StoreSettingsError,
    StoreUnavailableError,
)
from holdfast_server.stores.probe import probe
from holdfast_server.stores.s3 import S3Store
from holdfast_server.stores.s3_settings import S3Settings

from tests.integration.stores import clones

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDSECRETID", "AWS_SECRET_ACCESS_KEY": "verysecret"}
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Hide this machine's own settings of AWS."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture(params=["aioboto3", "obstore"])
def s3(request):
    """Open a store with each client."""
    return partial(S3Store.open, settings=S3Settings(request.param))


async def save(s3, endpoint_url):
    """Put an object as a commit does."""
    async with s3("b", endpoint_url=endpoint_url) as store:
        deadline = asyncio.get_running_loop().time() + 5
        await put_if_absent(store, "k", b"x", is_mine=lambda data: data == b"x", deadline=deadline)


@pytest.fixture
def failure(s3):
    """Fail to put an object as a commit does."""

    async def expect(endpoint_url, kind):
        with pytest.raises(kind) as caught:
            await save(s3, endpoint_url)
        assert type(caught.value) is kind
        for secret in (*CREDENTIALS.values(), "127.0.0.1", "'b'"):
            assert secret not in str(caught.value)
        assert "verysecret" not in caught.value.detail
        return caught.value

    return expect


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "not a url", "http://", "://x", "http://[::1"])
async def test_an_invalid_endpoint_is_a_wrong_setting(failure, endpoint):
    error = await failure(endpoint, StoreSettingsError)
    assert endpoint in error.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_PROFILE", "nobody"), ("AWS_RETRY_MODE", "nonsense"), ("AWS_REGION", "a b")],
)
async def test_a_setting_that_the_library_refuses_is_named(failure, environment, name, value):
    environment.setenv(name, value)
    error = await failure(UNREACHABLE, StoreSettingsError)
    assert value in error.detail


async def test_an_invalid_config_file_is_a_wrong_setting(failure, tmp_path):
    (tmp_path / "config").write_text("[profile\nx")
    error = await failure(UNREACHABLE, StoreSettingsError)
    assert "config" in error.detail


async def test_missing_credentials_are_distinguished_from_a_server_that_is_down(failure, environment):
    for name in CREDENTIALS:
        environment.delenv(name)
    error = await failure(UNREACHABLE, StoreSettingsError)
    assert "credentials" in str(error)


async def test_a_missing_token_file_is_named_and_the_outcome_is_known(failure, environment, tmp_path):
    for name in CREDENTIALS:
        environment.delenv(name)
    environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "no-token"))
    environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x")
    environment.setenv("AWS_REGION", "eu-central-1")
    error = await failure(UNREACHABLE, StoreSettingsError)
    assert "no-token" in error.detail


async def test_an_expired_login_is_named_and_the_outcome_is_known(failure, environment, tmp_path):
    for name in CREDENTIALS:
        environment.delenv(name)
    (tmp_path / "config").write_text(
        "[default]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-central-1\n"
        "sso_account_id = 123456789012\nsso_role_name = x\nregion = eu-central-1\n"
    )
    environment.setenv("HOME", str(tmp_path))
    error = await failure(UNREACHABLE, StoreSettingsError)
    assert "SSO" in error.detail


async def test_a_missing_ca_bundle_is_named(failure, environment, tmp_path):
    environment.setenv("AWS_CA_BUNDLE", str(tmp_path / "no-bundle.pem"))
    error = await failure("https://127.0.0.1:9", StoreSettingsError)
    assert "no-bundle" in error.detail


async def test_an_untrusted_certificate_is_named_as_the_cause(failure, tmp_path):
    async with tls_server(tmp_path) as endpoint_url:
        error = await failure(endpoint_url, StoreSettingsError)
    assert "certificate" in str(error)


async def test_the_outcome_is_known_if_the_server_was_never_reached(failure):
    await failure(UNREACHABLE, NothingWrittenError)


async def test_the_outcome_is_unknown_if_the_connection_breaks_after_an_earlier_answer(s3):
    async with clones.running("") as endpoint_url, s3("b", endpoint_url=endpoint_url) as store:
        await store.put_if_absent("a", b"x")
        deadline = asyncio.get_running_loop().time() + 0.5
        with pytest.raises(HoldfastError, match="could not be learned in time"):
            await put_if_absent(store, clones.CUT, b"x", is_mine=lambda data: True, deadline=deadline)


async def test_the_outcome_is_known_if_obstore_cannot_connect_even_after_an_earlier_answer():
    async with AsyncExitStack() as clone:
        endpoint_url = await clone.enter_async_context(clones.running(""))
        async with S3Store.open("b", endpoint_url=endpoint_url, settings=S3Settings("obstore")) as store:
            await store.put_if_absent("a", b"x")
            await clone.aclose()
            # This one may still be sent on the connection that has just been closed.
            with pytest.raises(StoreUnavailableError):
                await store.put_if_absent("k", b"x")
            with pytest.raises(NothingWrittenError) as caught:
                await store.put_if_absent("k", b"x")
            assert "Connection refused" in caught.value.detail


@pytest.mark.parametrize("bundle", ["", "certificate.pem"])
async def test_a_certificate_authority_of_ones_own_is_trusted_if_it_is_named(s3, environment, tmp_path, bundle):
    async with tls_server(tmp_path, "basicConstraints=critical,CA:FALSE") as endpoint_url:
        if bundle:
            environment.setenv("AWS_CA_BUNDLE", str(tmp_path / bundle))
        async with s3("b", endpoint_url=endpoint_url) as store:
            with pytest.raises(ObjectNotFoundError if bundle else StoreSettingsError):
                await store.get("k")


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        ("ignores", "put-if-absent does not hold"),
        ("lacks", "If-None-Match"),
        ("races", "put-if-absent does not hold"),
    ],
)
async def test_a_store_that_breaks_put_if_absent_is_refused_by_the_probe(s3, breaks, words):
    async with clones.running(breaks) as endpoint_url, s3("b", endpoint_url=endpoint_url) as store:
        with pytest.raises(StoreAccessDeniedError, match=words) as caught:
            await probe(store, store.where)
        assert endpoint_url in caught.value.detail
        assert await store.list("probe/") == []


async def test_a_clone_with_put_if_absent_passes_the_probe(s3):
    async with clones.running("") as endpoint_url, s3("b", endpoint_url=endpoint_url) as store:
        await probe(store, store.where)


async def test_the_region_of_the_environment_is_used(s3, environment):
    environment.setenv("AWS_REGION", "eu-south-2")
    async with s3("b") as store:
        assert store._bucket.client.meta.region_name == "eu-south-2"
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    environment.delenv("AWS_REGION")
    async with s3("b") as store:
        assert store._bucket.client.meta.region_name == "eu-west-3"


@pytest.mark.parametrize(
    ("bucket", "region", "endpoint_url", "expected"),
    [
        ("b1", "eu-south-2", None, "https://b1.s3.eu-south-2.amazonaws.com/p/k"),
        ("b.1", "eu-south-2", None, "https://s3.eu-south-2.amazonaws.com/b.1/p/k"),
        ("b1", "cn-north-1", None, "https://b1.s3.cn-north-1.amazonaws.com.cn/p/k"),
        ("b1", "eu-south-2", "https://host:9/base", "https://host:9/base/b1/p/k"),
    ],
)
async def test_obstore_addresses_a_bucket_as_the_aws_session_says(bucket, region, endpoint_url, expected):
    async with S3Store.open(
        bucket, "p", region=region, endpoint_url=endpoint_url, settings=S3Settings("obstore")
    ) as store:
        await store._bucket._login.refresh()
        signed = await obstore.sign_async(store._bucket._objects._store, "GET", "p/k", timedelta(seconds=60))
    assert signed.partition("?")[0] == expected
    assert f"%2F{region}%2Fs3%2F" in signed


async def test_obstore_signs_with_the_credentials_that_the_session_has_renewed(environment, tmp_path, monkeypatch):
    for name in CREDENTIALS:
        environment.delenv(name)
    # Each call of the process returns other keys, which end so soon that they are renewed for the next request.
    program = tmp_path / "login.py"
    program.write_text(
        "import datetime, json, time\n"
        "end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)\n"
        "key = f'KEY{time.monotonic_ns()}'\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': key, 'SecretAccessKey': 'x', 'Expiration': end.isoformat()}))\n"
    )
    (tmp_path / "config").write_text(f"[default]\nregion = x\ncredential_process = {sys.executable} {program}\n")
    monkeypatch.setattr(s3_obstore, "_KEPT_SECONDS", 0)
    seen = []

    async def put(request):
        seen.append(request.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
        return web.Response(headers={"ETag": '"x"'})

    app = web.Application()
    app.add_routes([web.put("/b/{key:.+}", put)])
    async with (
        clones.served(app) as endpoint_url,
        S3Store.open("b", endpoint_url=endpoint_url, settings=S3Settings("obstore")) as store,
    ):
        for number in range(3):
            assert await store.put_if_absent(f"k{number}", b"x")
    assert len(set(seen)) == 3
    assert all(key.startswith("KEY") for key in seen)


def made(kind):
    """Return an error of the library, with the fields that its text needs."""
    fields = {
        "error": "x",
        "error_msg": "x",
        "provider": "x",
        "msg": "x",
        "endpoint_url": "x",
        "proxy_url": "x",
        "name": "x",
    }
    return kind(**fields)


CREDENTIAL_KINDS = [each for each in s3_errors._CREDENTIALS if each is not exceptions.PartialCredentialsError]


@pytest.mark.parametrize("kind", CREDENTIAL_KINDS, ids=lambda kind: kind.__name__)
def test_every_failure_to_get_credentials_is_a_wrong_setting(kind):
    error = s3_errors.mapped(made(kind), "somewhere")
    assert type(error) is StoreSettingsError
    assert error.detail.startswith("somewhere: ")


@pytest.mark.parametrize(
    "kind",
    [
        exceptions.ConnectionClosedError,
        exceptions.ConnectTimeoutError,
        exceptions.EndpointConnectionError,
        exceptions.HTTPClientError,
        exceptions.ProxyConnectionError,
        exceptions.ReadTimeoutError,
        exceptions.SSLError,
        ConnectionResetError,
        TimeoutError,
    ],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.parametrize("has_answered", [True, False])
def test_every_failure_of_the_transport_is_temporary(kind, has_answered):
    error = made(kind) if issubclass(kind, exceptions.BotoCoreError) else kind("x")
    found = s3_errors.mapped(error, "somewhere", has_answered=has_answered)
    assert type(found) is (StoreUnavailableError if has_answered else NothingWrittenError)


def tls_server(folder, *extensions):
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made_for = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made_for += [text for extension in extensions for text in ("-addext", extension)]
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *made_for, *files]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return clones.served(web.Application(), "https", context)
