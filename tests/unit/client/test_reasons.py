"""Every reason of the table, as the SDK raises it."""

import asyncio
import io
import shutil
import threading
from datetime import timedelta

import grpc
import holdfast
import pytest
from crc32c import crc32c
from holdfast._core.retry import RetryBucket
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1 import errors_pb2
from holdfast.v1.checkpoint_service_pb2_grpc import (
    CheckpointServiceServicer,
    CheckpointServiceStub,
    add_CheckpointServiceServicer_to_server,
)
from holdfast_server import store_watch
from holdfast_server.api import service
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.stores.base import StoreAccessDeniedError

from tests.support import folder_objects
from tests.support.damage import damage_newest
from tests.support.frames import frame
from tests.support.issuer import issuing
from tests.support.markers import sound
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("test", 1)


async def failure(call, expected, **shown):
    with pytest.raises(expected) as caught:
        await call
    error = caught.value
    assert type(error) is expected
    assert len(error.trace_id) == 32
    assert error.advice
    for name, value in shown.items():
        assert error.metadata[name] == str(value)
    return error


async def in_time(call, expected):
    """Check the error of a call that lasts until its deadline.

    The server answers 50 ms before that. A busy machine may be later, and then the call is made again.
    """
    for _ in range(20):
        try:
            return await failure(call(), expected)
        except holdfast.DeadlineExceededError:
            continue
    raise AssertionError("each answer came after the deadline")


def without_retry(client):
    client._transport._caller._bucket = RetryBucket(holdfast.RetryPolicy(burst_retries=0))
    return client


async def test_checkpoint_not_found(client):
    await client.save("n", "w", b"x", format=FORMAT)
    await failure(client.load("n", "w", "other"), holdfast.CheckpointNotFoundError)


async def test_workflow_not_found(client):
    await failure(client.load("n", "nobody"), holdfast.WorkflowNotFoundError)


async def test_checkpoint_deleted(client):
    saved = await client.save("n", "w", b"x", format=FORMAT)
    await client.delete("n", "w", saved.checkpoint_id)
    await failure(client.load("n", "w", saved.checkpoint_id), holdfast.CheckpointDeletedError)


@pytest.mark.without_deltas
async def test_checkpoint_corrupted(client, served):
    await client.save("n", "w", b"x" * 200_000, format=FORMAT)
    damage_newest(served.folder)
    error = await failure(client.resume("n", "w", format=FORMAT), holdfast.CheckpointCorruptedError, revision=1)
    assert isinstance(error, holdfast.WorkflowCheckpointResumeError)


async def test_format_incompatible(client):
    await client.save("n", "w", b"x", format=holdfast.Format("test", 2))
    await failure(client.resume("n", "w", format=FORMAT), holdfast.FormatIncompatibleError)


async def test_layout_unsupported(connect, tmp_path):
    async with serving_watched(tmp_path) as served, connect(served.target) as client:
        await client.save("n", "w", b"x", format=FORMAT)
    [marker] = folder_objects.keys(served.folder, "ns/n/wf/w/log/*")
    frame = bytearray(folder_objects.read(served.folder, marker))
    # The version follows the magic; the checksum, the last field of the header, covers both.
    frame[4:6] = (99).to_bytes(2, "big")
    frame[12:16] = crc32c(frame[:8] + frame[16:]).to_bytes(4, "big")
    folder_objects.write(served.folder, marker, bytes(frame))
    async with serving_watched(tmp_path) as served, connect(served.target) as client:
        await failure(client.load("n", "w"), holdfast.LayoutUnsupportedError)


async def test_writer_fenced(client):
    old = await client.acquire_writer("n", "w")
    await client.acquire_writer("n", "w")
    late = client.save("n", "w", b"x", format=FORMAT, epoch=old.epoch)
    await failure(late, holdfast.WriterFencedError, epoch=1, head_epoch=2)


