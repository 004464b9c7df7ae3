"""A client notices a log that somebody has rolled back in the store."""

import asyncio

import holdfast
import pytest
from holdfast import Head, RolledBackError
from holdfast._core.errors import of_reason
from holdfast._core.seen_heads import SeenHeads
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

FORMAT = holdfast.Format("test", 1)
A, B = bytes(32), bytes([1]) * 32


def loading(seen, namespace="n", workflow_id="w"):
    return seen.watch(api.LoadRequest(namespace=namespace, workflow_id=workflow_id))


def naming(revision, digest=A, kind=api.LoadResponse, **fields):
    return kind(head=checkpoint_pb2.Head(revision=revision, digest=digest), **fields)


@pytest.fixture
def seen():
    """Revision 5 with digest A was seen."""
    seen = SeenHeads()
    seen.keep("n", "w", Head(5, A))
    return seen


@pytest.mark.parametrize("answer", [naming(4), naming(5, B), naming(0, b""), naming(4, b"")])
def test_an_older_head_or_another_one_or_none_is_a_rollback(seen, answer):
    with pytest.raises(RolledBackError) as caught:
        loading(seen).require(answer)
    error = caught.value
    assert (error.reason, error.retryable) == ("ROLLED_BACK", False)
    assert isinstance(error, holdfast.WorkflowCheckpointResumeError)
    assert error.metadata == {
        "namespace": "n",
        "workflow_id": "w",
        "seen_revision": "5",
        "seen_digest": A.hex(),
        "head_revision": str(answer.head.revision),
        "head_digest": answer.head.digest.hex(),
    }
    assert seen.get("n", "w") == Head(5, A)


@pytest.mark.parametrize("answer", [naming(5), naming(6, B), naming(5, b""), naming(9, b""), api.LoadResponse()])
def test_the_same_head_or_a_newer_one_or_an_answer_of_an_older_server_is_none(seen, answer):
    loading(seen).require(answer)


@pytest.mark.parametrize(("revision", "digest"), [("4", A.hex()), ("5", B.hex()), ("0", "")])
def test_an_error_that_names_an_older_head_becomes_one(seen, revision, digest):
    error = of_reason("CHECKPOINT_NOT_FOUND", "", metadata={"head_revision": revision, "head_digest": digest})
    with pytest.raises(RolledBackError) as caught:
        loading(seen).require_of(error)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"head_revision": "4"},
        {"head_revision": "5", "head_digest": A.hex()},
        {"head_revision": "-1", "head_digest": ""},
        {"head_revision": "4", "head_digest": "x"},
        {"head_revision": "9" * 5000, "head_digest": A.hex()},
    ],
)
def test_other_errors_stay_as_they_are(seen, metadata):
    loading(seen).require_of(of_reason("CHECKPOINT_NOT_FOUND", "", metadata=metadata))


def test_an_answer_is_compared_with_what_was_seen_when_its_call_began(seen):
    early = loading(seen)
    loading(seen).require(naming(7, B))
    early.require(naming(6))
    assert seen.get("n", "w") == Head(7, B)
    with pytest.raises(RolledBackError):
        loading(seen).require(naming(6))


def test_a_replayed_answer_names_an_entry_that_may_be_older(seen):
    loading(seen).require(naming(4, kind=api.SaveResponse, replayed=True))
    assert seen.get("n", "w") == Head(5, A)
    loading(seen).require(naming(6, kind=api.SaveResponse, replayed=True))
    assert seen.get("n", "w") == Head(6, A)
    with pytest.raises(RolledBackError):
        loading(seen).require(naming(6, B, kind=api.SaveResponse, replayed=True))


def test_other_workflows_and_namespaces_are_not_compared(seen):
    loading(seen, workflow_id="other").require(naming(1))
    loading(seen, namespace="other").require(naming(1))
    seen.watch(api.ListRequest(namespace="n")).require(api.ListResponse())


def test_both_workflows_of_a_copy_are_compared(seen):
    request = api.CopyWorkflowRequest(namespace="n", workflow_id="w", target_workflow_id="v")
    copied = api.CopyWorkflowResponse(head=naming(5).head, target_head=naming(3).head)
    seen.watch(request).require(copied)
    assert seen.get("n", "v") == Head(3, A)
    copied.target_head.revision = 2
    with pytest.raises(RolledBackError, match="workflow 'v'"):
        seen.watch(request).require(copied)
    error = of_reason("REVISION_CONFLICT", "", metadata={"head_revision": "2", "head_digest": A.hex()})
    seen.watch(request).require_of(error)


@pytest.mark.parametrize("head", [naming(-1), naming(6, b"short")])
def test_an_impossible_head_is_an_error_of_the_server(seen, head):
    with pytest.raises(holdfast.InternalError):
        loading(seen).require(head)


