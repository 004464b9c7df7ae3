"""The storage driver for Temporal: by itself, in Temporal's own converter, and with a Temporal server if installed."""

import asyncio
import dataclasses
import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import holdfast
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.adapters import kill_points
from tests.integration.adapters.killing import run
from tests.support import servers
from tests.support.damage import damage_newest
from tests.support.required import require, require_engine
from tests.support.servers import server, start

require_engine("temporalio")

from google.protobuf import json_format  # noqa: E402
from holdfast.adapters.temporal import FORMAT, ForeignClaimError, HoldfastStorageDriver, workflow_id  # noqa: E402
from temporalio.api.common.v1 import Payload  # noqa: E402
from temporalio.api.enums.v1 import EventType  # noqa: E402
from temporalio.api.failure.v1 import Failure  # noqa: E402
from temporalio.client import Client  # noqa: E402
from temporalio.converter import (  # noqa: E402
    DataConverter,
    ExternalStorage,
    PayloadCodec,
    StorageDriver,
    StorageDriverActivityInfo,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)
from temporalio.exceptions import ApplicationError  # noqa: E402
from temporalio.testing import WorkflowEnvironment  # noqa: E402
from temporalio.worker import UnsandboxedWorkflowRunner, Worker  # noqa: E402

from tests.integration.adapters.programs.temporal import ATTEMPT, SIZE, Conversation, extend  # noqa: E402

NAMESPACE = "payloads"
WORKFLOW = workflow_id("default", "order-1")
PROGRAM = "tests.integration.adapters.programs.temporal"
UNREACHABLE = (holdfast.ServerUnavailableError, holdfast.DeadlineExceededError)


def of_workflow(temporal_id="order-1", run_id=None, namespace="default"):
    target = StorageDriverWorkflowInfo(namespace=namespace, id=temporal_id, run_id=run_id, type="Order")
    return StorageDriverStoreContext(target=target)


def of_activity(temporal_id):
    return StorageDriverStoreContext(target=StorageDriverActivityInfo(namespace="default", id=temporal_id))


def payload(data: bytes, **metadata: bytes) -> Payload:
    return Payload(data=data, metadata={"encoding": b"binary/plain", **metadata})


@pytest.fixture
def driver(client):
    return HoldfastStorageDriver(client, namespace=NAMESPACE)


async def retrieved(driver, claims):
    return await driver.retrieve(StorageDriverRetrieveContext(), claims)


async def stored_ids(client, workflow=WORKFLOW):
    return [each.checkpoint_id async for each in client.list(NAMESPACE, workflow)]


async def test_the_driver_implements_temporals_interface_and_its_name_can_be_chosen(client):
    driver = HoldfastStorageDriver(client, namespace=NAMESPACE)
    other = HoldfastStorageDriver(client, namespace=NAMESPACE, driver_name="other")
    assert isinstance(driver, StorageDriver)
    assert (driver.name(), driver.type()) == ("holdfast", "holdfast")
    assert (other.name(), other.type()) == ("other", "holdfast")
    with pytest.raises(ValueError, match="must not be empty"):
        HoldfastStorageDriver(client, namespace=NAMESPACE, driver_name="")


async def test_payloads_come_back_as_they_were_and_in_their_order(driver):
    payloads = [
        payload(b"a", other=b"\0\xff"),
        Payload(),
        payload(bytes(range(256)) * 400),
        payload(os.urandom(3 << 20)),
        payload(b"a"),
        payload(b""),
    ]
    claims = await driver.store(of_workflow(), payloads)
    assert await retrieved(driver, claims) == payloads
    assert await retrieved(driver, claims[::-1]) == payloads[::-1]


async def test_no_payloads_are_stored_and_retrieved(driver):
    assert await driver.store(of_workflow(), []) == []
    assert await retrieved(driver, []) == []


async def test_the_stored_payload_is_temporals_own_message(driver, client):
    [claim] = await driver.store(of_workflow(), [payload(b"a")])
    loaded = await client.load(NAMESPACE, WORKFLOW, claim.claim_data["checkpoint_id"])
    assert loaded.format == FORMAT == holdfast.Format("temporal-payload", 1)
    assert Payload.FromString(loaded.data) == payload(b"a")


async def test_a_payload_that_is_stored_again_is_kept_once_under_the_same_claim(driver, client):
    several = Payload(data=b"a", metadata={f"key{index}": b"v" for index in range(20)})
    again = Payload(data=b"a", metadata={f"key{index}": b"v" for index in reversed(range(20))})
    first = await driver.store(of_workflow(), [payload(b"a"), several])
    second = await driver.store(of_workflow(run_id="run"), [payload(b"a"), again])
    assert first == second
    assert len(await stored_ids(client)) == 2


