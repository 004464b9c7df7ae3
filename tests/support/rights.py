"""Calls that a policy must decide, and the checks that it does: the tests run them, and so do planted defects.

Each check raises AssertionError if a rule of rights is broken.
"""

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from crc32c import crc32c
from google.rpc import error_details_pb2, status_pb2
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api.admission import Permit
from holdfast_server.api.pipeline.received import METHODS
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.trust.policy import parse

from tests.support.trusted import by, trusted

SERVICE = api.DESCRIPTOR.services_by_name["CheckpointService"]
WHERE = {"namespace": "b", "workflow_id": "w"}
CALL = WHERE | {"request_id": "r"}
PART = [{"name": "", "data": b"x"}]
READ, WRITE, FENCE, DELETE = "read", "write", "fence", "delete"


def header(**changes: Any) -> checkpoint_pb2.SaveHeader:
    fields = {"namespace": "n", "workflow_id": "w", "request_id": "r", "format": {"name": "f", "version": 1}}
    return checkpoint_pb2.SaveHeader(**(fields | changes))


def record(**changes: Any) -> dict[str, Any]:
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
    ("GetUsage", WHERE, {READ}),
    ("GetUsage", {"namespace": "b"}, {READ}),
    ("ListLog", WHERE, {READ}),
    ("WatchWorkflow", WHERE, {READ}),
]
# Calls about no namespace. Every caller may make them.
OF_NO_NAMESPACE = {"GetCapabilities", "GetStoreStatus", "ListNamespaces", "Pipeline"}
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
        chunk = {"data": b"x", "crc32c": crc32c(b"x")}
        messages = (request, request_type(chunk=chunk), request_type(finish={"size_bytes": 1}))
        await call(iter(messages), metadata=by(principal))
    elif method == "WatchWorkflow":
        watch = call(request, metadata=by(principal))
        await watch.read()
        watch.cancel()
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
        return _reason_in(status_of(error))
    return ""


def _reason_in(status: status_pb2.Status) -> str:
    reason = info_of(status).reason
    # Code that does not run proves nothing.
    if reason == "INTERNAL":
        raise RuntimeError(status.message)
    return reason


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    return status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])


