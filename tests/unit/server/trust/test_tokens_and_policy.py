"""A server with tokens and a policy: a caller proves its name by a token, and has the rights of that name."""

from pathlib import Path

import grpc
import holdfast
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from tests.support.tokens_file import TokensFile
from tests.support.watched import serving_watched

FORMAT = holdfast.Format("f", 1)
POLICY = '[[policy]]\nprincipals = ["token:ci"]\nnamespaces = ["team-a"]\nverbs = ["read", "write"]\n'


@pytest.fixture
def file(tmp_path: Path) -> TokensFile:
    return TokensFile(tmp_path / "tokens.toml")


@pytest.fixture
async def served(file: TokensFile, tmp_path: Path):
    (tmp_path / "policy.toml").write_text(POLICY)
    settings = {"tokens_file": str(file.path), "policy_file": str(tmp_path / "policy.toml")}
    async with serving_watched(tmp_path, **settings) as served:
        yield served


async def test_the_right_token_works_in_its_namespace_and_in_no_other(file: TokensFile, served):
    async with holdfast.AsyncClient(served.target, token=file.ci) as client:
        saved = await client.save("team-a", "w", b"x", format=FORMAT)
        assert saved.principal == "token:ci"
        assert (await client.load("team-a", "w")).info.principal == "token:ci"
        for denied in (
            client.save("team-b", "w", b"x", format=FORMAT),
            client.save("team-b", "w", b"x" * (2 << 20), format=FORMAT),
            client.load("team-b", "w"),
            client.delete("team-a", "w", saved.checkpoint_id),
            client.acquire_writer("team-a", "w"),
        ):
            with pytest.raises(holdfast.PermissionDeniedError):
                await denied


async def test_a_caller_without_a_token_is_unknown_and_not_denied(served):
    async with holdfast.AsyncClient(served.target) as client:
        with pytest.raises(holdfast.UnauthenticatedError):
            await client.load("team-a", "w")


@pytest.mark.parametrize("has_token", [False, True])
async def test_reflection_needs_a_token_first_and_then_the_right(file: TokensFile, served, has_token: bool):
    metadata = (("authorization", f"Bearer {file.ci}"),) if has_token else ()
    async with grpc.aio.insecure_channel(served.target) as channel:
        # No request is sent: gRPC reports a message that it could not send in place of the server's status.
        call = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )(metadata=metadata)
        assert await call.code() is (
            grpc.StatusCode.PERMISSION_DENIED if has_token else grpc.StatusCode.UNAUTHENTICATED
        )
