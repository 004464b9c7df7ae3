"""The service through the SDK, over a real connection."""

import asyncio
import io

import holdfast
import pytest

from tests.support import folder_objects
from tests.support.damage import damage_newest

FORMAT = holdfast.Format("test", 1)


async def test_what_is_saved_is_loaded(client):
    saved = await client.save("n", "w", {"": b"main", "extra": b"more"}, format=FORMAT, labels={"a": "b"})
    loaded = await client.load("n", "w")
    assert (loaded.data, loaded.parts["extra"]) == (b"main", b"more")
    assert loaded.info == saved
    assert loaded.info.labels == {"a": "b"}


async def test_large_payloads_are_streamed_with_progress(client):
    data = bytes(range(256)) * 20_000
    seen = []
    await client.save(
        "n", "w", io.BytesIO(data), format=FORMAT, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (len(data), len(data))
    assert (await client.load("n", "w")).data == data


async def test_a_small_save_costs_one_store_request_once_the_head_is_known(client, served):
    await client.save("n", "w", b"first", format=FORMAT)
    served.store.requests.clear()
    await client.save("n", "w", b"second", format=FORMAT)
    assert served.store.requests == {"put_if_absent": 1}


async def test_a_save_with_a_chosen_id_costs_two(client, served):
    await client.save("n", "w", b"first", format=FORMAT)
    served.store.requests.clear()
    await client.save("n", "w", b"second", format=FORMAT, checkpoint_id="mine")
    assert served.store.requests == {"put_if_absent": 2}


async def test_a_warm_load_of_the_newest_costs_one(client, served):
    await client.save("n", "w", b"first", format=FORMAT)
    served.store.requests.clear()
    await client.load("n", "w")
    assert served.store.requests == {"get": 1}


async def test_the_same_request_commits_once(client):
    first = await client.save("n", "w", b"x", format=FORMAT, request_id="r")
    second = await client.save("n", "w", b"x", format=FORMAT, request_id="r")
    assert (first.revision, second.revision, second.replayed) == (1, 1, True)


async def test_a_lost_answer_after_the_commit_does_not_cause_a_second_commit(client, served):
    lost = iter([True])
    served.store.lose_answer = lambda operation, key: operation == "put_if_absent" and next(lost, False)
    assert (await client.save("n", "w", b"x", format=FORMAT)).revision == 1
    assert [each.revision async for each in client.list("n", "w")] == [1]


async def test_a_store_that_stays_down_leaves_the_commit_unknown(client, served):
    await client.save("n", "w", b"x", format=FORMAT)
    served.store.lose_request = lambda operation, key: True
    with pytest.raises((holdfast.CommitUnknownError, holdfast.DeadlineExceededError)) as caught:
        await client.save("n", "w", b"y", format=FORMAT, timeout=1)
    assert caught.value.trace_id
    served.store.lose_request = lambda operation, key: False
    assert (await client.load("n", "w")).data == b"x"


async def test_an_unreachable_store_is_retried_until_it_is_back(client, served):
    await client.save("n", "w", b"x", format=FORMAT)
    lost = iter([True, True])
    served.store.lose_request = lambda operation, key: next(lost, False)
    assert (await client.load("n", "w")).data == b"x"


async def test_a_fenced_writer_is_refused(client):
    old, new = client.workflow("n", "w"), client.workflow("n", "w")
    await old.acquire_writer()
    await old.save(b"x", format=FORMAT)
    await new.acquire_writer()
    with pytest.raises(holdfast.WriterFencedError) as caught:
        await old.save(b"y", format=FORMAT)
    assert caught.value.metadata["head_epoch"] == "2"
    await new.save(b"z", format=FORMAT)


async def test_of_racing_saves_with_one_expected_revision_one_wins(client):
    saves = [client.save("n", "w", str(i).encode(), format=FORMAT, expected_revision=0) for i in range(8)]
    results = await asyncio.gather(*saves, return_exceptions=True)
    assert sum(isinstance(each, holdfast.Checkpoint) for each in results) == 1
    assert sum(isinstance(each, holdfast.RevisionConflictError) for each in results) == 7


async def test_racing_saves_without_conditions_all_commit_at_dense_revisions(client):
    saved = await asyncio.gather(*(client.save("n", "w", str(i).encode(), format=FORMAT) for i in range(40)))
    assert sorted(each.revision for each in saved) == list(range(1, 41))


async def test_a_chosen_id_belongs_to_one_checkpoint(client):
    await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="mine")
    for _ in range(20):
        await client.save("n", "w", b"between", format=FORMAT)
    again = await client.save("n", "w", b"x", format=FORMAT, checkpoint_id="mine")
    assert (again.revision, again.replayed) == (1, True)
    with pytest.raises(holdfast.CheckpointIdReusedError):
        await client.save("n", "w", b"other", format=FORMAT, checkpoint_id="mine")
    assert (await client.load("n", "w", "mine")).data == b"x"


