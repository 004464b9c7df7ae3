"""The policy decides every call, of unary calls, streams and pipelines, for each verb, before the store is read."""

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2, status_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api.admission import Permit
from holdfast_server.api.pipeline.received import METHODS
from holdfast_server.api.service import UNARY
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.trust.policy import parse
from holdfast_server.trust.verbs import Verb

from tests.support.trusted import by, trusted
from tests.unit.server.api.calls import chunk, header, refusal

SERVICE = api.DESCRIPTOR.services_by_name["CheckpointService"]
WHERE = {"namespace": "b", "workflow_id": "w"}
CALL = WHERE | {"request_id": "r"}
PART = [{"name": "", "data": b"x"}]
READ, WRITE, FENCE, DELETE = "read", "write", "fence", "delete"


def record(**changes):
    return {"key": "k", "data": b"x"} | changes


# Requests that are valid, with the verbs that they need. All are about the namespace "b".
CASES = [
    ("Save", {"header": header(namespace="b"), "parts": PART}, {WRITE}),
    ("Save", {"header": header(namespace="b", checkpoint_id="c", replace=True), "parts": PART}, {WRITE, DELETE}),
    ("Save", {"header": header(namespace="b", ttl={"seconds": 60}), "parts": PART}, {WRITE, DELETE}),
    ("SaveStream", {"header": header(namespace="b")}, {WRITE}),
    ("SaveStream", {"header": header(namespace="b", checkpoint_id="c", replace=True)}, {WRITE, DELETE}),
    ("SaveStream", {"header": header(namespace="b", ttl={"seconds": 60})}, {WRITE, DELETE}),
    ("GetUpload", CALL, {WRITE}),
    ("Load", WHERE, {READ}),
    ("LoadStream", WHERE, {READ}),
    ("List", WHERE, {READ}),
    ("List", {"namespace": "b"}, {READ}),
    ("ListWorkflows", {"namespace": "b"}, {READ}),
    ("Validate", WHERE, {READ}),
    ("Delete", CALL | {"checkpoint_id": "c"}, {DELETE}),
    ("Delete", CALL | {"checkpoint_id": "c", "purge": True}, {DELETE}),
    ("DeleteWorkflow", CALL, {DELETE}),
    ("DeleteWorkflows", {"namespace": "b", "request_id": "r", "all": True}, {DELETE}),
    ("DeleteCheckpoints", CALL | {"all": True}, {DELETE}),
    ("DeleteCheckpoints", {"namespace": "b", "request_id": "r", "all": True}, {DELETE}),
    ("Prune", CALL | {"keep_last": 1}, {DELETE}),
    ("AcquireWriter", CALL, {FENCE}),
    ("AcquireWriter", CALL | {"force": True}, {FENCE}),
    ("CopyWorkflow", CALL | {"target_workflow_id": "t"}, {READ, WRITE}),
    ("AttachRecords", CALL | {"checkpoint_id": "c", "records": [record()]}, {WRITE}),
    ("AttachRecords", CALL | {"checkpoint_id": "c", "records": [record(replace=True)]}, {WRITE, DELETE}),
    ("ListRecords", WHERE | {"checkpoint_id": "c"}, {READ}),
]
# Calls about no namespace. Every caller may make them.
OF_NO_NAMESPACE = {"GetCapabilities", "Pipeline"}
NAMES = [f"{method}-{index}" for index, (method, _, _) in enumerate(CASES)]
FIELDS = {each.name: each.number for each in METHODS}