async def test_equal_payloads_of_one_call_are_kept_once(driver, client):
    claims = await driver.store(of_workflow(), [payload(b"a" * 300_000)] * 8)
    assert len(claims) == 8
    assert len(await stored_ids(client)) == 1
    assert await retrieved(driver, claims) == [payload(b"a" * 300_000)] * 8


async def test_many_workers_store_and_retrieve_at_once(driver, client):
    async def worker(number: int) -> None:
        payloads = [payload(b"%d" % (index % 50) * 1000) for index in range(number, number + 20)]
        assert await retrieved(driver, await driver.store(of_workflow(), payloads)) == payloads

    await asyncio.gather(*map(worker, range(0, 100, 5)))
    assert len(await stored_ids(client)) == 50


async def test_workflows_share_nothing(driver, client):
    [one] = await driver.store(of_workflow("one"), [payload(b"a")])
    [other] = await driver.store(of_workflow("other"), [payload(b"a")])
    await client.delete_workflow(NAMESPACE, workflow_id("default", "one"))
    with pytest.raises(holdfast.CheckpointNotFoundError):
        await retrieved(driver, [one])
    assert await retrieved(driver, [other]) == [payload(b"a")]


ODD_IDS = ["", ".", "..", "a/b", "a\\b", "a:b", "a%3Ab", "é😀", "line\nbreak", "\0", "x" * 1000, "x" * 1001, "é" * 1000]


async def test_payloads_of_different_targets_have_different_workflows(driver):
    contexts = [
        StorageDriverStoreContext(target=None),
        of_workflow(namespace="a:b"),
        of_workflow("b:order-1", namespace="a"),
    ]
    contexts += [of_workflow(None), of_activity(None)]
    contexts += [make(odd) for odd in ODD_IDS[1:] for make in (of_workflow, of_activity)]
    claims = [(await driver.store(each, [payload(b"a")]))[0] for each in contexts]
    assert len({each.claim_data["workflow_id"] for each in claims}) == len(contexts)
    assert await retrieved(driver, claims) == [payload(b"a")] * len(contexts)


@pytest.mark.parametrize("odd", ODD_IDS)
async def test_the_payloads_of_a_temporal_workflow_can_be_deleted_by_its_id(driver, client, odd):
    [claim] = await driver.store(of_workflow(odd), [payload(b"a")])
    await client.delete_workflow(NAMESPACE, workflow_id("default", odd))
    with pytest.raises(holdfast.CheckpointNotFoundError):
        await retrieved(driver, [claim])


async def test_a_deleted_payload_can_be_stored_again(driver, client):
    [claim] = await driver.store(of_workflow(), [payload(b"a")])
    await client.delete(NAMESPACE, WORKFLOW, claim.claim_data["checkpoint_id"])
    with pytest.raises(holdfast.CheckpointDeletedError):
        await retrieved(driver, [claim])
    assert await driver.store(of_workflow(), [payload(b"a")]) == [claim]
    assert await retrieved(driver, [claim]) == [payload(b"a")]
    await client.delete_workflow(NAMESPACE, WORKFLOW)
    [again] = await driver.store(of_workflow(), [payload(b"a")])
    assert await retrieved(driver, [again]) == [payload(b"a")]


@pytest.mark.without_deltas
async def test_a_damaged_payload_is_a_typed_error_and_not_a_group(driver, served):
    claims = await driver.store(of_workflow(), [payload(b"a" * 100_000), payload(b"b" * 100_000)])
    damage_newest(served.folder)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await retrieved(driver, claims)


@pytest.mark.without_deltas
async def test_a_damaged_payload_that_is_stored_again_is_whole_under_the_same_claim(driver, served):
    [damaged] = await driver.store(of_workflow(), [payload(b"a" * 100_000)])
    damage_newest(served.folder)
    [claim] = await driver.store(of_workflow(), [payload(b"a" * 100_000)])
    assert claim == damaged
    assert await retrieved(driver, [claim]) == [payload(b"a" * 100_000)]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"checkpoint_id": "other"}, holdfast.CheckpointNotFoundError),
        ({"workflow_id": "other"}, holdfast.WorkflowNotFoundError),
        ({"namespace": "other"}, holdfast.InvalidRequestError),
        ({"namespace": "a/b"}, holdfast.InvalidRequestError),
    ],
)
async def test_a_claim_of_a_missing_payload_is_a_typed_error(driver, changes, error):
    [claim] = await driver.store(of_workflow(), [payload(b"a")])
    with pytest.raises(error):
        await retrieved(driver, [claim, StorageDriverClaim({**claim.claim_data, **changes})])