async def test_a_reused_request_id_is_refused(client):
    await client.save("n", "w", b"x", format=FORMAT, request_id="r")
    with pytest.raises(holdfast.RequestIdReusedError):
        await client.save("n", "w", b"other", format=FORMAT, request_id="r")


async def test_deleted_checkpoints_are_distinguished_from_missing_ones(client):
    with pytest.raises(holdfast.WorkflowNotFoundError):
        await client.load("n", "w")
    first = await client.save("n", "w", b"x", format=FORMAT)
    second = await client.save("n", "w", b"y", format=FORMAT)
    await client.delete("n", "w", second.checkpoint_id)
    assert (await client.load("n", "w")).checkpoint_id == first.checkpoint_id
    with pytest.raises(holdfast.CheckpointDeletedError):
        await client.load("n", "w", second.checkpoint_id)
    with pytest.raises(holdfast.CheckpointNotFoundError):
        await client.load("n", "w", "never-was")
    await client.delete_workflow("n", "w")
    with pytest.raises(holdfast.CheckpointNotFoundError):
        await client.load("n", "w")


@pytest.mark.without_deltas
async def test_a_damaged_blob_is_found_and_fallback_says_so(client, served):
    good = await client.save("n", "w", b"g" * 200_000, format=FORMAT)
    await client.save("n", "w", b"b" * 200_000, format=FORMAT)
    damage_newest(served.folder)
    with pytest.raises(holdfast.CheckpointCorruptedError) as caught:
        await client.resume("n", "w", format=FORMAT)
    assert caught.value.last_good.checkpoint_id == good.checkpoint_id
    assert caught.value.metadata["revision"] == "2"
    loaded = await client.resume("n", "w", format=FORMAT, fallback=True)
    assert (loaded.fell_back, loaded.checkpoint_id, len(loaded.skipped)) == (True, good.checkpoint_id, 1)
    verdict = await client.validate("n", "w")
    assert not verdict.resumable
    assert verdict.findings[0].reason == "CHECKPOINT_CORRUPTED"
    assert verdict.last_good.checkpoint_id == good.checkpoint_id
    assert (await client.validate("n", "w", depth="presence")).resumable
    folder_objects.remove(served.folder, folder_objects.by_age(served.folder, "ns/*/blob/*")[-1])
    assert not (await client.validate("n", "w", depth="presence")).resumable


async def test_another_format_is_refused_and_never_fallen_back_from(client):
    await client.save("n", "w", b"old", format=FORMAT)
    await client.save("n", "w", b"new", format=holdfast.Format("test", 2))
    with pytest.raises(holdfast.FormatIncompatibleError):
        await client.resume("n", "w", format=FORMAT, fallback=True)


async def test_migrations_bring_old_formats_up(client):
    migrations = holdfast.Migrations()
    migrations.register("test", from_version=1)(lambda parts: {"": parts[""] + b"+2"})
    migrations.register("test", from_version=2)(lambda parts: {"": parts[""] + b"+3"})
    await client.save("n", "w", b"1", format=FORMAT)
    loaded = await client.resume("n", "w", format=holdfast.Format("test", 3), migrations=migrations)
    assert (loaded.data, loaded.migrated_from) == (b"1+2+3", FORMAT)


