"""The policy decides every call, of unary calls, streams and pipelines, for each verb, before the store is read."""

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2
from holdfast_server.api.service import UNARY
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.trust.verbs import Verb

from tests.support import rights
from tests.support.rights import (
    ALL_OF_A,
    CASES,
    EVERYTHING,
    NAMES,
    OF_NO_NAMESPACE,
    PART,
    SERVICE,
    WHERE,
    header,
    outcome,
    policy,
    send,
    status_of,
)
from tests.support.trusted import trusted
from tests.unit.server.api.calls import refusal


def test_every_method_is_covered():
    assert {method for method, _, _ in CASES} | OF_NO_NAMESPACE == set(SERVICE.methods_by_name)


def test_every_method_is_about_one_namespace_which_is_in_its_request_or_in_the_header():
    """A request with a second namespace would have to be decided for both."""

    def named(message, path=""):
        for field in message.fields:
            if "namespace" in field.name:
                yield f"{path}{field.name}"
            if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type.file.package == "holdfast.v1":
                yield from named(field.message_type, f"{path}{field.name}.")

    for name, method in SERVICE.methods_by_name.items():
        if name not in OF_NO_NAMESPACE:
            assert list(named(method.input_type)) in (["namespace"], ["header.namespace"]), name
    assert not list(named(SERVICE.methods_by_name["GetCapabilities"].input_type))
    assert not list(named(SERVICE.methods_by_name["GetStoreStatus"].input_type))
    assert list(named(SERVICE.methods_by_name["ListNamespaces"].input_type)) == ["namespace_prefix"]


@pytest.mark.parametrize(("method", "fields", "verbs"), CASES, ids=NAMES)
async def test_a_right_token_in_the_wrong_namespace_is_denied_before_the_store_is_read(method, fields, verbs):
    await rights.check_denied_elsewhere(method, fields)


@pytest.mark.parametrize(("method", "fields", "verbs"), CASES, ids=NAMES)
async def test_exactly_the_verbs_of_a_call_let_it_run(method, fields, verbs):
    await rights.check_exact_verbs(method, fields, verbs)


@pytest.mark.parametrize("name", sorted(UNARY.keys() - OF_NO_NAMESPACE))
async def test_an_invalid_namespace_is_refused_whatever_the_policy_says(name):
    method, fields, _ = next(case for case in CASES if case[0] == name)
    async with trusted(policy(("*", "*", EVERYTHING))) as served:
        for wrong in ("", ".", "a/b", "x" * 129, "a\u202eb"):
            fields = dict(fields)
            if "header" in fields:
                fields["header"] = header(namespace=wrong)
            else:
                fields["namespace"] = wrong
            assert await outcome(served, method, fields, "token:a") == "INVALID_REQUEST"


async def untraced(call) -> bytes:
    """Return the status of a refused call without its trace."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = status_of(caught.value)
    kept = [detail for detail in status.details if not detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR)]
    del status.details[:]
    status.details.extend(kept)
    return status.SerializeToString(deterministic=True)


@pytest.mark.parametrize(("method", "fields", "verbs"), CASES, ids=NAMES)
async def test_the_answer_is_the_same_whether_or_not_the_workflow_exists(method, fields, verbs):
    async with trusted(ALL_OF_A + policy(("token:b", "b", EVERYTHING))) as served:
        before = await untraced(send(served, method, fields, "token:a"))
        saved = {"header": header(namespace="b", request_id="s", checkpoint_id="c"), "parts": PART}
        await send(served, "Save", saved, "token:b")
        assert await untraced(send(served, method, fields, "token:a")) == before


async def test_a_list_of_namespaces_holds_those_that_the_caller_may_read_and_no_others():
    await rights.check_namespaces_listed()


async def test_the_state_of_the_store_is_for_administrators():
    await rights.check_the_store_is_for_administrators()


async def test_a_denied_call_names_principal_verb_and_namespace():
    async with trusted(ALL_OF_A) as served:
        details = await refusal(send(served, "Load", WHERE, "token:a,oidc:group:ml"))
    info = details[error_details_pb2.ErrorInfo]
    assert dict(info.metadata) == {"principal": "token:a", "verb": "read", "namespace": "b"}


async def test_a_call_of_a_pipeline_is_denied_alone():
    await rights.check_each_call_of_a_pipeline_alone()


async def test_a_changed_policy_takes_effect_for_the_next_call_of_a_running_pipeline():
    await rights.check_a_changed_policy_counts_at_once()


async def test_a_running_stream_ends_when_its_right_is_taken():
    await rights.check_streams()


async def test_a_group_gives_its_rights_to_each_member():
    await rights.check_groups()


@pytest.mark.parametrize(("method", "fields", "verbs"), CASES, ids=NAMES)
async def test_a_denied_call_takes_nothing_of_what_the_namespace_may_have_in_flight(method, fields, verbs):
    await rights.check_uses_nothing_when_denied(method, fields)


@pytest.mark.parametrize("principal", ["token:B", "token:b ", "token:bb", "TOKEN:b", "token:", "anonymous"])
async def test_principals_that_only_resemble_one_of_the_policy_are_denied(principal):
    await rights.check_principals_that_resemble(principal)


@pytest.mark.parametrize(
    ("allowed", "attacked"),
    [
        ("team-a", "Team-a"),
        ("caf\u00e9", "cafe\u0301"),
        ("\uff41", "a"),
        ("a", "a "),
        ("a", "a%2f"),
        ("k", "\u212a"),
        ("s", "\u017f"),
    ],
)
async def test_namespaces_that_only_resemble_an_allowed_one_are_denied(allowed, attacked):
    await rights.check_namespaces_that_resemble(allowed, attacked)


async def test_a_denial_is_not_the_stores_refusal_of_the_server():
    async with trusted(ALL_OF_A) as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(served, "Load", WHERE, "token:a")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert HoldfastError(Reason.STORE_ACCESS_DENIED, "").reason is not Reason.PERMISSION_DENIED


def test_every_verb_of_a_namespace_is_tested():
    assert EVERYTHING | {"admin"} == set(Verb)
