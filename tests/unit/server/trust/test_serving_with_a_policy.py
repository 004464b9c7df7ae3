"""A server with a policy file: errors at its start, changes while it serves, reflection for administrators."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.config import Config
from holdfast_server.lifecycle import serving
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.trust.watched_file import InvalidFileError

from tests.support.server_log import recording

READERS = '[[policy]]\nprincipals = ["anonymous"]\nnamespaces = ["a"]\nverbs = ["read"]\n'
ADMINS = '[[policy]]\nprincipals = ["anonymous"]\nnamespaces = ["*"]\nverbs = ["admin"]\n'


@asynccontextmanager
async def channel_of(policy_file: Path):
    """Run a server without authentication, whose callers are "anonymous"."""
    config = Config(listen="127.0.0.1:0", store="file:///unused", policy_file=str(policy_file), drain_seconds=0)
    async with (
        serving(config, MemoryStore()) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel


async def may_read(channel, namespace: str) -> bool:
    call = CheckpointServiceStub(channel).ListWorkflows(api.ListWorkflowsRequest(namespace=namespace))
    code = await call.code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED)
    return code is grpc.StatusCode.OK


async def test_a_changed_policy_takes_effect_and_a_broken_one_does_not(tmp_path: Path):
    file = tmp_path / "policy.toml"
    file.write_text(READERS)
    async with channel_of(file) as channel:
        assert (await may_read(channel, "a"), await may_read(channel, "b")) == (True, False)
        with recording() as log:
            file.write_text(READERS.replace("read", "raed"))
            async with asyncio.timeout(30):
                logged = await log.next()
            assert logged.startswith("a changed file is invalid; its earlier content stays in effect: policy_file: ")
            assert "policy entry 1, line 1: verbs[0]: expected one of" in logged
            assert (await may_read(channel, "a"), await may_read(channel, "b")) == (True, False)
            file.write_text(READERS.replace('"a"', '"b"'))
            async with asyncio.timeout(30):
                assert (await log.next()).startswith("a changed file is in effect")
        assert (await may_read(channel, "a"), await may_read(channel, "b")) == (False, True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "policy_file: '.*policy.toml': cannot read it: No such file or directory"),
        (
            READERS + READERS.replace("read", "raed"),
            r"policy_file: '.*': policy entry 2, line 5: verbs\[0\]: .*, got 'raed'",
        ),
    ],
)
async def test_a_server_does_not_start_with_a_wrong_policy(tmp_path: Path, text: str | None, problem: str):
    file = tmp_path / "policy.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidFileError, match=problem):
        async with channel_of(file):
            pass


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize(("policy", "is_allowed"), [(READERS, False), (ADMINS, True)])
async def test_reflection_is_for_administrators(tmp_path: Path, version: str, policy: str, is_allowed: bool):
    file = tmp_path / "policy.toml"
    file.write_text(policy)
    async with channel_of(file) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        if is_allowed:
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            assert (await call.read()).list_services_response.service
            return
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert caught.value.details() == "'anonymous' has no right to admin"


async def test_health_is_for_everybody(tmp_path: Path):
    file = tmp_path / "policy.toml"
    file.write_text(READERS)
    async with channel_of(file) as channel:
        checked = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert checked.status == health_pb2.HealthCheckResponse.SERVING