class Untouched(MemoryStore):
    """A store that counts the reads and writes of objects of workflows."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: list[str] = []

    def __getattribute__(self, name):
        if name in ("get", "put", "put_if_absent", "list", "delete", "replace", "copy"):
            super().__getattribute__("touched").append(name)
        return super().__getattribute__(name)


def policy(*entries: tuple[str, str, set[str]]) -> str:
    return "".join(
        f'[[policy]]\nprincipals = ["{principal}"]\nnamespaces = ["{namespace}"]\nverbs = {sorted(verbs)}\n'
        for principal, namespace, verbs in entries
    )


EVERYTHING = {READ, WRITE, FENCE, DELETE}
ALL_OF_A = policy(("token:a", "a", EVERYTHING))


async def send(served, method: str, fields, principal: str) -> None:
    """Send a call and wait for its end."""
    request_type = getattr(api, SERVICE.methods_by_name[method].input_type.name)
    request = request_type(**fields)
    call = getattr(served.stub, method)
    if method == "SaveStream":
        messages = (request, chunk(b"x"), request_type(finish={"size_bytes": 1}))
        await call(iter(messages), metadata=by(principal))
    elif method == "LoadStream":
        async for _ in call(request, metadata=by(principal)):
            pass
    else:
        await call(request, metadata=by(principal))


async def outcome(served, method: str, fields, principal: str) -> str:
    """Return the reason for which a call fails; "" if it does not."""
    try:
        await send(served, method, fields, principal)
    except grpc.aio.AioRpcError as error:
        return _info(_status(error)).reason
    return ""


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    return status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])


def _info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


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


@pytest.mark.parametrize(("method", "fields", "verbs"), CASES, ids=NAMES)
async def test_a_right_token_in_the_wrong_namespace_is_denied_before_the_store_is_read(method, fields, verbs):
    store = Untouched()
    async with trusted(ALL_OF_A, store) as served:
        store.touched.clear()
        assert await outcome(served, method, fields, "token:a") == "PERMISSION_DENIED"
        assert await outcome(served, method, fields, "token:unknown") == "PERMISSION_DENIED"
        assert not store.touched
        assert await outcome(served, "ListWorkflows", {"namespace": "a"}, "token:a") == ""
        assert store.touched


@pytest.mark.parametrize(("method", "fields", "verbs"), CASES, ids=NAMES)
async def test_exactly_the_verbs_of_a_call_let_it_run(method, fields, verbs):
    entries = [("token:exact", "b", verbs), *((f"token:no-{verb}", "b", EVERYTHING - {verb}) for verb in EVERYTHING)]
    async with trusted(policy(*entries)) as served:
        assert await outcome(served, method, fields, "token:exact") != "PERMISSION_DENIED"
        for verb in EVERYTHING:
            is_denied = await outcome(served, method, fields, f"token:no-{verb}") == "PERMISSION_DENIED"
            assert is_denied == (verb in verbs), verb


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


async def status_of(call) -> bytes:
    """Return the status of a refused call without its trace."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = _status(caught.value)
    kept = [detail for detail in status.details if not detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR)]
    del status.details[:]
    status.details.extend(kept)
    return status.SerializeToString(deterministic=True)


@pytest.mark.parametrize(("method", "fields", "verbs"), CASES, ids=NAMES)
async def test_the_answer_is_the_same_whether_or_not_the_workflow_exists(method, fields, verbs):
    async with trusted(ALL_OF_A + policy(("token:b", "b", EVERYTHING))) as served:
        before = await status_of(send(served, method, fields, "token:a"))
        saved = {"header": header(namespace="b", request_id="s", checkpoint_id="c"), "parts": PART}
        await send(served, "Save", saved, "token:b")
        assert await status_of(send(served, method, fields, "token:a")) == before


async def test_a_denied_call_names_principal_verb_and_namespace():
    async with trusted(ALL_OF_A) as served:
        details = await refusal(send(served, "Load", WHERE, "token:a,oidc:group:ml"))
    info = details[error_details_pb2.ErrorInfo]
    assert dict(info.metadata) == {"principal": "token:a", "verb": "read", "namespace": "b"}


async def test_a_call_of_a_pipeline_is_denied_alone():
    calls = [
        api.PipelineCall(
            call_id=number, **{_field(method): getattr(api, SERVICE.methods_by_name[method].input_type.name)(**fields)}
        )
        for number, (method, fields, _) in enumerate(CASES, 1)
        if method in FIELDS
    ]
    good = api.PipelineCall(call_id=1000, save={"header": header(namespace="a"), "parts": PART})
    async with trusted(ALL_OF_A) as served:
        answers = await piped(served, [*calls, good], "token:a")
    assert answers.pop(1000) == ""
    assert len(answers) == len(calls)
    assert set(answers.values()) == {"PERMISSION_DENIED"}