async def test_revision_conflict(client):
    await client.save("n", "w", b"x", format=FORMAT)
    late = client.save("n", "w", b"y", format=FORMAT, expected_revision=0)
    await failure(late, holdfast.RevisionConflictError, expected_revision=0, head_revision=1)


async def test_checkpoint_id_reused(client):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="mine")
    again = client.save("n", "w", b"y", format=FORMAT, checkpoint_id="mine")
    await failure(again, holdfast.CheckpointIdReusedError, checkpoint_id="mine")


async def test_request_id_reused(client):
    await client.save("n", "w", b"x", format=FORMAT, request_id="r")
    again = client.save("n", "w", b"y", format=FORMAT, request_id="r")
    await failure(again, holdfast.RequestIdReusedError, revision=1)


async def test_commit_unknown(client, served):
    await client.save("n", "w", b"x", format=FORMAT)
    served.store.lose_request = lambda operation, key: True
    await in_time(lambda: client.save("n", "w", b"y", format=FORMAT, timeout=0.5), holdfast.CommitUnknownError)


async def test_store_unavailable(client, served):
    served.store.lose_request = lambda operation, key: True
    await in_time(lambda: client.load("n", "w", timeout=0.5), holdfast.StoreUnavailableError)


async def test_store_access_denied(client, served):
    async def refuse(operation, key):
        raise StoreAccessDeniedError("the store refuses access")

    served.store.before = refuse
    await failure(client.load("n", "w"), holdfast.StoreAccessDeniedError)
    await failure(client.save("n", "w", b"x", format=FORMAT), holdfast.StoreAccessDeniedError)


async def test_overloaded_is_retried_after_the_time_that_the_server_asks_for(connect, tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=1) as served, connect(served.target) as client:
        go_on, asked = asyncio.Event(), asyncio.Event()

        async def wait(operation, key):
            asked.set()
            await go_on.wait()

        served.store.before = wait
        first = asyncio.create_task(client.save("n", "w", b"x", format=FORMAT))
        await asked.wait()
        async with connect(served.target) as once, connect(served.target) as other:
            error = await failure(without_retry(once).load("n", "w"), holdfast.OverloadedError, calls_limit=1)
            assert error.retry_after_seconds == 0.5
            second = asyncio.create_task(other.load("n", "w"))
            await asyncio.sleep(0.2)
            go_on.set()
            assert (await first).revision == 1
            assert (await second).data == b"x"


@pytest.mark.asynchronous_only("many calls; channels are configured by code that both clients share")
async def test_calls_of_one_client_beyond_the_limit_of_a_server_wait_and_are_not_refused(connect, tmp_path):
    async with serving_watched(tmp_path, calls_in_flight=8) as served, connect(served.target) as client:
        saves = (without_retry(client).save("n", f"w{n}", b"x", format=FORMAT) for n in range(200))
        assert [saved.revision for saved in await asyncio.gather(*saves)] == [1] * 200


async def test_overloaded_by_bytes(connect, tmp_path):
    async with serving_watched(tmp_path, bytes_in_flight=1 << 20) as served:
        go_on, asked = asyncio.Event(), asyncio.Event()

        async def wait(operation, key):
            asked.set()
            await go_on.wait()

        async with connect(served.target) as client, connect(served.target) as other:
            served.store.before = wait
            first = asyncio.create_task(client.save("n", "w", b"x" * 600_000, format=FORMAT))
            await asked.wait()
            second = without_retry(other).save("n", "w", b"x" * 600_000, format=FORMAT)
            await failure(second, holdfast.OverloadedError, bytes_limit=1 << 20)
            go_on.set()
            assert (await first).revision == 1


