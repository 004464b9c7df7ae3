"""Faults of a store over a network: stale connections, uploads of many parts, a store that is killed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import boto3
import holdfast
import pytest
from holdfast_server.stores.base import StoreUnavailableError

from tests.support.budget import amount, full
from tests.support.ceph import Cluster, running
from tests.verification.faults.faults import Fault
from tests.verification.faults.faulty import Faulty, faulty_s3, retry_without_end

FORMAT = holdfast.Format("test", 1)
MANY_PARTS = bytes(range(251)) * 130_000
ALWAYS = float("inf")


@pytest.fixture(params=["aioboto3", full("obstore")])
async def faulty(request: pytest.FixtureRequest, s3_endpoint: str, s3_bucket: str) -> AsyncIterator[Faulty]:
    async with faulty_s3(s3_endpoint, s3_bucket, request.param) as s3:
        yield s3


async def test_stale_connections_in_the_pool_fail_no_call(faulty):
    async with faulty.client() as client:
        for number in range(10):
            saves = [client.save("n", f"w{each}", b"%d" % number, format=FORMAT) for each in range(8)]
            assert {each.revision for each in await asyncio.gather(*saves)} == {number + 1}
            faulty.proxy.cut_idle_connections()
            loads = [client.load("n", f"w{each}") for each in range(8)]
            assert {each.data for each in await asyncio.gather(*loads)} == {b"%d" % number}
            faulty.proxy.cut_idle_connections()


@pytest.mark.parametrize("verb", ["POST", "PUT"])
@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.THROTTLED])
async def test_an_upload_of_many_parts_outlives_requests_that_fail_and_sends_no_other_part_again(faulty, verb, fault):
    async with faulty.client() as client:
        await client.save("n", "w", b"first", format=FORMAT)
        faulty.faults.plan(fault, verb, "/blob/", times=3)
        faulty.faults.requests.clear()
        saved = await client.save("n", "w", MANY_PARTS, format=FORMAT, timeout=60)
        assert len(faulty.faults.struck) == 3
        assert (saved.revision, saved.replayed) == (2, False)
        assert (await client.load("n", "w")).data == MANY_PARTS
        # Two parts find out whether the server verifies CRC-32C.
        parts = -(-len(MANY_PARTS) // (8 << 20)) + 2
        assert sum(each.verb == "PUT" and "/blob/" in each.key for each in faulty.faults.requests) <= parts + 3


async def test_an_upload_whose_last_answer_is_lost_is_found_complete(faulty):
    async with faulty.store.put("upload") as writer:
        await writer.write(MANY_PARTS)
        faulty.faults.plan(Fault.CUT_AFTER, "POST", "upload")
        await writer.finish()
    assert len(faulty.faults.struck) == 1
    assert (await faulty.sound.get("upload")).data == MANY_PARTS


async def test_an_upload_that_the_store_has_forgotten_is_not_a_success(faulty, s3_endpoint, s3_bucket):
    plain = boto3.client("s3", endpoint_url=s3_endpoint)
    async with faulty.store.put("upload") as writer:
        await writer.write(MANY_PARTS)
        (upload,) = plain.list_multipart_uploads(Bucket=s3_bucket)["Uploads"]
        plain.abort_multipart_upload(Bucket=s3_bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        with pytest.raises(StoreUnavailableError, match="has lost an upload"):
            await writer.finish()
    assert await faulty.sound.list("") == []


async def test_a_refused_upload_leaves_no_objects(faulty, s3_endpoint, s3_bucket):
    async with faulty.client() as client:
        await client.save("n", "w", b"first", format=FORMAT)
        faulty.faults.plan(Fault.FORBIDDEN, "PUT", "/blob/", times=ALWAYS)
        with pytest.raises(holdfast.StoreAccessDeniedError):
            await client.save("n", "w", MANY_PARTS, format=FORMAT)
        assert (await client.load("n", "w")).data == b"first"
    assert await faulty.sound.list("ns/n/wf/w/blob/") == []
    assert not boto3.client("s3", endpoint_url=s3_endpoint).list_multipart_uploads(Bucket=s3_bucket).get("Uploads")


@pytest.fixture
def durable_cluster(s3_endpoint: str, tmp_path: Path):
    """A cluster whose data outlives its processes. `s3_endpoint` has set the credentials."""
    with running(tmp_path / "ceph", "bluestore") as cluster:
        yield cluster


@pytest.mark.timeout(300)
async def test_a_store_that_is_killed_and_restarted_under_load_loses_no_acknowledged_save(durable_cluster: Cluster):
    boto3.client("s3", endpoint_url=durable_cluster.endpoint_url).create_bucket(Bucket="bucket")
    acknowledged: dict[tuple[str, str], bytes] = {}

    async def saver(client: holdfast.AsyncClient, number: int) -> None:
        workflow_id, count = f"w{number % 4}", 0
        while True:
            data = b"%d-%d-" % (number, count) + bytes((100, 100_000)[count % 2])
            saved = await client.save("n", workflow_id, data, format=FORMAT, timeout=120)
            acknowledged[workflow_id, saved.checkpoint_id] = data
            count += 1

    async def more(least: int) -> None:
        wanted = len(acknowledged) + least
        while len(acknowledged) < wanted:  # noqa: ASYNC110 - the kill comes at no particular event
            await asyncio.sleep(0.01)

    async with (
        faulty_s3(durable_cluster.endpoint_url, "bucket") as store,
        store.client() as client,
        asyncio.TaskGroup() as group,
    ):
        retry_without_end(client)
        savers = [group.create_task(saver(client, number)) for number in range(16)]
        for _ in range(amount(small=1, full=3)):
            await more(amount(small=40, full=100))
            await asyncio.to_thread(durable_cluster.kill)
            with pytest.raises((holdfast.StoreUnavailableError, holdfast.DeadlineExceededError)):
                await client.load("n", "w0", timeout=1)
            await asyncio.to_thread(durable_cluster.restart)
        await more(amount(small=40, full=100))
        for each in savers:
            each.cancel()
        await asyncio.wait(savers)
        for (workflow_id, checkpoint_id), data in acknowledged.items():
            assert (await client.load("n", workflow_id, checkpoint_id)).data == data
        for workflow_id in {workflow_id for workflow_id, _ in acknowledged}:
            revisions = [each.revision async for each in client.list("n", workflow_id)]
            assert revisions == list(range(len(revisions), 0, -1))