@pytest.mark.parametrize("claim", [{}, {"bucket": "b", "key": "k"}, {"namespace": "n", "workflow_id": ""}])
async def test_a_claim_of_another_driver_is_refused(driver, claim):
    with pytest.raises(ValueError, match="was not given by a holdfast driver: it lacks"):
        await retrieved(driver, [StorageDriverClaim(claim)])


async def test_a_payload_of_another_format_version_is_refused(driver, client):
    newer = holdfast.Format("temporal-payload", 2)
    await client.save(NAMESPACE, WORKFLOW, b"?", format=newer, checkpoint_id="newer")
    names = {"namespace": NAMESPACE, "workflow_id": WORKFLOW, "checkpoint_id": "newer"}
    with pytest.raises(holdfast.FormatIncompatibleError):
        await retrieved(driver, [StorageDriverClaim(names)])


async def test_a_claim_of_another_namespace_is_followed_only_if_the_caller_allowed_it(driver, client, served):
    claims = await driver.store(of_workflow(), [payload(b"a")])
    elsewhere = HoldfastStorageDriver(client, namespace="elsewhere")
    with pytest.raises(ForeignClaimError, match="names namespace 'payloads', expected one of 'elsewhere'"):
        await retrieved(elsewhere, claims)
    moved = HoldfastStorageDriver(client, namespace="elsewhere", retrieve_namespaces=[NAMESPACE])
    assert await retrieved(moved, claims) == [payload(b"a")]
    with pytest.raises(TypeError, match="collection of names"):
        HoldfastStorageDriver(client, namespace="elsewhere", retrieve_namespaces=NAMESPACE)


async def planted(client, data, checkpoint_id, **options):
    """Save a checkpoint like no driver does, and return a claim of it."""
    await client.save(NAMESPACE, WORKFLOW, data, format=FORMAT, checkpoint_id=checkpoint_id, **options)
    names = {"namespace": NAMESPACE, "workflow_id": WORKFLOW, "checkpoint_id": checkpoint_id}
    return StorageDriverClaim(names)


@pytest.mark.parametrize("data", [payload(b"evil").SerializeToString(), {"a": b"x", "b": b"y"}, {"other": b""}])
async def test_content_whose_digest_is_not_the_id_is_damage(driver, client, data):
    [claim] = await driver.store(of_workflow(), [payload(b"a")])
    await planted(client, data, claim.claim_data["checkpoint_id"], replace=True)
    with pytest.raises(holdfast.CheckpointCorruptedError, match="its id is not the digest of"):
        await retrieved(driver, [claim])
    # The other content does not count as the payload.
    assert await driver.store(of_workflow(), [payload(b"a")]) == [claim]
    assert await retrieved(driver, [claim]) == [payload(b"a")]


async def test_the_service_may_run_in_the_process_of_the_driver(tmp_path):
    payloads = [payload(b"a"), payload(bytes(3 << 20))]
    async with HoldfastStorageDriver.from_target((tmp_path / "store").as_uri(), namespace=NAMESPACE) as driver:
        claims = await driver.store(of_workflow(), payloads)
    async with HoldfastStorageDriver.from_target((tmp_path / "store").as_uri(), namespace=NAMESPACE) as other:
        assert await retrieved(other, claims) == payloads


def test_retention_removes_no_payload_that_has_a_claim(tmp_path):
    url = (tmp_path / "store").as_uri()
    payloads = [payload(b"%d" % number * 1_000) for number in range(6)]

    async def stored(target):
        async with HoldfastStorageDriver.from_target(target, namespace=NAMESPACE) as driver:
            return [(await driver.store(of_workflow(), [each]))[0] for each in payloads]

    async def found(target, claims):
        async with HoldfastStorageDriver.from_target(target, namespace=NAMESPACE) as driver:
            return await retrieved(driver, claims)

    with server(url) as target:
        claims = asyncio.run(stored(target))
    retention = json.dumps({"*": {"keep_last": 3}})
    servers.run("gc", "--store", url, "--retention", retention, check=True)
    with server(url) as target, holdfast.Client(target) as client:
        client.prune(NAMESPACE, WORKFLOW, keep_last=1)
        assert asyncio.run(found(target, claims)) == payloads