async def test_shutting_down(connect, tmp_path):
    started, ended = asyncio.Event(), asyncio.Event()

    async def serve():
        async with serving_watched(tmp_path) as served:
            serve.served = served
            started.set()
            await ended.wait()

    serving = asyncio.create_task(serve())
    await started.wait()
    asked = asyncio.Event()

    async def stall(operation, key):
        asked.set()
        await asyncio.Event().wait()

    serve.served.store.before = stall
    async with connect(serve.served.target) as client:
        save = asyncio.create_task(without_retry(client).save("n", "w", b"x", format=FORMAT))
        await asked.wait()
        ended.set()
        await failure(save, holdfast.ShuttingDownError)
    await serving


@pytest.mark.remote_only("the test writes to the store")
async def test_log_full(client, served):
    last = sound(MAX_REVISION)
    await served.store.put_if_absent(WorkflowKeys("n", "w").marker(MAX_REVISION), frame(last.SerializeToString()))
    await failure(client.save("n", "w", b"x", format=FORMAT), holdfast.LogFullError, revision=MAX_REVISION + 1)


async def test_quota_exceeded(client, monkeypatch):
    async def full(context, call, request):
        # 64 MiB of records would take long.
        raise HoldfastError(Reason.QUOTA_EXCEEDED, "the checkpoint is full", limit=1)

    monkeypatch.setattr(service, "UNARY", {**service.UNARY, "AttachRecords": full})
    await failure(client.attach("n", "w", "c", [holdfast.Record("k", b"x")]), holdfast.QuotaExceededError, limit=1)


class Ending(CheckpointServiceServicer):
    """A server that breaks off the first call, as an ending server does."""

    def __init__(self) -> None:
        self.attempts = 0

    async def Delete(self, request: api.DeleteRequest, context) -> api.DeleteResponse:  # noqa: N802
        self.attempts += 1
        if self.attempts == 1:
            await context.abort(grpc.StatusCode.CANCELLED, "")
        return api.DeleteResponse(revision=7)