async def test_workflows_are_listed_over_all_pages(client):
    names = {f"w-{i}" for i in range(7)} | {"w", "w.x", "ü" * 200}
    for name in names:
        await client.save("n", name, b"x", format=FORMAT)
    assert {each.workflow_id async for each in client.list_workflows("n", page_size=2)} == names


async def test_workflows_are_listed_by_the_prefix_of_their_ids(client):
    for name in ("run:1", "run:2", "run", "runs", "run:" + "ü" * 200):
        await client.save("n", name, b"x", format=FORMAT)
    found = {each.workflow_id async for each in client.list_workflows("n", prefix="run:", page_size=1)}
    assert found == {"run:1", "run:2", "run:" + "ü" * 200}


async def test_a_page_of_workflows_names_the_next_one(client):
    names = {f"run-{number}" for number in range(5)}
    for name in [*names, "other"]:
        await client.save("n", name, b"x", format=FORMAT)

    found, token, pages = set(), "", 0
    while token or not pages:
        page = await client.workflows_page("n", prefix="run-", page_size=2, page_token=token)
        assert len(page.items) <= 2
        found |= {each.workflow_id for each in page.items}
        token, pages = page.next_page_token, pages + 1
    assert found == names


async def test_a_page_token_of_another_namespace_is_refused(client):
    for number in range(2):
        await client.save("n", f"run-{number}", b"x", format=FORMAT)
    page = await client.workflows_page("n", page_size=1)

    with pytest.raises(holdfast.InvalidRequestError, match="page_token"):
        await client.workflows_page("m", page_token=page.next_page_token)


async def test_namespaces_are_listed_over_all_pages_and_by_prefix(client):
    names = {f"team-{number}" for number in range(5)} | {"other", "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 60}
    for name in names:
        await client.save(name, "w", b"x", format=FORMAT)
    assert {each async for each in client.namespaces(page_size=2)} == names
    assert [each async for each in client.namespaces("team-", page_size=2)] == [f"team-{n}" for n in range(5)]
    first = await client.namespaces_page("team-", page_size=3)
    assert first.items == ("team-0", "team-1", "team-2")
    second = await client.namespaces_page("team-", page_size=3, page_token=first.next_page_token)
    assert second.items == ("team-3", "team-4")


async def test_a_save_of_a_resumed_handle_is_refused_after_a_save_by_another_writer(client):
    first, second = client.workflow("n", "w"), client.workflow("n", "w")
    await first.acquire_writer()
    saved = await first.save(b"1", format=FORMAT)
    assert (await second.resume(format=FORMAT)).data == b"1"
    assert second.revision == saved.revision
    await first.save(b"2", format=FORMAT)
    with pytest.raises(holdfast.RevisionConflictError):
        await second.save(b"other", format=FORMAT)


async def test_a_handle_resumes_after_a_fence_and_can_save(client):
    handle = client.workflow("n", "w")
    saved = await handle.save(b"1", format=FORMAT)
    await client.acquire_writer("n", "w")
    fresh = client.workflow("n", "w")
    assert (await fresh.resume(format=FORMAT)).revision == saved.revision
    assert fresh.revision == 2
    assert (await fresh.save(b"2", format=FORMAT, labels={"a": "b"})).parent_id == saved.checkpoint_id


async def test_parts_are_saved_from_files_and_buffers_together(client, tmp_path):
    data = bytes(range(250)) * 10_000
    (tmp_path / "f").write_bytes(data)
    with (tmp_path / "f").open("rb") as file:
        file.seek(5)
        parts = {"file": file, "buffer": bytearray(data), "view": memoryview(data)[1:], "empty": b"", "small": b"s"}
        saved = await client.save("n", "parts", parts, format=FORMAT)
    assert saved.size_bytes == 3 * len(data) - 6 + 1
    loaded = await client.load("n", "parts")
    assert loaded.parts == {"file": data[5:], "buffer": data, "view": data[1:], "empty": b"", "small": b"s"}
