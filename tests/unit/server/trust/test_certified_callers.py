"""Callers who are known by the certificate of their connection, through a real server with TLS."""

import grpc
import pytest
from holdfast.v1.checkpoint_service_pb2_grpc import CheckpointServiceStub
from holdfast_server.api.calls import Calls

from tests.support.authorized import LIST, OK, AuthorizedCaller, outcome, pipelined
from tests.support.certificates import Authority
from tests.support.pipelines import PipelineCaller
from tests.support.tokens_file import TokensFile
from tests.support.watched import serving_watched

CERTIFICATES = {
    "spiffe": ({"name": "worker", "uris": ["spiffe://example.org/worker"]}, "spiffe://example.org/worker"),
    "common name": ({"name": "worker", "hosts": ["worker.example.org"]}, "cert:worker"),
}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


@pytest.fixture
def principals(monkeypatch):
    """Return the names of the principals of the calls that were admitted."""
    seen = []
    admit = Calls._admit

    def noting(self, call, request):
        seen.append(call.principal.name)
        admit(self, call, request)

    monkeypatch.setattr(Calls, "_admit", noting)
    return seen


@pytest.fixture
def serve(tmp_path, authority):
    """Return a function that runs a server whose callers must present a certificate."""

    def run(**settings):
        own = authority.issue("server", hosts=["127.0.0.1"])
        return serving_watched(
            tmp_path,
            tls_cert_file=str(own.cert_file),
            tls_key_file=str(own.key_file),
            tls_client_ca_file=str(authority.ca_file),
            **settings,
        )

    return run


def connection(target, authority, **certificate):
    pair = authority.issue(**certificate)
    credentials = grpc.ssl_channel_credentials(
        authority.ca_file.read_bytes(), pair.key_file.read_bytes(), pair.cert_file.read_bytes()
    )
    return grpc.aio.secure_channel(target, credentials)


@pytest.mark.parametrize("kind", CERTIFICATES)
async def test_a_caller_is_known_by_its_certificate_in_unary_calls_and_pipelines(serve, authority, principals, kind):
    certificate, name = CERTIFICATES[kind]
    async with serve() as served, connection(served.target, authority, **certificate) as channel:
        stub = CheckpointServiceStub(channel)
        assert await outcome(stub.ListWorkflows(LIST)) == OK
        assert await pipelined(PipelineCaller(stub.Pipeline()), 1) == OK
    assert principals == [name, name]


async def test_a_token_decides_even_on_a_connection_with_a_certificate(serve, authority, principals, tmp_path):
    file = TokensFile(tmp_path / "tokens.toml")
    async with (
        serve(tokens_file=str(file.path)) as served,
        connection(served.target, authority, name="worker") as channel,
    ):
        caller = AuthorizedCaller(channel)
        assert await caller.with_token(file.ci) == OK
        assert (await caller.with_token("hft_wrong"))[0] == "UNAUTHENTICATED"
        assert await caller.outcome(None) == OK
    assert principals == ["token:ci", "cert:worker"]