async def test_a_payload_that_was_stored_without_a_pin_gets_one_when_it_is_stored_again(driver, client):
    [claim] = await driver.store(of_workflow(), [payload(b"a")])
    data = payload(b"a").SerializeToString(deterministic=True)
    await planted(client, data, claim.claim_data["checkpoint_id"], replace=True)
    assert await driver.store(of_workflow(), [payload(b"a")]) == [claim]
    [stored] = [each async for each in client.list(NAMESPACE, WORKFLOW)]
    assert stored.pinned
    await driver.store(of_workflow(), [payload(b"a")])
    assert [each.revision async for each in client.list(NAMESPACE, WORKFLOW)] == [stored.revision]


async def test_content_under_an_id_that_is_not_a_digest_is_refused(driver, client):
    claim = await planted(client, payload(b"a").SerializeToString(), "chosen")
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await retrieved(driver, [claim])


async def test_bytes_that_are_not_a_payload_are_a_typed_error(driver, client):
    data = b"\xff\xff\xff"
    claim = await planted(client, data, f"sha256-{hashlib.sha256(data).hexdigest()}")
    with pytest.raises(holdfast.FormatIncompatibleError, match="not a Temporal payload"):
        await retrieved(driver, [claim])


def test_each_payload_that_is_stored_is_retrieved_equal(tmp_path):
    payloads = st.builds(
        Payload,
        data=st.binary(max_size=200) | st.sampled_from([b"", b"\0" * 100_000]),
        metadata=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.binary(max_size=5), max_size=4),
    )
    texts = st.text(st.characters(codec="utf-8"), max_size=20)

    @settings(max_examples=60, deadline=None)
    @given(given_payloads=st.lists(payloads, max_size=4), temporal_id=texts, namespace=texts)
    def stored_and_retrieved(given_payloads, temporal_id, namespace):
        # asyncio.run makes a new event loop for each example.
        async def both():
            claims = await driver.store(of_workflow(temporal_id, namespace=namespace), given_payloads)
            return await retrieved(driver, claims)

        assert asyncio.run(both()) == given_payloads

    with server((tmp_path / "store").as_uri()) as target:
        driver = HoldfastStorageDriver(holdfast.AsyncClient(target), namespace=NAMESPACE)
        stored_and_retrieved()


def test_one_driver_serves_the_event_loops_of_several_threads(tmp_path):
    async def many(number):
        payloads = [payload(b"%d" % index * 1_000) for index in range(number, number + 60)]
        assert await retrieved(driver, await driver.store(of_workflow(), payloads)) == payloads

    with server((tmp_path / "store").as_uri()) as target:
        driver = HoldfastStorageDriver(holdfast.AsyncClient(target), namespace=NAMESPACE)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda number: asyncio.run(many(number)), range(0, 80, 20)))


async def test_a_server_that_cannot_be_reached_is_a_typed_error(tmp_path):
    process, target = start((tmp_path / "gone").as_uri())
    process.kill()
    process.wait()
    async with HoldfastStorageDriver.from_target(target, namespace=NAMESPACE, timeout=1) as driver:
        with pytest.raises(UNREACHABLE):
            await driver.store(of_workflow(), [payload(b"a"), payload(b"b")])
        claim = StorageDriverClaim({"namespace": NAMESPACE, "workflow_id": "w", "checkpoint_id": "c"})
        with pytest.raises(UNREACHABLE):
            await retrieved(driver, [claim, claim])


# In Temporal's own converter.


class Turning(PayloadCodec):
    """A codec that stands for one that encrypts."""

    async def encode(self, payloads):
        return [Payload(data=each.SerializeToString()[::-1], metadata={"encoding": b"turned"}) for each in payloads]

    async def decode(self, payloads):
        return [Payload.FromString(each.data[::-1]) for each in payloads]


def converter(driver, *, codec=None, threshold=0):
    storage = ExternalStorage(drivers=[driver], payload_size_threshold=threshold)
    return dataclasses.replace(DataConverter.default, payload_codec=codec, external_storage=storage)


@pytest.mark.parametrize("codec", [None, Turning()])
async def test_values_come_back_through_temporals_converter(driver, codec):
    values = ["text", b"bytes", None, {"k": [1, 2.5, "é"]}, "x" * 2_000_000]
    encoded = await converter(driver, codec=codec).encode(values)
    # As Temporal's history has them.
    encoded = [Payload.FromString(each.SerializeToString()) for each in encoded]
    assert all(each.metadata["encoding"] == b"json/protobuf" and each.ByteSize() < 1_000 for each in encoded)
    assert await converter(driver, codec=codec).decode(encoded) == values