def info_of(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


async def check_denied_elsewhere(method: str, fields: Any) -> None:
    """Check that a call about another namespace is denied before the store is read."""
    store = Untouched()
    async with trusted(ALL_OF_A, store) as served:
        store.touched.clear()
        assert await outcome(served, method, fields, "token:a") == "PERMISSION_DENIED"
        assert await outcome(served, method, fields, "token:unknown") == "PERMISSION_DENIED"
        assert not store.touched
        assert await outcome(served, "ListWorkflows", {"namespace": "a"}, "token:a") == ""
        assert store.touched


async def check_exact_verbs(method: str, fields: Any, verbs: set[str]) -> None:
    """Check that a call needs each of its verbs and no other."""
    entries = [("token:exact", "b", verbs), *((f"token:no-{verb}", "b", EVERYTHING - {verb}) for verb in EVERYTHING)]
    async with trusted(policy(*entries)) as served:
        assert await outcome(served, method, fields, "token:exact") != "PERMISSION_DENIED"
        for verb in sorted(EVERYTHING):
            is_denied = await outcome(served, method, fields, f"token:no-{verb}") == "PERMISSION_DENIED"
            assert is_denied == (verb in verbs), verb


async def check_uses_nothing_when_denied(method: str, fields: Any) -> None:
    """Check that a denied call takes nothing of what the namespace may have in flight."""
    with _entered() as entered:
        async with trusted(policy(("token:b", "b", EVERYTHING))) as served:
            assert await outcome(served, method, fields, "token:a") == "PERMISSION_DENIED"
            assert not entered
            await outcome(served, method, fields, "token:b")
            assert entered == ["b"]


@contextmanager
def _entered() -> Iterator[list[str]]:
    """Yield the namespaces that calls enter while the block lasts."""
    entered: list[str] = []
    enter = Permit.enter_namespace

    def counted(permit: Permit, namespace: str) -> None:
        entered.append(namespace)
        enter(permit, namespace)

    Permit.enter_namespace = counted  # type: ignore[method-assign]
    try:
        yield entered
    finally:
        Permit.enter_namespace = enter  # type: ignore[method-assign]


async def check_each_call_of_a_pipeline_alone() -> None:
    """Check that the calls of a pipeline are denied, and the one that is allowed is not."""
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


async def check_a_changed_policy_counts_at_once() -> None:
    """Check that a changed policy decides the next call of a running pipeline."""
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


async def check_streams() -> None:
    """Check that a stream ends once its caller has no right to it any more, and that others go on."""
    async with trusted(policy(("*", "b", EVERYTHING))) as served:
        streams = {}
        for name in ("token:a", "token:b"):
            stream = served.stub.SaveStream(metadata=(*by(name), ("holdfast-resume", "1")))
            await stream.write(api.SaveStreamRequest(header=header(namespace="b", request_id=name)))
            await stream.initial_metadata()
            streams[name] = stream
        served.policy.value = parse(policy(("token:b", "b", {READ, WRITE})).encode())
        ending, staying = streams.values()
        # The stream has ended before these calls begin, and its end is sent before their answers.
        for _ in range(50):
            assert await outcome(served, "ListWorkflows", {"namespace": "b"}, "token:b") == ""
        assert ending.done(), "the stream goes on"
        assert await ending.code() is grpc.StatusCode.PERMISSION_DENIED
        assert not staying.done(), "the stream of another caller has ended"
        # Writing fails if the stream ends meanwhile; its status says so.
        with suppress(grpc.RpcError, asyncio.InvalidStateError):
            await staying.write(api.SaveStreamRequest(chunk={"data": b"x", "crc32c": crc32c(b"x")}))
            await staying.write(api.SaveStreamRequest(finish={"size_bytes": 1}))
            await staying.done_writing()
        assert await staying.code() is grpc.StatusCode.OK


async def check_groups() -> None:
    """Check that a group gives its rights to each member."""
    async with trusted(policy(("oidc:group:ml", "b", {READ}))) as served:
        assert await outcome(served, "ListWorkflows", {"namespace": "b"}, "oidc:ann,oidc:group:ml") == ""
        assert await outcome(served, "ListWorkflows", {"namespace": "b"}, "oidc:ann") == "PERMISSION_DENIED"


async def check_namespaces_that_resemble(allowed: str, attacked: str) -> None:
    """Check that a right in one namespace is none in another one that looks like it."""
    async with trusted(policy(("token:a", allowed, EVERYTHING))) as served:
        assert await outcome(served, "ListWorkflows", {"namespace": attacked}, "token:a") == "PERMISSION_DENIED"
        assert await outcome(served, "ListWorkflows", {"namespace": allowed}, "token:a") == ""


async def check_principals_that_resemble(principal: str) -> None:
    """Check that a principal that looks like token:b has no rights of it."""
    async with trusted(policy(("token:b", "b", EVERYTHING))) as served:
        assert await outcome(served, "ListWorkflows", {"namespace": "b"}, principal) == "PERMISSION_DENIED"


async def check_page_tokens() -> None:
    """Check that a page token of one namespace is refused in another, in which its caller has rights too."""
    async with trusted(policy(("token:a", "*", EVERYTHING))) as served:
        for namespace in ("a", "b"):
            for number in range(2):
                saved = header(namespace=namespace, workflow_id=f"w{number}", request_id=f"{number}")
                await send(served, "Save", {"header": saved, "parts": PART}, "token:a")
        first = await served.stub.ListWorkflows(
            api.ListWorkflowsRequest(namespace="a", page_size=1), metadata=by("token:a")
        )
        for namespace, expected in (("a", ""), ("b", "INVALID_REQUEST")):
            fields = {"namespace": namespace, "page_token": first.next_page_token}
            assert await outcome(served, "ListWorkflows", fields, "token:a") == expected


async def check_namespaces_listed() -> None:
    """Check that a caller receives the namespaces that it may read, and that the tokens name no others."""
    names = ("a", "a-1", "b", "b-hidden", "c")
    rules = policy(
        ("token:writer", "*", {WRITE}),
        ("token:a", "a-*", {READ}),
        ("token:a", "b", EVERYTHING),
        ("token:a", "c", {WRITE, FENCE, DELETE}),
        ("oidc:group:ml", "c", {READ}),
        ("token:all", "*", {READ}),
    )
    expected = {
        "token:all": set(names),
        "token:a": {"a-1", "b"},
        "token:a,oidc:group:ml": {"a-1", "b", "c"},
        "token:writer": set(),
        "token:unknown": set(),
    }
    async with trusted(rules) as served:
        for name in names:
            await send(served, "Save", {"header": header(namespace=name), "parts": PART}, "token:writer")
        for principal, visible in expected.items():
            found: list[str] = []
            token = None
            while token != "":
                request = api.ListNamespacesRequest(page_size=1, page_token=token or "")
                listed = await served.stub.ListNamespaces(request, metadata=by(principal))
                found += listed.namespaces
                token = listed.next_page_token
                assert "hidden" not in base64.urlsafe_b64decode(token).decode() or "b-hidden" in visible
            assert sorted(found) == sorted(visible), principal


async def check_the_store_is_for_administrators() -> None:
    """Check that the state of the store is shown to administrators, and to nobody else before the store is read."""
    store = Untouched()
    admin = '[[policy]]\nprincipals = ["token:admin"]\nnamespaces = ["*"]\nverbs = ["admin"]\n'
    async with trusted(admin + policy(("token:all", "*", EVERYTHING)), store) as served:
        store.touched.clear()
        for principal in ("token:all", "token:unknown"):
            assert await outcome(served, "GetStoreStatus", {}, principal) == "PERMISSION_DENIED"
        assert not store.touched
        assert await outcome(served, "GetStoreStatus", {}, "token:admin") == ""
        assert store.touched


async def check_uploads() -> None:
    """Check that an open upload is not seen by another principal than the one that began it."""
    async with trusted(policy(("*", "b", EVERYTHING))) as served:
        stream = served.stub.SaveStream(metadata=(*by("token:a"), ("holdfast-resume", "1")))
        await stream.write(api.SaveStreamRequest(header=header(namespace="b")))
        assert dict(await stream.initial_metadata())["holdfast-received"] == "0:0"
        upload = api.GetUploadRequest(**CALL)
        assert not (await served.stub.GetUpload(upload, metadata=by("token:b"))).found
        assert (await served.stub.GetUpload(upload, metadata=by("token:a"))).found
        stream.cancel()


def _field(method: str) -> str:
    return api.PipelineCall.DESCRIPTOR.fields_by_number[FIELDS[method]].name


def _reason_of(answer: api.PipelineAnswer) -> str:
    if answer.WhichOneof("outcome") != "status":
        return ""
    return _reason_in(status_pb2.Status.FromString(answer.status))


async def piped(served, calls, principal: str) -> dict[int, str]:
    """Send calls on a new pipeline. Return the reasons of the answers."""
    stream = served.stub.Pipeline(metadata=by(principal))
    await stream.write(api.PipelineRequest(calls=calls))
    await stream.done_writing()
    return {answer.call_id: _reason_of(answer) async for response in stream for answer in response.answers}
