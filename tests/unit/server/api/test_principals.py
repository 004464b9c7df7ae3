"""What a call's principal does beside its rights: it owns its uploads, and markers keep its name."""

from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.layout.v1.marker_pb2 import MarkerKind
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.trust.principal import ANONYMOUS, EMBEDDED, Principal
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trusted import by, trusted
from tests.unit.server.api.calls import WORKFLOW, chunk, header, reason

POLICY = (
    '[[policy]]\nprincipals = ["token:*", "anonymous"]\nnamespaces = ["n"]\n'
    'verbs = ["read", "write", "fence", "delete"]\n'
)
KEYS = WorkflowKeys("n", "w")
UPLOAD = api.GetUploadRequest(**WORKFLOW, request_id="r")


async def begun(served, principal: str, resume: str = "1"):
    """Return a stream that has sent its header, and the position that the server reported."""
    stream = served.stub.SaveStream(metadata=(*by(principal), ("holdfast-resume", resume)))
    await stream.write(api.SaveStreamRequest(header=header()))
    return stream, dict(await stream.initial_metadata())["holdfast-received"]


async def finished(stream, data: bytes, *, offset: int = 0):
    await stream.write(chunk(data, offset))
    await stream.write(api.SaveStreamRequest(finish={"size_bytes": offset + len(data)}))
    await stream.done_writing()
    return await stream


async def test_an_open_upload_is_neither_seen_nor_ended_by_another_principal():
    async with trusted(POLICY) as served:
        stream, _ = await begun(served, "token:a")
        assert not (await served.stub.GetUpload(UPLOAD, metadata=by("token:b"))).found
        await finished(stream, b"of a")
        loaded = await served.stub.Load(api.LoadRequest(**WORKFLOW), metadata=by("token:a"))
        assert loaded.parts[0].data == b"of a"


async def test_a_parked_upload_is_not_continued_by_another_principal():
    async with trusted(POLICY) as served:
        stream, _ = await begun(served, "token:a")
        await stream.write(chunk(b"of a"))
        while not (found := await served.stub.GetUpload(UPLOAD, metadata=by("token:a"))).size_bytes:
            stream.cancel()
            stream, _ = await begun(served, "token:a")
            await stream.write(chunk(b"of a"))
        assert found.found
        # The wrong principal begins anew, and cannot resume at the position of the other one.
        messages = (api.SaveStreamRequest(header=header()), api.SaveStreamRequest(finish={"size_bytes": 4}))
        resumed = (*by("token:b"), ("holdfast-resume", "0:4"))
        assert await reason(served.stub.SaveStream(iter(messages), metadata=resumed)) == "UPLOAD_LOST"
        _, at = await begun(served, "token:b")
        assert at == "0:0"
        own, at = await begun(served, "token:a", resume="0:4")
        assert at == "0:4"
        await finished(own, b" goes on", offset=4)
        loaded = await served.stub.Load(api.LoadRequest(**WORKFLOW), metadata=by("token:a"))
        assert loaded.parts[0].data == b"of a goes on"


async def test_saves_fences_and_deletions_keep_the_name_of_their_caller():
    store = MemoryStore()
    async with trusted(POLICY, store) as served:
        stub = served.stub
        calls = {
            "token:save": (stub.Save, api.SaveRequest(header=header(checkpoint_id="c"), parts=[{"data": b"x"}])),
            "token:fence": (stub.AcquireWriter, api.AcquireWriterRequest(**WORKFLOW, request_id="2")),
            "token:delete": (stub.Delete, api.DeleteRequest(**WORKFLOW, request_id="3", checkpoint_id="c")),
        }
        for name, (method, request) in calls.items():
            await method(request, metadata=by(f"{name},oidc:group:ml"))
            head = await Log(store).head(KEYS)
            assert head is not None
            assert head.marker.principal == name
        copied = api.CopyWorkflowRequest(**WORKFLOW, request_id="5", target_workflow_id="copy")
        await stub.Save(
            api.SaveRequest(header=header(request_id="4"), parts=[{"data": b"x"}]), metadata=by("token:save")
        )
        await stub.CopyWorkflow(copied, metadata=by("token:copy"))
        loaded = await stub.Load(api.LoadRequest(namespace="n", workflow_id="copy"), metadata=by("token:a"))
        assert loaded.checkpoint.principal == "token:copy"


async def test_the_api_shows_who_saved_a_checkpoint_and_a_purge_forgets_it():
    store = MemoryStore()
    async with trusted(POLICY, store) as served:
        save = api.SaveRequest(header=header(checkpoint_id="c"), parts=[{"data": b"x"}])
        saved = await served.stub.Save(save, metadata=by("token:a"))
        loaded = await served.stub.Load(api.LoadRequest(**WORKFLOW), metadata=by("token:b"))
        listed = await served.stub.List(api.ListRequest(**WORKFLOW), metadata=by("token:b"))
        shown = [saved.checkpoint, loaded.checkpoint, *listed.checkpoints]
        assert [each.principal for each in shown] == ["token:a"] * 3
        purge = api.DeleteRequest(**WORKFLOW, request_id="p", checkpoint_id="c", purge=True)
        await served.stub.Delete(purge, metadata=by("token:b"))
        first = await Log(store).read_unbounded(KEYS, 1)
        assert first is not None
        assert first.marker.kind == MarkerKind.MARKER_KIND_DATA
        assert not first.marker.principal


async def test_a_retry_of_another_principal_gets_the_first_commit_with_its_caller():
    async with trusted(POLICY) as served:
        save = api.SaveRequest(header=header(), parts=[{"data": b"x"}])
        await served.stub.Save(save, metadata=by("token:a"))
        save.header.attempt.number = 2
        again = await served.stub.Save(save, metadata=by("token:b"))
        assert again.replayed
        assert again.checkpoint.principal == "token:a"


async def test_an_unauthenticated_caller_leaves_no_name():
    async with trusted(POLICY) as served:
        saved = await served.stub.Save(api.SaveRequest(header=header(), parts=[{"data": b"x"}]))
        assert saved.checkpoint.principal == ""


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_recorded_names_are_bounded_and_differ_if_the_names_do(one: str, other: str):
    recorded = [Principal.named(f"oidc:{name}").recorded_name for name in (one, other)]
    assert all(len(name.encode()) <= 256 for name in recorded)
    assert (recorded[0] == recorded[1]) == (one == other)
    if len(one.encode()) <= 251:
        assert recorded[0] == f"oidc:{one}"


def test_callers_without_authentication_have_no_recorded_name():
    assert not ANONYMOUS.recorded_name
    assert not EMBEDDED.recorded_name
