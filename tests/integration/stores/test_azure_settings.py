"""Wrong settings and credentials for Azure: each is reported by its cause, and no secret in an error."""

import asyncio
import subprocess
import sys

import pytest
from holdfast_server.stores.azure import AzureStore
from holdfast_server.stores.base import (
    NothingWrittenError,
    StoreAccessDeniedError,
    StoreSettingsError,
)
from holdfast_server.stores.probe import probe

from tests.support.object_servers import AZURE_ACCOUNT, AZURE_CREDENTIALS, AZURE_KEY

UNREACHABLE = f"http://127.0.0.1:9/{AZURE_ACCOUNT}"
SIGNATURE = "c2VjcmV0c2lnbmF0dXJl"
EXPIRED = f"sv=2021-08-06&ss=b&srt=sco&sp=rwdlac&se=2020-01-01T00:00:00Z&sig={SIGNATURE}"
APPLICATION = {
    "AZURE_STORAGE_CLIENT_ID": "x",
    "AZURE_STORAGE_TENANT_ID": "t",
    "AZURE_STORAGE_AUTHORITY_HOST": UNREACHABLE,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in (*AZURE_CREDENTIALS, *APPLICATION, "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    # A login must not leave this machine.
    monkeypatch.setenv("AZURE_MSI_ENDPOINT", "http://127.0.0.1:9/token")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT)
    return monkeypatch


async def failure(kind, container="container", prefix="", endpoint_url=UNREACHABLE):
    with pytest.raises(kind) as caught:
        await use(container, prefix, endpoint_url)
    assert type(caught.value) is kind
    for secret in (AZURE_KEY, SIGNATURE, "127.0.0.1", "container'"):
        assert secret not in str(caught.value)
    assert SIGNATURE not in caught.value.detail
    assert AZURE_KEY not in caught.value.detail
    return caught.value


async def use(container, prefix, endpoint_url):
    async with AzureStore.open(container, prefix, endpoint_url=endpoint_url) as store:
        await store.put_if_absent("k", b"x")


async def test_azurite_passes_the_probe_at_the_endpoint_of_the_environment(
    environment, azure_endpoint, azure_container
):
    environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)
    environment.setenv("AZURE_STORAGE_ENDPOINT", azure_endpoint)
    async with AzureStore.open(azure_container, "some/prefix") as store:
        await probe(store, store.where)
        assert await store.list("") == []


async def test_wrong_credentials_are_named_as_the_cause(environment, azure_endpoint, azure_container):
    environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    error = await failure(StoreAccessDeniedError, azure_container, endpoint_url=azure_endpoint)
    assert "the credentials" in str(error)
    async with AzureStore.open(azure_container, endpoint_url=azure_endpoint) as store:
        for refused in (store.list("a/"), store.get("a"), store.delete("a"), store.replace("a", b"x")):
            with pytest.raises(StoreAccessDeniedError, match="the credentials"):
                await refused
        async with store.put("a") as writer:
            with pytest.raises(StoreAccessDeniedError, match="the credentials"):
                await writer.finish()


async def test_an_expired_token_is_refused_and_never_shown(environment, azure_endpoint, azure_container):
    environment.setenv("AZURE_STORAGE_SAS_TOKEN", EXPIRED)
    error = await failure(StoreAccessDeniedError, azure_container, endpoint_url=azure_endpoint)
    assert "the credentials" in str(error)


async def test_a_missing_container_is_named_as_the_cause(environment, azure_endpoint):
    environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)
    error = await failure(StoreAccessDeniedError, "no-such-container", endpoint_url=azure_endpoint)
    assert "does not have the container" in str(error)


async def test_an_unreachable_server_leaves_no_doubt_that_nothing_was_written(environment):
    environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)
    error = await failure(NothingWrittenError)
    assert "Connection refused" in error.detail


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AZURE_STORAGE_ACCOUNT_NAME", "", "Account must be specified"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "not base64", "Invalid Access Key"),
        ("AZURE_STORAGE_SAS_TOKEN", "nonsense", "SAS"),
    ],
)
async def test_a_setting_that_the_library_refuses_is_named(environment, name, value, words):
    if value:
        environment.setenv(name, value)
    else:
        environment.delenv(name)
    error = await failure(StoreSettingsError)
    assert words in error.detail


@pytest.mark.parametrize("endpoint_url", ["127.0.0.1:9000", "not a url", "http://"])
async def test_an_invalid_endpoint_is_a_wrong_setting(environment, endpoint_url):
    environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)
    error = await failure(StoreSettingsError, endpoint_url=endpoint_url)
    assert endpoint_url in error.detail


@pytest.mark.parametrize("prefix", ["a//b", "a/./b", "../b"])
async def test_a_prefix_that_the_library_would_change_is_refused(environment, prefix):
    environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)
    error = await failure(StoreSettingsError, prefix=prefix)
    assert repr(prefix) in error.detail


@pytest.mark.parametrize("settings", [{}, {**APPLICATION, "AZURE_STORAGE_CLIENT_SECRET": SIGNATURE}])
async def test_a_login_that_cannot_be_reached_writes_nothing(environment, settings):
    for name, value in settings.items():
        environment.setenv(name, value)
    error = await failure(NothingWrittenError)
    assert "credentials" in str(error)
    assert "Connection refused" in error.detail


async def test_a_missing_token_file_is_a_wrong_setting(environment, tmp_path):
    for name, value in {**APPLICATION, "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "no-token")}.items():
        environment.setenv(name, value)
    error = await failure(StoreSettingsError)
    assert "federated token file" in error.detail


@pytest.mark.parametrize("store", ["az://container", "s3://bucket"])
def test_without_the_extra_the_server_says_what_to_install(store):
    hidden = "import sys; sys.modules['obstore'] = None; from holdfast_server.main import main; main()"
    command = [sys.executable, "-c", hidden, "fsck", "--store", store, "--s3-client", "obstore"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'holdfast-server[obstore]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.needs_budget("full")
async def test_a_listing_continues_beyond_a_page_of_the_server(environment, azure_endpoint, azure_container):
    environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)
    keys = [f"a/{number:05}" for number in range(5_050)]
    async with AzureStore.open(azure_container, "p", endpoint_url=azure_endpoint) as store:
        limit = asyncio.Semaphore(32)

        async def put(key: str) -> None:
            async with limit:
                await store.put_if_absent(key, b"")

        await asyncio.gather(*map(put, keys))
        assert [each.key for each in await store.list("a/", limit=10_000)] == keys
        assert [each.key for each in await store.list("a/", start_after=keys[4_990], limit=50)] == keys[4_991:5_041]