async def test_only_large_payloads_leave_temporals_history(driver, client):
    small, large = await converter(driver, threshold=1_000).encode(["small", "x" * 1_000])
    assert small == DataConverter.default.payload_converter.to_payload("small")
    assert len(await stored_ids(client, "unknown")) == 1
    assert await converter(driver).decode([small, large]) == ["small", "x" * 1_000]


async def test_with_a_codec_holdfast_stores_its_output(driver, client):
    await converter(driver, codec=Turning()).encode(["secret"])
    [checkpoint_id] = await stored_ids(client, "unknown")
    loaded = await client.load(NAMESPACE, "unknown", checkpoint_id)
    assert b"secret" not in loaded.data
    assert b"terces" in loaded.data


async def test_details_of_failures_come_back(driver):
    failure = Failure()
    await converter(driver).encode_failure(ApplicationError("no", {"why": "x" * 10_000}), failure)
    assert len(json_format.MessageToJson(failure)) < 5_000
    error = await converter(driver).decode_failure(failure)
    assert error.details == ({"why": "x" * 10_000},)


@pytest.mark.without_deltas
async def test_damage_is_raised_through_temporals_converter(driver, served):
    encoded = await converter(driver).encode(["x" * 100_000])
    damage_newest(served.folder)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await converter(driver).decode(encoded)


# With a Temporal server.


@pytest.fixture(scope="module")
def temporal_program():
    program = os.environ.get("HOLDFAST_TEST_TEMPORAL") or shutil.which("temporal")
    if program is None:
        require("no Temporal: `temporal` not found, HOLDFAST_TEST_TEMPORAL not set")
    return program


@pytest.fixture
async def temporal(temporal_program):
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_program,
        dev_server_log_level="error",
        # The default of five seconds is too little while other suites start.
        dev_server_startup_timeout=timedelta(seconds=60),
    )
    async with environment:
        yield environment.client.service_client.config.target_host


@pytest.mark.verification
@pytest.mark.timeout(600)
async def test_a_workflow_whose_worker_is_killed_anywhere_ends_as_if_it_had_not_been(temporal, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_TEST_TEMPORAL_TARGET", temporal)
    with server((tmp_path / "store").as_uri()) as target:
        calm = await asyncio.to_thread(run, PROGRAM, target, tmp_path / "calm")
        assert calm.result["sizes"] == [300_001, 300_002, 300_003]
        points = kill_points.points(calm)
        for kill_at in points:
            killed = await asyncio.to_thread(run, PROGRAM, target, tmp_path / str(kill_at), kill_at=kill_at)
            assert killed.result == calm.result, f"killed at {killed.points[kill_at - 1]}"
            _require_that_only_the_running_activity_ran_twice(killed.points, kill_at)
        async with holdfast.AsyncClient(target) as client:
            workflows = [each.workflow_id async for each in client.list_workflows("temporal")]
            assert len(workflows) == 1 + len(points)
            # The first text, three answers and the result: each once, however often it was stored.
            stored = [len([each async for each in client.list("temporal", workflow)]) for workflow in workflows]
            assert stored == [5] * len(workflows)


def _require_that_only_the_running_activity_ran_twice(points, kill_at):
    begun = [name for name in points[:kill_at] if name.startswith("before step")]
    again = [name for name in points[kill_at:] if name.startswith("before step")]
    assert sorted({*begun, *again}) == ["before step 1", "before step 2", "before step 3"]
    assert not set(again) & set(begun[:-1])
    assert len(again) == len(set(again))


async def test_a_workflow_outlives_an_outage_of_holdfast(temporal, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_JOURNAL", str(tmp_path / "journal"))
    process, target = start((tmp_path / "store").as_uri())
    try:
        async with HoldfastStorageDriver.from_target(target, namespace=NAMESPACE, timeout=1) as driver:
            client = await Client.connect(temporal, data_converter=converter(driver))
            handle = await client.start_workflow(
                Conversation.run, "x" * SIZE, id="conversation", task_queue="queue", task_timeout=ATTEMPT
            )
            process.kill()
            process.wait()
            async with Worker(
                client,
                task_queue="queue",
                workflows=[Conversation],
                activities=[extend],
                workflow_runner=UnsandboxedWorkflowRunner(),
            ):
                await _failed_workflow_task(handle)
                process, _ = start((tmp_path / "store").as_uri(), listen=target)
                assert [len(each) for each in await handle.result()] == [300_001, 300_002, 300_003]
    finally:
        process.kill()
        process.wait()


async def _failed_workflow_task(handle) -> None:
    """Wait until the history contains a failed workflow task."""
    while True:
        kinds = [each.event_type async for each in handle.fetch_history_events()]
        if EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED in kinds:
            return
        await asyncio.sleep(0.1)
