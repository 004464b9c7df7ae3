"""Each call has its line in the audit log, on every transport; calls that must be logged and cannot are refused."""

import asyncio
import json
import re
from types import SimpleNamespace

import grpc
import holdfast
import pytest
from google.protobuf.message_factory import GetMessageClass
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.api.grpc_methods import GrpcContext
from holdfast_server.trust.audit import WRITES

from tests.support.pipelines import pipeline
from tests.support.tokens_file import TokensFile
from tests.support.watched import embedding_watched, serving_watched
from tests.unit.server.api.calls import WORKFLOW, header, reason

FORMAT = holdfast.Format("f", 1)
SECRET = "not-for-the-log"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "audit"


async def test_a_line_says_who_called_what_and_how_it_ended_and_nothing_more(tmp_path, path):
    async with (
        serving_watched(tmp_path, audit_log=str(path), audit_calls="all") as served,
        holdfast.AsyncClient(served.target) as client,
    ):
        saved = await client.save("n", "w", SECRET.encode(), format=FORMAT, labels={"l": SECRET})
        await client.load("n", "w")
        await client.attach("n", "w", "c", [holdfast.Record(SECRET, SECRET.encode())])
        await client.acquire_writer("n", "w")
        with pytest.raises(holdfast.WorkflowNotFoundError):
            await client.load("n", "absent")
        await client.copy_workflow("n", "w", "w2")
        await client.delete_workflows("n", "w2")
    assert SECRET not in path.read_text()
    save, load, attach, acquire, absent, copy, bulk = lines(path)
    assert re.fullmatch(r"20[0-9-]+T[0-9:.]+\+00:00", save.pop("time"))
    assert re.fullmatch("[0-9a-f]{16}", save.pop("call"))
    assert re.match("ipv4:127.0.0.1:[0-9]+$", save.pop("peer"))
    assert re.fullmatch("[0-9a-f]{32}", save.pop("trace_id"))
    assert save == {
        "type": "response",
        "method": "Save",
        "principal": "anonymous",
        "namespace": "n",
        "workflow": "w",
        "checkpoint": saved.checkpoint_id,
        "revision": 1,
        "outcome": "OK",
    }
    assert (load["method"], load["checkpoint"], load["revision"]) == ("Load", saved.checkpoint_id, 1)
    assert (attach["method"], attach["checkpoint"]) == ("AttachRecords", "c")
    assert (acquire["method"], acquire["revision"]) == ("AcquireWriter", 2)
    assert (absent["workflow"], absent["outcome"]) == ("absent", "WORKFLOW_NOT_FOUND")
    assert (copy["workflow"], copy["target_workflow"]) == ("w", "w2")
    assert (bulk["namespace"], bulk["workflow_prefix"]) == ("n", "w2")


async def test_streams_and_each_call_of_a_pipeline_have_lines(tmp_path, path):
    async with serving_watched(tmp_path, audit_log=str(path), audit_calls="all") as served:
        async with holdfast.AsyncClient(served.target) as client:
            await client.save("n", "large", b"x" * (2 << 20), format=FORMAT)
            await client.load("n", "large")
        async with pipeline(served.target) as caller:
            save = api.SaveRequest(header=header(), parts=[checkpoint_pb2.Part(data=b"x")])
            await caller.send(api.PipelineCall(call_id=1, save=save))
            await caller.send(api.PipelineCall(call_id=2, load=api.LoadRequest(namespace="n")))
            await caller.answers(1, 2)
    assert {(each["method"], each.get("workflow"), each["outcome"]) for each in lines(path)} >= {
        ("SaveStream", "large", "OK"),
        ("LoadStream", "large", "OK"),
        ("Save", "w", "OK"),
        ("Load", None, "INVALID_REQUEST"),
    }


