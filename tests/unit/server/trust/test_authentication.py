"""Who calls is decided by metadata and connection, before a request is parsed."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from holdfast_server.api import grpc_methods
from holdfast_server.api.calls import Calls
from holdfast_server.api.malformed import Unparsed
from holdfast_server.api.pipeline.pipelines import Pipelines
from holdfast_server.api.service import UNARY, CheckpointService
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.payload.encoding import PartEncoder
from holdfast_server.trust.authentication import Credentials
from holdfast_server.trust.principal import Principal
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.bounded_store import BoundedStore
from tests.support.context import Context


class Issuer:
    """Knows the token "good" at once, and "slow" after a wait."""

    def issued(self, token):
        return "." not in token

    def at_once(self, token):
        return {"good": Principal.named("token:good")}.get(token)

    async def principal_of(self, token):
        return Principal.named(f"token:{token}")

    def on_change(self, listener):
        """Do nothing: the tokens never change."""


class Certified(Context):
    """A call on a connection with a client certificate."""

    def auth_context(self):
        return {"x509_common_name": [b"worker"]}


def caller(context):
    return grpc_methods.GrpcContext(context)


def with_header(value):
    return caller(Context((("authorization", value),)))


def by_tokens(*, takes_certificates=False):
    return Credentials([Issuer()], takes_certificates=takes_certificates)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_is_found_whatever_the_case_of_its_scheme(scheme):
    assert by_tokens().at_once(with_header(f"{scheme} good")).name == "token:good"


async def test_an_issuer_may_take_time_to_know_a_token():
    assert by_tokens().at_once(with_header("Bearer slow")) is None
    assert (await by_tokens().principal_of(with_header("Bearer slow"))).name == "token:slow"


@given(st.text())
@example("good")
@example("Basic good")
@example("Bearer good")
@example("Bearer")
@example("Bearer good good")
@example("Bearer good, Bearer good")
@example(" Bearer good")
@example("Bearer good\n")
@example("Bearer " + "x" * 20_000)
def test_a_refused_header_is_not_shown(value):
    with pytest.raises(HoldfastError) as refused:
        Credentials([], takes_certificates=False).at_once(with_header(value))
    assert refused.value.reason == "UNAUTHENTICATED"
    assert "good" not in refused.value.message
    assert len(refused.value.message) < 200


def test_two_headers_are_refused_whichever_is_valid():
    pair = (("authorization", "Bearer good"), ("authorization", "Bearer bad"))
    for metadata in (pair, pair[::-1], (*pair, ("x-bin", b"x"))):
        with pytest.raises(HoldfastError, match="malformed"):
            by_tokens().at_once(caller(Context(metadata)))
    assert by_tokens().at_once(caller(Context((pair[0], ("x-bin", b"x"))))).name == "token:good"


def test_a_wrong_token_is_refused_even_with_a_certificate():
    context = Certified((("authorization", "Bearer a.b.c"),))
    with pytest.raises(HoldfastError, match="accepts no tokens of this kind"):
        by_tokens(takes_certificates=True).at_once(caller(context))


def test_a_call_without_a_token_is_known_by_its_certificate():
    assert by_tokens(takes_certificates=True).at_once(caller(Certified())).name == "cert:worker"


@pytest.mark.parametrize(
    ("takes_certificates", "expected"),
    [(False, "expected metadata 'authorization: Bearer TOKEN'"), (True, "TOKEN' or a client certificate with a name")],
)
def test_the_refusal_of_a_call_without_credentials_says_what_is_expected(takes_certificates, expected):
    with pytest.raises(HoldfastError, match=expected):
        by_tokens(takes_certificates=takes_certificates).at_once(caller(Context()))


def test_a_certificate_does_not_count_where_none_is_taken():
    with pytest.raises(HoldfastError, match="no credentials"):
        by_tokens().at_once(caller(Certified()))


async def messages(*each):
    for message in each:
        yield message


@pytest.mark.parametrize("method", [*UNARY, "SaveStream", "LoadStream", "Pipeline"])
async def test_no_method_parses_the_request_of_an_unknown_caller(method, monkeypatch):
    calls = Calls(limit=8, bytes_limit=1 << 20, longest_seconds=60, authentication=by_tokens())
    store = BoundedStore()
    service = CheckpointService(Log(store), calls, PartEncoder(store, inline_limit_bytes=20), payload_limit_bytes=1000)
    handler = grpc_methods.handlers(service, Pipelines(service, calls, age_seconds=60))[method]

    def refuse_to_parse(*_):
        raise AssertionError("a request was parsed")

    monkeypatch.setattr(Unparsed, "parsed", refuse_to_parse)
    monkeypatch.setattr("holdfast_server.api.pipeline.pipeline.take_apart", refuse_to_parse)
    raw = b"\xff not a message"
    read = handler.request_deserializer or bytes
    context = Context()
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    with pytest.raises(grpc.aio.AbortError):
        await behaviour(messages() if handler.request_streaming else read(raw), context)
    code, message, trailing = context.ended
    assert code.name == "UNAUTHENTICATED"
    assert message.startswith("the call has no credentials")
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "UNAUTHENTICATED"
