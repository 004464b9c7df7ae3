"""Keys of AWS KMS, with a local server that has its API."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

import boto3
import holdfast
import pytest
from botocore.config import Config
from holdfast import EncryptionKeyMissingError, Format, KeyringRequiredError, KeyServiceUnavailableError
from holdfast.encryption import AwsKms, EncryptionKey

from tests.support.ports import free_port
from tests.support.required import require

FORMAT = Format("test", 1)
LABEL_KEY = os.urandom(32)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    program = shutil.which("local-kms")
    if program is None:
        require("no server with the API of AWS KMS: `local-kms` not found")
    folder, port = tmp_path_factory.mktemp("kms"), free_port()
    environment = {**os.environ, "PORT": str(port), "KMS_DATA_PATH": str(folder), "KMS_REGION": "eu-west-1"}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([program], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        ends = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < ends
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def kms_at(endpoint):
    return boto3.client(
        "kms",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(connect_timeout=2, read_timeout=20, retries={"max_attempts": 1}),
    )


class Counted:
    """A client of KMS that counts calls."""

    def __init__(self, client):
        self.client, self.calls = client, []

    def __getattr__(self, name):
        self.calls.append(name)
        return getattr(self.client, name)


@pytest.fixture
def kms(endpoint):
    return Counted(kms_at(endpoint))


@pytest.fixture
def arn(kms):
    return kms.client.create_key()["KeyMetadata"]["Arn"]


@pytest.fixture
def key(kms, arn):
    return AwsKms(kms, arn, label_key=LABEL_KEY)


def test_a_data_key_is_unwrapped_by_another_process_that_may_use_the_key(endpoint, arn, key):
    wrapped = key.wrap(b"k" * 32)
    assert b"k" * 32 not in wrapped
    assert AwsKms(kms_at(endpoint), arn).unwrap(wrapped) == b"k" * 32


def test_most_data_keys_need_no_call(kms, key):
    wrapped = [key.wrap(bytes([number]) * 32) for number in range(20)]
    assert [key.unwrap(each) for each in wrapped] == [bytes([number]) * 32 for number in range(20)]
    assert kms.calls == ["generate_data_key"]


def test_an_intermediate_key_is_used_for_a_time_only(kms, arn):
    key = AwsKms(kms, arn, reuse_seconds=0)
    assert key.unwrap(key.wrap(b"k" * 32)) == b"k" * 32
    key.wrap(b"k" * 32)
    assert kms.calls == ["generate_data_key", "decrypt", "generate_data_key"]


@pytest.mark.parametrize("index", [0, 1, -41, -40, -1])
def test_a_wrapped_key_that_was_changed_is_refused(endpoint, arn, key, index):
    wrapped = bytearray(key.wrap(b"k" * 32))
    wrapped[index] ^= 1
    for reader in (key, AwsKms(kms_at(endpoint), arn)):
        with pytest.raises((ValueError, EncryptionKeyMissingError)):
            reader.unwrap(bytes(wrapped))
    for junk in (b"", b"\0", b"\0\0", b"\0\5abc"):
        with pytest.raises(ValueError, match=r"did not wrap it|refuses"):
            key.unwrap(junk)


def test_another_key_of_kms_does_not_unwrap(kms, endpoint, key):
    other = AwsKms(kms_at(endpoint), kms.client.create_key()["KeyMetadata"]["Arn"])
    with pytest.raises((ValueError, EncryptionKeyMissingError)):
        other.unwrap(key.wrap(b"k" * 32))


def test_a_key_that_was_disabled_or_deleted_is_named(kms, endpoint, arn, key):
    wrapped = key.wrap(b"k" * 32)
    kms.client.disable_key(KeyId=arn)
    for call in (lambda reader: reader.unwrap(wrapped), lambda reader: reader.wrap(b"k" * 32)):
        with pytest.raises(EncryptionKeyMissingError) as caught:
            call(AwsKms(kms_at(endpoint), arn))
        assert caught.value.metadata["key_id"] == arn
    kms.client.enable_key(KeyId=arn)
    kms.client.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    with pytest.raises(EncryptionKeyMissingError):
        AwsKms(kms_at(endpoint), arn).unwrap(wrapped)
    nobody = arn[:-4] + "0000"
    with pytest.raises(EncryptionKeyMissingError):
        AwsKms(kms_at(endpoint), nobody).wrap(b"k" * 32)


def test_a_service_that_cannot_be_reached_is_an_error_of_its_own(arn):
    with pytest.raises(KeyServiceUnavailableError) as caught:
        AwsKms(kms_at("http://127.0.0.1:1"), arn).wrap(b"k" * 32)
    assert caught.value.metadata["key_id"] == arn


@pytest.mark.parametrize("arguments", [{"key": ""}, {"key": "k" * 257}, {"key": "k", "label_key": b"short"}])
def test_arguments_of_another_form_are_refused(arguments):
    with pytest.raises(ValueError, match="must have"):
        AwsKms(None, **arguments)


async def test_a_client_encrypts_and_decrypts_by_kms(connect, served, kms, arn, key):
    assert isinstance(key.id, str)
    keys: EncryptionKey = key
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(keys)) as client:
        for data in (b"state", os.urandom(2_000_000)):
            saved = await client.save("n", "w", data, format=FORMAT, labels={"a": "b"})
            await client.attach("n", "w", saved.checkpoint_id, [holdfast.Record("k", b"v")])
            loaded = await client.load("n", "w", records=True)
            assert (loaded.data, loaded.info.labels, loaded.records) == (
                data,
                {"a": "b"},
                (holdfast.Record("k", b"v"),),
            )
        assert len([found async for found in client.list("n", "w", labels={"a": "b"})]) == 2
    assert kms.calls == ["generate_data_key"]
    async with connect(served.target, timeout=20) as plain:
        with pytest.raises(KeyringRequiredError):
            await plain.load("n", "w")
    kms.client.disable_key(KeyId=arn)
    fresh = AwsKms(kms, arn, label_key=LABEL_KEY)
    async with connect(served.target, timeout=20, encryption=holdfast.Keyring(fresh)) as client:
        with pytest.raises(EncryptionKeyMissingError):
            await client.load("n", "w")