async def test_a_call_that_a_server_breaks_off_is_retried(connect):
    server, ending = grpc.aio.server(), Ending()
    add_CheckpointServiceServicer_to_server(ending, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(f"127.0.0.1:{port}") as client:
        assert await client.delete("n", "w", "x") == 7
    assert ending.attempts == 2
    await server.stop(0)


async def test_payload_too_large(connect, tmp_path):
    limits = serving_watched(tmp_path, payload_limit_bytes=1 << 20)
    async with limits as served, connect(served.target) as client:
        large = client.save("n", "w", bytes(2 << 20), format=FORMAT)
        await failure(large, holdfast.PayloadTooLargeError)
        await failure(client.load("n", "w"), holdfast.WorkflowNotFoundError)


async def test_invalid_request(client):
    error = await failure(client.save("n", "a/b", b"x", format=FORMAT), holdfast.InvalidRequestError)
    assert [field for field, _ in error.field_violations] == ["workflow_id"]


async def test_deadline_exceeded(client, served):
    async def stall(operation, key):
        await asyncio.sleep(60)

    served.store.before = stall
    await failure(client.load("n", "w", timeout=0.3), holdfast.DeadlineExceededError)


async def test_internal(client, served):
    async def break_down(operation, key):
        raise RuntimeError("what no caller may see")

    served.store.before = break_down
    error = await failure(client.load("n", "w"), holdfast.InternalError)
    assert "no caller" not in str(error)


class Refusing(CheckpointServiceServicer):
    """A server that refuses loads by the status alone, as a proxy in front of it does."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    async def Load(self, request: api.LoadRequest, context) -> api.LoadResponse:  # noqa: N802
        await context.abort(self._code, "said by something in between")


async def refused(connect, code, expected):
    server = grpc.aio.server()
    add_CheckpointServiceServicer_to_server(Refusing(code), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(f"127.0.0.1:{port}") as client:
        error = await failure(client.load("n", "w"), expected)
    await server.stop(0)
    assert error.code is code
    assert error.reason == code.name
    assert not error.retryable
    assert "said by something in between" in str(error)


async def test_unauthenticated(connect):
    await refused(connect, grpc.StatusCode.UNAUTHENTICATED, holdfast.UnauthenticatedError)


async def test_issuer_unavailable(connect, tmp_path):
    async with issuing() as issuer:
        issuer.is_down = True
        async with (
            serving_watched(tmp_path, **issuer.settings) as served,
            connect(served.target, timeout=20, token=issuer.token()) as client,
        ):
            error = await failure(without_retry(client).load("n", "w"), holdfast.IssuerUnavailableError)
    assert error.retryable


async def test_permission_denied(connect):
    await refused(connect, grpc.StatusCode.PERMISSION_DENIED, holdfast.PermissionDeniedError)


async def test_unimplemented(connect):
    await refused(connect, grpc.StatusCode.UNIMPLEMENTED, holdfast.UnimplementedError)


async def test_store_replaced(client, served):
    await client.save("n", "w", b"x", format=FORMAT)
    await client.load("n", "w")
    shutil.rmtree(served.folder)
    # A failure makes the server check the store at once; from then on it answers nothing from memory.
    await failure(client.save("n", "w", b"y", format=FORMAT), holdfast.StoreReplacedError)
    await failure(client.load("n", "w"), holdfast.StoreReplacedError)
    assert not (served.folder / "ns").exists()


async def test_store_replaced_by_another_one_is_noticed_without_a_failure(connect, tmp_path, monkeypatch):
    monkeypatch.setattr(store_watch, "INTERVAL_SECONDS", 0.05)
    async with serving_watched(tmp_path / "other") as other, connect(other.target) as client:
        await client.save("n", "w", b"of another store", format=FORMAT)
    async with serving_watched(tmp_path / "one") as served, connect(served.target) as client:
        await client.save("n", "w", b"x", format=FORMAT)
        served.folder.rename(tmp_path / "moved")
        other.folder.rename(served.folder)
        async with asyncio.timeout(20):
            while (await asyncio.gather(client.load("n", "w"), return_exceptions=True))[0].__class__ is not (
                holdfast.StoreReplacedError
            ):
                pass
        await failure(client.save("n", "w", b"y", format=FORMAT), holdfast.StoreReplacedError)


async def test_lease_held(client):
    await client.acquire_writer("n", "w", lease=timedelta(minutes=1), holder="worker-7")
    await failure(client.acquire_writer("n", "w"), holdfast.LeaseHeldError, holder="worker-7", head_epoch=1)


@pytest.mark.remote_only("the test has a channel of its own")
async def test_upload_lost(client, served):
    read, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                read.set()
                go_on.wait()
            return super().read(size)

    saving = asyncio.create_task(
        without_retry(client).save("n", "w", Slow(b"x" * (8 << 20)), format=FORMAT, request_id="r")
    )
    await asyncio.to_thread(read.wait)
    async with grpc.aio.insecure_channel(served.target) as channel:
        asked = api.GetUploadRequest(namespace="n", workflow_id="w", request_id="r")
        async with asyncio.timeout(20):
            # The client has read the payload ahead: its stream may not have come to the server yet.
            while not (await CheckpointServiceStub(channel).GetUpload(asked)).found:
                pass
    go_on.set()
    await failure(saving, holdfast.UploadLostError)


async def test_audit_unavailable(connect, tmp_path):
    log = tmp_path / "logs" / "audit"
    log.parent.mkdir()
    async with (
        serving_watched(tmp_path, audit_log=str(log), audit_required=True) as served,
        connect(served.target) as client,
    ):
        shutil.rmtree(log.parent)
        await failure(without_retry(client).save("n", "w", b"x", format=FORMAT), holdfast.AuditUnavailableError)


def test_every_reason_has_a_test():
    here = set(globals())
    for value in errors_pb2.ErrorReason.DESCRIPTOR.values[1:]:
        name = value.name.removeprefix("ERROR_REASON_").lower()
        assert any(test.startswith(f"test_{name}") for test in here), name