def test_the_workflows_that_were_used_last_are_remembered():
    seen = SeenHeads(limit=3)
    for name in "abcadefa":
        loading(seen, workflow_id=name).require(naming(1))
    assert len(seen) == 3
    assert [name for name in "abcdef" if seen.get("n", name)] == ["a", "e", "f"]


def test_a_head_is_its_text():
    head = Head(17, B)
    assert Head.parse(str(head)) == head
    for text in ("", "17", f"0:{A.hex()}", f"-1:{A.hex()}", "1:ab", f"1:{A.hex()} ", f"{'9' * 20}:{A.hex()}"):
        with pytest.raises(ValueError, match="invalid head"):
            Head.parse(text)


# With both clients, on a server and embedded.


async def save(client, checkpoint_id, workflow_id="w", data=b"x", **options):
    return await client.save("n", workflow_id, data, format=FORMAT, checkpoint_id=checkpoint_id, **options)


async def test_every_value_about_a_workflow_has_its_head(client):
    saved = await save(client, "a")
    assert saved.head == client.head("n", "w") != None  # noqa: E711 - compared with both
    loaded = await client.load("n", "w")
    assert loaded.head == saved.head
    assert (await client.resume("n", "w", format=FORMAT)).head == saved.head
    assert (await client.validate("n", "w")).head == saved.head
    assert [each.head async for each in client.list_workflows("n")] == [saved.head]
    writer = await client.acquire_writer("n", "w")
    assert writer.head == client.head("n", "w") != saved.head
    assert client.workflow("n", "w").head == writer.head


async def test_every_call_remembers_the_head(client):
    async def newer(call):
        before = client.head("n", "w")
        await call
        after = client.head("n", "w")
        assert before is None or before.revision < after.revision, after
        return after

    await newer(save(client, "a"))
    await newer(save(client, "b", data=bytes(3 << 20)))
    writer = await client.acquire_writer("n", "w")
    await newer(client.acquire_writer("n", "w"))
    await newer(save(client, "c"))
    await newer(client.delete("n", "w", "a"))
    await newer(client.prune("n", "w", keep_last=1))
    await newer(client.delete_checkpoints("n", "w", all=True))
    await newer(client.delete_workflow("n", "w"))
    assert writer.head.revision == 3


async def test_a_workflow_that_is_deleted_and_begun_again_was_not_rolled_back(client):
    for turn in range(3):
        await save(client, "a")
        await client.delete_workflow("n", "w", purge=turn == 1)
        with pytest.raises(holdfast.CheckpointNotFoundError):
            await client.load("n", "w")
    await save(client, "a")
    assert (await client.load("n", "w")).revision == 7


async def test_concurrent_calls_raise_no_false_alarm(client):
    async def work(number):
        for turn in range(5):
            await save(client, f"{number}-{turn}", data=b"x" * (2_000_000 if turn == 3 else 1))
            await client.load("n", "w")
            await client.validate("n", "w", depth="marker")
            [each async for each in client.list("n", "w")]
            with pytest.raises(holdfast.CheckpointNotFoundError):
                await client.load("n", "w", "never")
            await client.prune("n", "w", keep_last=3)

    await asyncio.gather(*(work(number) for number in range(6)))


async def test_a_head_may_be_kept_by_the_caller(connect, served, client):
    saved = await save(client, "a")
    newer = (await save(client, "b")).head
    kept = Head.parse(str(newer))
    async with connect(served.target, timeout=20) as later:
        assert (await later.load("n", "w", not_before=kept)).head == newer
        assert (await later.resume("n", "w", format=FORMAT, not_before=saved.head)).head == newer
        assert (await later.workflow("n", "w").resume(format=FORMAT, not_before=kept)).revision == 2
        assert (await later.validate("n", "w", not_before=kept)).resumable
    for wrong in (Head(3, A), Head(2, A)):
        async with connect(served.target, timeout=20) as later:
            with pytest.raises(RolledBackError):
                await later.load("n", "w", not_before=wrong)
            # The client goes on to refuse the log.
            with pytest.raises(RolledBackError):
                await later.resume("n", "w", format=FORMAT)
            later.forget_head("n", "w")
            assert (await later.load("n", "w", not_before=saved.head)).revision == 2


async def test_a_head_of_another_type_is_refused(client):
    with pytest.raises(TypeError, match="not_before"):
        await client.load("n", "w", not_before="1:ab")


async def test_a_resume_from_a_log_that_was_rolled_back_names_no_last_good_checkpoint(client):
    await save(client, "a")
    with pytest.raises(RolledBackError) as caught:
        await client.resume("n", "w", format=FORMAT, not_before=Head(9, A))
    assert caught.value.last_good is None
