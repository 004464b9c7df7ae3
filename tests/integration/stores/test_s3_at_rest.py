"""What an operator may demand of a bucket: encryption, an owner, versions that stay, and few rights."""

import json
import re
from collections.abc import Iterator
from functools import partial

import boto3
import pytest
from holdfast_server.stores.base import StoreAccessDeniedError
from holdfast_server.stores.probe import probe
from holdfast_server.stores.s3 import S3Store
from holdfast_server.stores.s3_settings import S3Settings

from tests.integration.stores import clones
from tests.support import object_servers
from tests.support.object_servers import KMS_KEY, create_bucket
from tests.support.repository import ROOT

PREFIX = "some/prefix"
LARGE = bytes(9 << 20)
OWNER = "123456789012"


@pytest.fixture
def plain(minio_endpoint):
    return boto3.client("s3", endpoint_url=minio_endpoint)


@pytest.fixture
def bucket(minio_endpoint) -> str:
    return create_bucket(minio_endpoint)


@pytest.fixture
def open_store(minio_endpoint, bucket):
    return partial(S3Store.open, bucket, PREFIX, endpoint_url=minio_endpoint)


async def use(store) -> None:
    """Make each request that a server makes."""
    await probe(store, store.where, why_unprotected=store.why_unprotected)
    assert await store.put_if_absent("small", b"x")
    for key, data in (("empty", b""), ("large", LARGE)):
        async with store.put(key) as upload:
            await upload.write(data)
            await upload.finish()
    async with store.put("abandoned") as upload:
        await upload.write(LARGE)
    await store.replace("small", b"y")
    assert (await store.get("small")).data == b"y"
    assert (await store.get("large", offset=1, length=2)).data == bytes(2)
    assert await store.copy("large", "copy")
    found = [each.key for each in await store.list("") if not each.key.startswith("probe/")]
    assert found == ["copy", "empty", "large", "small"]


# Encryption


@pytest.mark.parametrize("client", ["aioboto3", "obstore"])
@pytest.mark.parametrize(("encryption", "key"), [("AES256", ""), ("aws:kms", ""), ("aws:kms", KMS_KEY)])
async def test_each_object_is_encrypted_as_the_settings_say(plain, bucket, open_store, client, encryption, key):
    async with open_store(settings=S3Settings(client, encryption, key)) as store:
        await use(store)
    for each in plain.list_objects_v2(Bucket=bucket)["Contents"]:
        found = plain.head_object(Bucket=bucket, Key=each["Key"])
        assert found["ServerSideEncryption"] == encryption
        assert found.get("SSEKMSKeyId", "").rpartition(":")[2] == (KMS_KEY if encryption == "aws:kms" else "")


@pytest.mark.parametrize("client", ["aioboto3", "obstore"])
async def test_a_key_that_the_server_does_not_know_is_named_before_anything_is_stored(open_store, client):
    async with open_store(settings=S3Settings(client, "aws:kms", "no-such-key")) as store:
        with pytest.raises(StoreAccessDeniedError) as caught:
            await use(store)
    assert "key" in caught.value.detail.lower()


@pytest.mark.parametrize("client", ["aioboto3", "obstore"])
async def test_an_object_whose_key_is_lost_is_not_reported_as_missing(tmp_path, client):
    settings = S3Settings(client, "aws:kms", "first")
    with object_servers.minio(tmp_path, "first") as endpoint_url:
        bucket = create_bucket(endpoint_url)
        async with S3Store.open(bucket, endpoint_url=endpoint_url, settings=settings) as store:
            await store.put_if_absent("small", b"x")
    with object_servers.minio(tmp_path, "second") as endpoint_url:
        async with S3Store.open(bucket, endpoint_url=endpoint_url, settings=settings) as store:
            with pytest.raises(StoreAccessDeniedError, match="the key of its encryption"):
                await store.get("small")


@pytest.mark.parametrize("client", ["aioboto3", "obstore"])
async def test_a_server_that_ignores_the_encryption_is_refused(client):
    async with (
        clones.running("") as endpoint_url,
        S3Store.open("b", endpoint_url=endpoint_url, settings=S3Settings(client, "AES256")) as store,
    ):
        with pytest.raises(StoreAccessDeniedError, match="cannot be used") as caught:
            await probe(store, store.where, why_unprotected=store.why_unprotected)
    assert "'AES256', and the encryption is 'none'" in caught.value.detail


# The owner


