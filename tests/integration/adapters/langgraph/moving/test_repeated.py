"""Imports that are repeated, after the source has grown or the target has changed."""

import pytest
from holdfast.adapters.langgraph import HoldfastSaver, export_threads, import_threads
from langgraph.checkpoint.memory import InMemorySaver

from tests.integration.adapters.langgraph.moving.graphs import Threads, at
from tests.integration.adapters.langgraph.savers import checkpoint, config


@pytest.fixture
def source():
    return Threads(InMemorySaver(), is_asynchronous=False)


async def test_what_a_source_has_got_since_comes_with_the_next_import(source, threads, saver):
    await source.invoke("t", {"log": ["begin"]})
    first = await import_threads(source.saver, saver)
    # Writes to a checkpoint that is there already, and then new checkpoints.
    await source.resume("t", "a")
    second = await import_threads(source.saver, saver)
    assert await threads.described("t") == await source.described("t")
    await source.resume("t", "b")
    await source.fork("t", 1)
    third = await import_threads(source.saver, saver)
    assert (first.failed, second.failed, third.failed) == (0, 0, 0), (second.problems, third.problems)
    assert third.written == third.verified - third.present > 0
    assert await threads.described("t") == await source.described("t")


async def test_a_repeated_import_writes_nothing(source, saver, namespace, target):
    await source.play("t")
    first = await import_threads(source.saver, saver)
    async with HoldfastSaver.from_target(target, namespace=namespace) as again:
        heads = await _heads(saver, namespace)
        second = await import_threads(source.saver, again)
        assert await _heads(saver, namespace) == heads
    assert (second.failed, second.written) == (0, 0)
    assert second.present == second.verified == first.written


async def test_a_thread_that_has_gone_on_in_the_target_is_refused_by_name(source, threads, saver):
    await source.invoke("t", {"log": ["begin"]})
    await source.invoke("u", {"log": ["begin"]})
    await import_threads(source.saver, saver)
    await threads.resume("t", "a")
    before = await threads.described("t")
    report = await import_threads(source.saver, saver)
    [refused] = report.problems
    assert (refused.name, refused.problem.reason) == ("t", "OTHER_CONTENT")
    assert "nothing was overwritten" in refused.problem.message
    # The other thread is not affected.
    assert (report.items, report.failed, report.written) == (2, 1, 0)
    assert await threads.described("t") == before


@pytest.mark.parametrize("changed", ["other values", "other metadata", "another parent"])
async def test_a_thread_with_other_content_is_refused_and_stays_as_it_is(saver, changed):
    source, made = InMemorySaver(), checkpoint("2", x="value")
    metadata = {"source": "loop", "step": 1, "parents": {}}
    source.put(config("t", "", "1"), made, metadata, made["channel_versions"])
    theirs = {**made, "channel_values": {"x": "other"}} if changed == "other values" else made
    parent = "0" if changed == "another parent" else "1"
    with_step = metadata | ({"step": 2} if changed == "other metadata" else {})
    await saver.aput(config("t", "", parent), theirs, with_step, {})
    before = await saver.aget_tuple(at("t"))
    report = await import_threads(source, saver)
    [refused] = report.problems
    assert refused.problem.reason == "OTHER_CONTENT"
    assert f"with {changed}" in refused.problem.message
    assert await saver.aget_tuple(at("t")) == before


async def test_a_write_that_the_target_has_otherwise_is_not_overwritten(saver):
    source, made = InMemorySaver(), checkpoint("2", x="value")
    for each in (source, saver):
        await each.aput(config("t"), made, {}, made["channel_versions"])
        await each.aput_writes(config("t", "", "2"), [("__resume__", "yes" if each is source else "no")], "task")
    [refused] = (await import_threads(source, saver)).problems
    assert refused.problem.reason == "OTHER_CONTENT"
    assert "another write of task task to channel '__resume__'" in refused.problem.message
    assert (await saver.aget_tuple(at("t"))).pending_writes == [("task", "__resume__", "no")]


async def test_a_run_that_saves_during_the_import_is_not_overwritten(source, saver, monkeypatch):
    await source.play("t")
    saved = _put_before_the_third(saver, monkeypatch)
    report = await import_threads(source.saver, saver)
    [refused] = report.problems
    assert "other" in saved
    assert refused.problem.reason == "OTHER_CONTENT"
    assert "another writer has saved" in refused.problem.message


async def test_a_dry_run_counts_and_writes_nothing(source, saver, namespace):
    await source.play("t")
    report = await import_threads(source.saver, saver, dry_run=True)
    assert report.read == report.written > 10
    assert report.verified == report.failed == 0
    assert await _heads(saver, namespace) == {}
    await import_threads(source.saver, saver)
    copy = InMemorySaver()
    report = await export_threads(saver, copy, dry_run=True)
    assert report.written > 10
    assert list(copy.list(None)) == []


async def test_threads_are_selected_by_id_and_by_prefix(source, saver):
    for thread_id in ("a-1", "a-2", "b-1"):
        await source.invoke(thread_id, {"log": []})
    seen = []
    report = await import_threads(source.saver, saver, threads=["b-1", "none", "b-1"], progress=seen.append)
    assert [each.name for each in seen if each.is_done] == ["b-1", "none"]
    assert [(each.name, each.problem.reason) for each in report.problems] == [("none", "NOT_FOUND")]
    report = await import_threads(source.saver, saver, prefix="a-", progress=seen.append)
    assert (report.items, report.failed) == (2, 0)
    assert [each.name for each in seen if each.is_done][2:] == ["a-1", "a-2"]
    # The counts of an item only grow.
    counts = [each.read for each in seen if each.name == "a-1"]
    assert counts == sorted(counts)


async def test_a_deleted_thread_can_be_imported_again(source, threads, saver):
    await source.play("t")
    await import_threads(source.saver, saver)
    await saver.adelete_thread("t")
    report = await import_threads(source.saver, saver)
    assert (report.failed, report.written) == (0, report.verified), report.problems
    assert await threads.described("t") == await source.described("t")


async def _heads(saver, namespace):
    client = saver._clients.asynchronous
    return {each.workflow_id: each.head_revision async for each in client.list_workflows(namespace)}


def _put_before_the_third(saver, monkeypatch):
    """Let somebody else save to the thread after the import has saved two checkpoints of it."""
    client = saver._clients.asynchronous
    save, saved = client.save, []

    async def saving(namespace, workflow_id, *arguments, **options):
        if len(saved) == 2:
            saved.append("other")
            await save(namespace, workflow_id, *arguments, **{**options, "checkpoint_id": "other"})
        saved.append(options["checkpoint_id"])
        return await save(namespace, workflow_id, *arguments, **options)

    monkeypatch.setattr(client, "save", saving)
    return saved