async def test_calls_inside_the_process_are_those_of_embedded(tmp_path, path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_AUDIT_LOG", str(path))
    async with embedding_watched(tmp_path) as served:
        async with holdfast.AsyncClient(served.target) as client:
            await client.save("n", "w", b"x", format=FORMAT)
        # A thread writes the line after the answer.
        for _ in range(1000):
            if lines(path):
                break
            await asyncio.sleep(0.01)
        assert lines(path)[0]["principal"] == "embedded"


async def test_a_required_line_comes_before_the_commit_and_the_response_after_it(tmp_path, path):
    async with (
        serving_watched(tmp_path, audit_log=str(path), audit_required=True) as served,
        holdfast.AsyncClient(served.target) as client,
    ):
        seen = []

        async def look(operation, key):
            if operation == "put_if_absent":
                seen.append([each["type"] for each in lines(path)])

        served.store.before = look
        await client.save("n", "w", b"x", format=FORMAT)
        await client.save("n", "large", b"x" * (2 << 20), format=FORMAT)
    assert seen[0] == ["request"]
    assert seen[-1] == ["request", "response", "request"]
    first, second = lines(path)[:2]
    assert first["call"] == second["call"]


@pytest.mark.parametrize("method", sorted(WRITES - {"SaveStream"}))
async def test_a_write_that_must_be_logged_and_cannot_be_changes_nothing(tmp_path, path, method):
    async with (
        serving_watched(tmp_path, audit_log=str(path), audit_required=True) as served,
        grpc.aio.insecure_channel(served.target) as channel,
    ):
        path.unlink()
        path.parent.rmdir()
        stub = CheckpointServiceStub(channel)
        described = api.DESCRIPTOR.services_by_name["CheckpointService"].methods_by_name[method]
        request = GetMessageClass(described.input_type)()
        fields = request.DESCRIPTOR.fields_by_name
        if "header" in fields:
            request.header.CopyFrom(header())
        else:
            for name, value in WORKFLOW.items():
                if name in fields:
                    setattr(request, name, value)
        assert await reason(getattr(stub, method)(request)) == "AUDIT_UNAVAILABLE"
        assert not served.store.requests
        path.parent.mkdir()
        assert await reason(getattr(stub, method)(request)) != "AUDIT_UNAVAILABLE"


def test_the_peer_is_an_address_as_people_write_it():
    servicer = SimpleNamespace(
        peer=lambda: "ipv6:%5B::1%5D:50051",
        invocation_metadata=lambda: (),
        time_remaining=lambda: None,
        send_initial_metadata=None,
    )
    assert GrpcContext(servicer).peer == "ipv6:[::1]:50051"


async def test_a_streamed_save_that_must_be_logged_and_cannot_be_changes_nothing(tmp_path, path):
    async with (
        serving_watched(tmp_path, audit_log=str(path), audit_required=True) as served,
        grpc.aio.insecure_channel(served.target) as channel,
    ):
        path.unlink()
        path.parent.rmdir()
        stub = CheckpointServiceStub(channel)
        stream = stub.SaveStream()
        await stream.write(api.SaveStreamRequest(header=header()))
        assert await reason(stream) == "AUDIT_UNAVAILABLE"
        assert not served.store.requests
        # Reads go on.
        assert await reason(stub.Load(api.LoadRequest(**WORKFLOW))) == "WORKFLOW_NOT_FOUND"


async def test_a_client_retries_until_the_log_can_be_written(tmp_path, path):
    async with (
        serving_watched(tmp_path, audit_log=str(path), audit_required=True) as served,
        holdfast.AsyncClient(served.target) as client,
        holdfast.AsyncClient(served.target, retry=holdfast.RetryPolicy(burst_retries=0)) as impatient,
    ):
        path.unlink()
        path.parent.rmdir()
        saving = asyncio.create_task(client.save("n", "w", b"x", format=FORMAT))
        with pytest.raises(holdfast.AuditUnavailableError):
            await impatient.save("n", "w", b"x", format=FORMAT)
        path.parent.mkdir()
        assert (await saving).revision == 1
    outcomes = [each["outcome"] for each in lines(path) if each["type"] == "response"]
    assert outcomes.count("OK") == 1
    assert set(outcomes) == {"AUDIT_UNAVAILABLE", "OK"}


async def test_refused_calls_have_a_line_whatever_is_audited(tmp_path, path):
    policy = tmp_path / "policy.toml"
    policy.write_text('[[policy]]\nprincipals = ["token:ci"]\nnamespaces = ["a"]\nverbs = ["read"]\n')
    tokens = TokensFile(tmp_path / "tokens")
    settings = {"audit_log": str(path), "policy_file": str(policy), "tokens_file": str(tokens.path)}
    async with serving_watched(tmp_path, **settings) as served:
        async with holdfast.AsyncClient(served.target, token=tokens.ci) as client:
            with pytest.raises(holdfast.PermissionDeniedError):
                await client.load("b", "w")
            with pytest.raises(holdfast.WorkflowNotFoundError):
                await client.load("a", "w")
        async with holdfast.AsyncClient(served.target) as stranger:
            with pytest.raises(holdfast.UnauthenticatedError):
                await stranger.load("a", "w")
        async with pipeline(served.target) as caller:
            with pytest.raises(grpc.aio.AioRpcError):
                await caller.ended()
    assert tokens.ci not in path.read_text()
    denied, *unknown = lines(path)
    assert (denied["principal"], denied["namespace"], denied["outcome"]) == ("token:ci", "b", "PERMISSION_DENIED")
    assert unknown
    assert {(each.get("principal"), each["outcome"]) for each in unknown} == {(None, "UNAUTHENTICATED")}