async def test_each_request_names_the_owner_that_the_bucket_must_have(open_store):
    async with open_store(settings=S3Settings(bucket_owner=OWNER)) as store:
        without = []

        def sent(request, **_):
            owners = [request.headers.get("x-amz-expected-bucket-owner")]
            if "x-amz-copy-source" in request.headers:
                owners.append(request.headers.get("x-amz-source-expected-bucket-owner"))
            without.extend(request.url for owner in owners if owner not in (OWNER, OWNER.encode()))

        store._bucket.client.meta.events.register("before-send.s3", sent)
        await use(store)
        await store.delete("small")
    assert without == []


async def test_a_bucket_of_another_owner_is_refused():
    async with (
        clones.running("foreign") as endpoint_url,
        S3Store.open("b", endpoint_url=endpoint_url, settings=S3Settings(bucket_owner=OWNER)) as store,
    ):
        with pytest.raises(StoreAccessDeniedError):
            await probe(store, store.where)


# Versions and locks


@pytest.fixture(params=["versioned", "locked"])
def kept(request, plain) -> str:
    """A bucket whose objects keep their versions, or cannot be deleted for a day."""
    name = f"{request.param}-{request.node.name.encode().hex()[-20:]}"
    plain.create_bucket(Bucket=name, ObjectLockEnabledForBucket=request.param == "locked")
    if request.param == "versioned":
        plain.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    else:
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
        lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        plain.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=lock)
    return name


@pytest.mark.parametrize("client", ["aioboto3", "obstore"])
async def test_a_bucket_that_keeps_versions_is_a_store_like_any_other(plain, kept, minio_endpoint, client):
    async with S3Store.open(kept, PREFIX, endpoint_url=minio_endpoint, settings=S3Settings(client)) as store:
        await use(store)
        await store.delete("small")
        assert "small" not in [each.key for each in await store.list("")]
        assert await store.put_if_absent("small", b"z")
        assert not await store.put_if_absent("small", b"again")
        assert (await store.get("small")).data == b"z"
    versions = plain.list_object_versions(Bucket=kept, Prefix=f"{PREFIX}/small")["Versions"]
    assert len(versions) == 3


# Rights


def documented_policy(bucket: str) -> dict:
    """Read the policy of the page, for a bucket."""
    page = (ROOT / "docs/guides/s3.md").read_text()
    [text] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    return json.loads(text.replace("BUCKET", bucket).replace("PREFIX", PREFIX))


@pytest.fixture
def allowed_by(minio_endpoint, monkeypatch):
    """Use temporary credentials, which have the rights of a policy and no others."""

    def use_policy(policy: dict) -> None:
        role = {"RoleArn": f"arn:aws:iam::{OWNER}:role/holdfast", "RoleSessionName": "test"}
        sts = boto3.client("sts", endpoint_url=minio_endpoint)
        made = sts.assume_role(**role, Policy=json.dumps(policy))["Credentials"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
        monkeypatch.setenv("AWS_SESSION_TOKEN", made["SessionToken"])

    return use_policy


@pytest.mark.parametrize("client", ["aioboto3", "obstore"])
async def test_the_documented_policy_is_enough(open_store, bucket, allowed_by, client):
    allowed_by(documented_policy(bucket))
    async with open_store(settings=S3Settings(client)) as store:
        await use(store)
        await store.delete("small")


def actions() -> Iterator[str]:
    for statement in documented_policy("b")["Statement"]:
        yield from statement["Action"]


@pytest.mark.parametrize("action", list(actions()))
async def test_the_documented_policy_allows_nothing_that_is_not_needed(plain, open_store, bucket, allowed_by, action):
    policy = documented_policy(bucket)
    for statement in policy["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each != action]
    policy["Statement"] = [each for each in policy["Statement"] if each["Action"]]
    allowed_by(policy)
    async with open_store() as store:
        if action in ("s3:AbortMultipartUpload", "s3:DeleteObject"):
            # Failures to tidy up are not errors of the call.
            await use(store)
            left = plain.list_multipart_uploads(Bucket=bucket).get("Uploads") or [
                each for each in plain.list_objects_v2(Bucket=bucket)["Contents"] if "/probe/" in each["Key"]
            ]
            assert left
        else:
            with pytest.raises(StoreAccessDeniedError):
                await use(store)


async def test_the_documented_policy_ends_at_the_prefix(open_store, minio_endpoint, bucket, allowed_by):
    allowed_by(documented_policy(bucket))
    async with S3Store.open(bucket, "other", endpoint_url=minio_endpoint) as store:
        with pytest.raises(StoreAccessDeniedError):
            await store.put_if_absent("small", b"x")