def _field(method: str) -> str:
    return api.PipelineCall.DESCRIPTOR.fields_by_number[FIELDS[method]].name


def _reason_of(answer: api.PipelineAnswer) -> str:
    if answer.WhichOneof("outcome") != "status":
        return ""
    return _info(status_pb2.Status.FromString(answer.status)).reason


async def piped(served, calls, principal: str) -> dict[int, str]:
    """Send calls on a new pipeline. Return the reasons of the answers."""
    stream = served.stub.Pipeline(metadata=by(principal))
    await stream.write(api.PipelineRequest(calls=calls))
    await stream.done_writing()
    return {answer.call_id: _reason_of(answer) async for response in stream for answer in response.answers}


async def test_a_changed_policy_takes_effect_for_the_next_call_of_a_running_pipeline():
    async with trusted(ALL_OF_A) as served:
        stream = served.stub.Pipeline(metadata=by("token:a"))
        found = []
        for number, namespaces in enumerate(("a", "b", "a"), 1):
            served.policy.value = parse(policy(("token:a", namespaces, EVERYTHING)).encode())
            call = api.PipelineCall(call_id=number, list_workflows={"namespace": "a"})
            await stream.write(api.PipelineRequest(calls=[call]))
            while not (response := await stream.read()).answers:
                pass
            found += [_reason_of(answer) for answer in response.answers]
        await stream.done_writing()
    assert found == ["", "PERMISSION_DENIED", ""]


async def test_a_group_gives_its_rights_to_each_member():
    async with trusted(policy(("oidc:group:ml", "b", {READ}))) as served:
        assert await outcome(served, "ListWorkflows", {"namespace": "b"}, "oidc:ann,oidc:group:ml") == ""
        assert await outcome(served, "ListWorkflows", {"namespace": "b"}, "oidc:ann") == "PERMISSION_DENIED"


@pytest.mark.parametrize(("method", "fields", "verbs"), CASES, ids=NAMES)
async def test_a_denied_call_takes_nothing_of_what_the_namespace_may_have_in_flight(
    method, fields, verbs, monkeypatch: pytest.MonkeyPatch
):
    entered: list[str] = []
    enter = Permit.enter_namespace

    def counted(permit: Permit, namespace: str) -> None:
        entered.append(namespace)
        enter(permit, namespace)

    monkeypatch.setattr(Permit, "enter_namespace", counted)
    async with trusted(policy(("token:b", "b", EVERYTHING))) as served:
        assert await outcome(served, method, fields, "token:a") == "PERMISSION_DENIED"
        assert not entered
        await outcome(served, method, fields, "token:b")
        assert entered == ["b"]


@pytest.mark.parametrize("principal", ["token:B", "token:b ", "token:bb", "TOKEN:b", "token:", "anonymous"])
async def test_principals_that_only_resemble_one_of_the_policy_are_denied(principal):
    async with trusted(policy(("token:b", "b", EVERYTHING))) as served:
        assert await outcome(served, "ListWorkflows", {"namespace": "b"}, principal) == "PERMISSION_DENIED"


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
    async with trusted(policy(("token:a", allowed, EVERYTHING))) as served:
        assert await outcome(served, "ListWorkflows", {"namespace": attacked}, "token:a") == "PERMISSION_DENIED"
        assert await outcome(served, "ListWorkflows", {"namespace": allowed}, "token:a") == ""


async def test_a_denial_is_not_the_stores_refusal_of_the_server():
    async with trusted(ALL_OF_A) as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(served, "Load", WHERE, "token:a")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert HoldfastError(Reason.STORE_ACCESS_DENIED, "").reason is not Reason.PERMISSION_DENIED


def test_every_verb_of_a_namespace_is_tested():
    assert EVERYTHING | {"admin"} == set(Verb)
