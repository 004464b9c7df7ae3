"""Replacements, deletions of many checkpoints, prunes and copies."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta, timezone

import holdfast
import pytest
from holdfast import InvalidRequestError, Record

from tests.support.damage import damage_newest

FORMAT = holdfast.Format("test", 1)


async def save(client, data=b"x", workflow_id="w", **more):
    return await client.save("n", workflow_id, data, format=FORMAT, **more)


async def revisions(client, workflow_id="w"):
    return [each.revision async for each in client.list("n", workflow_id)]


async def reason(call):
    with pytest.raises(holdfast.HoldfastError) as caught:
        await call
    return caught.value.reason


# Replacing


async def test_the_same_id_with_other_bytes_is_a_conflict_unless_it_replaces(client):
    await save(client, b"1", checkpoint_id="c")
    assert await reason(save(client, b"2", checkpoint_id="c")) == "CHECKPOINT_ID_REUSED"
    replaced = await save(client, b"2", checkpoint_id="c", replace=True)
    assert (await client.load("n", "w", "c")).data == b"2"
    assert await revisions(client) == [replaced.revision]


async def test_a_checkpoint_with_a_new_id_is_found_replaced_and_deleted_like_any_other(client):
    for number in range(20):
        await save(client, b"%d" % number, checkpoint_id=f"new {number}", fresh_id=True)
    assert (await client.load("n", "w", "new 0")).data == b"0"
    assert await reason(save(client, b"other", checkpoint_id="new 19", fresh_id=True)) == "CHECKPOINT_ID_REUSED"
    assert await reason(save(client, b"other", checkpoint_id="new 0")) == "CHECKPOINT_ID_REUSED"
    await save(client, b"other", checkpoint_id="new 0", replace=True)
    assert (await client.load("n", "w", "new 0")).data == b"other"
    await client.delete("n", "w", "new 1")
    assert await reason(client.load("n", "w", "new 1")) == "CHECKPOINT_DELETED"
    assert await reason(client.load("n", "w", "new 20")) == "CHECKPOINT_NOT_FOUND"
    assert await reason(save(client, b"no id", fresh_id=True)) == "INVALID_REQUEST"


async def test_a_replacement_is_found_however_many_checkpoints_precede_or_follow_it(client):
    await save(client, b"1", checkpoint_id="c")
    for number in range(20):
        await save(client, b"%d" % number)
    await save(client, b"2", checkpoint_id="c", replace=True)
    for number in range(20):
        await save(client, b"%d" % number)
    assert (await client.load("n", "w", "c")).data == b"2"
    await save(client, b"3", checkpoint_id="c", replace=True)
    assert (await client.load("n", "w", "c")).data == b"3"
    assert len(await revisions(client)) == 41


async def test_an_id_that_a_server_chose_can_be_replaced(client):
    saved = await save(client, b"1")
    for _ in range(20):
        await save(client)
    assert await reason(save(client, b"2", checkpoint_id=saved.checkpoint_id)) == "CHECKPOINT_ID_REUSED"
    await save(client, b"2", checkpoint_id=saved.checkpoint_id, replace=True)
    assert (await client.load("n", "w", saved.checkpoint_id)).data == b"2"
    await client.delete("n", "w", saved.checkpoint_id)
    assert await reason(client.load("n", "w", saved.checkpoint_id)) == "CHECKPOINT_DELETED"


@pytest.mark.without_deltas
async def test_a_damaged_checkpoint_can_be_replaced_by_the_same_content_and_a_deleted_one_by_any(served, client):
    data = bytes(100_000)
    await save(client, data, checkpoint_id="c")
    damage_newest(served.folder)
    assert await reason(client.load("n", "w", "c")) == "CHECKPOINT_CORRUPTED"
    await save(client, data, checkpoint_id="c", replace=True)
    assert (await client.load("n", "w", "c")).data == data
    await client.delete("n", "w", "c")
    await save(client, b"new", checkpoint_id="c", replace=True)
    assert (await client.load("n", "w", "c")).data == b"new"


async def test_of_many_replacements_at_once_one_stays(client):
    await save(client, b"0", checkpoint_id="c")
    await asyncio.gather(*(save(client, b"%d" % number, checkpoint_id="c", replace=True) for number in range(1, 9)))
    (left,) = [each async for each in client.history("n", "w")]
    assert left.data == (await client.load("n", "w", "c")).data
    assert left.revision == 9


async def test_a_replacement_that_is_retried_happens_once(client):
    await save(client, b"1", checkpoint_id="c")
    first = await save(client, b"2", checkpoint_id="c", replace=True, request_id="r")
    await save(client, b"3", checkpoint_id="c", replace=True)
    again = await save(client, b"2", checkpoint_id="c", replace=True, request_id="r")
    assert (again.revision, again.replayed) == (first.revision, True)
    assert (await client.load("n", "w", "c")).data == b"3"


# Deleting many


async def test_all_matches_of_a_filter_are_deleted_by_one_commit(client):
    for number in range(30):
        await save(client, labels={"run": str(number % 3)})
    assert await client.delete_checkpoints("n", "w", labels={"run": "1"}) == 10
    assert await client.delete_checkpoints("n", "w", labels={"run": "1"}) == 0
    assert await revisions(client) == [number + 1 for number in reversed(range(30)) if number % 3 != 1]
    assert (await save(client)).revision == 32


async def test_a_filter_deletes_in_every_workflow_of_a_namespace(client):
    for workflow in ("a", "b", "c"):
        for run in ("1", "2"):
            await save(client, workflow_id=workflow, labels={"run": run})
    assert await client.delete_checkpoints("n", labels={"run": "2"}) == 3
    assert {(each.workflow_id, each.labels["run"]) async for each in client.list("n")} == {
        (workflow, "1") for workflow in ("a", "b", "c")
    }


async def test_a_deletion_without_a_filter_is_refused(client):
    with pytest.raises(holdfast.HoldfastError) as caught:
        await client.delete_checkpoints("n", "w")
    assert caught.value.field_violations[0][0] == "filter"


ANY_FORMAT = [holdfast.AcceptedFormat("test", 1, 9)]


@pytest.mark.parametrize("workflow_id", ["w", ""])
@pytest.mark.parametrize("given", [{}, {"labels": {}}, {"formats": ANY_FORMAT}, {"labels": {}, "formats": ANY_FORMAT}])
async def test_a_filter_of_formats_alone_is_refused_like_an_empty_one(client, workflow_id, given):
    await save(client)
    with pytest.raises(holdfast.InvalidRequestError, match="labels or a time") as caught:
        await client.delete_checkpoints("n", workflow_id, **given)
    assert caught.value.field_violations[0][0] == "filter"
    assert await revisions(client) == [1]


async def test_everything_is_deleted_if_all_is_set(client):
    await client.save("n", "w", b"x", format=holdfast.Format("another", 1))
    for workflow_id in ("w", "w", "v"):
        await save(client, workflow_id=workflow_id)
    assert await client.delete_checkpoints("n", formats=ANY_FORMAT, all=True) == 3
    assert await revisions(client) == [1]
    assert await client.delete_checkpoints("n", "w", all=True) == 1


@pytest.mark.parametrize("given", [{"labels": {"run": "1"}}, {"created_before": datetime.now(UTC)}])
async def test_all_together_with_a_condition_is_refused(client, given):
    await save(client, labels={"run": "1"})
    with pytest.raises(holdfast.InvalidRequestError) as caught:
        await client.delete_checkpoints("n", "w", all=True, **given)
    assert caught.value.field_violations[0][0] == "all"
    assert await revisions(client) == [1]


@pytest.mark.asynchronous_only("conditions are checked by code that both clients share")
@pytest.mark.parametrize(
    "given",
    [
        {"workflow_id": None},
        {"workflow_id": b"w"},
        {"labels": None},
        {"labels": {"run": None}},
        {"labels": {"run": 1}},
        {"labels": {"run": b"1"}},
        {"labels": {"run": float("nan")}},
        {"labels": {"run": uuid.UUID(int=1)}},
        {"labels": {None: "1"}},
        {"labels": ""},
        {"labels": 0},
        {"labels": [("run", "1")]},
        {"created_after": None},
        {"created_after": 0},
        {"created_before": "2000-01-01"},
        {"created_before": None, "labels": {"run": "1"}},
        {"formats": None},
    ],
    ids=repr,
)
async def test_a_condition_of_a_wrong_type_is_an_error_and_is_never_ignored(client, given):
    await save(client, labels={"run": "1"})
    usual = {"workflow_id": "w", "created_before": datetime.max.replace(tzinfo=UTC)}
    with pytest.raises(TypeError, match=next(iter(given))):
        await client.delete_checkpoints("n", **{**usual, **given})
    assert await revisions(client) == [1]


@pytest.mark.asynchronous_only("conditions are checked by code that both clients share")
@pytest.mark.parametrize(
    "given",
    [
        datetime(2020, 1, 1),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
        datetime.min.replace(tzinfo=timezone.max),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["created_after", "created_before"])
async def test_a_time_without_a_zone_or_out_of_range_is_refused_and_deletes_nothing(client, name, given):
    await save(client)
    with pytest.raises(InvalidRequestError, match=name) as refused:
        await client.delete_checkpoints("n", **{name: given})
    assert [field for field, _ in refused.value.field_violations] == [name]
    with pytest.raises(InvalidRequestError, match=name):
        [each async for each in client.list("n", **{name: given})]
    assert await revisions(client) == [1]


async def test_after_a_deletion_the_newest_remaining_checkpoint_is_loaded(client):
    for run in ("1", "2", "3", "3"):
        await save(client, run.encode(), labels={"run": run})
    await client.delete_checkpoints("n", "w", labels={"run": "3"})
    assert (await client.load("n", "w")).data == b"2"
    await client.delete_checkpoints("n", "w", formats=ANY_FORMAT, all=True)
    assert await reason(client.load("n", "w")) == "CHECKPOINT_NOT_FOUND"


# Pruning


async def test_a_prune_keeps_the_newest_ones(client):
    for _ in range(10):
        await save(client)
    assert await client.prune("n", "w", keep_last=3) == 7
    assert await client.prune("n", "w", keep_last=3) == 0
    assert await revisions(client) == [10, 9, 8]


async def test_a_prune_never_cuts_a_chain_that_a_kept_one_needs(client):
    await save(client, checkpoint_id="a")
    await save(client, checkpoint_id="full", parent_id="a")
    await save(client, checkpoint_id="delta 1", parent_id="full", needs_parent=True)
    await save(client, checkpoint_id="aside", parent_id="full")
    await save(client, checkpoint_id="delta 2", parent_id="delta 1", needs_parent=True)
    assert await client.prune("n", "w") == 2
    assert [each.checkpoint_id async for each in client.list("n", "w")] == ["delta 2", "delta 1", "full"]


async def test_a_needed_parent_that_was_replaced_stays_as_well(client):
    await save(client, checkpoint_id="full")
    await save(client, checkpoint_id="delta", parent_id="full", needs_parent=True)
    for number in range(2):
        await save(client, b"%d" % number, checkpoint_id="full", replace=True)
    await save(client, b"aside", checkpoint_id="aside")
    await save(client, b"2", checkpoint_id="delta", parent_id="full", needs_parent=True, replace=True)
    await save(client, b"newest", checkpoint_id="delta 2", parent_id="delta", needs_parent=True)
    await save(client, b"3", checkpoint_id="delta", parent_id="full", needs_parent=True, replace=True)
    await client.prune("n", "w")
    assert [each.checkpoint_id async for each in client.list("n", "w")] == ["delta", "full"]
    await save(client, b"4", checkpoint_id="delta 3", parent_id="delta", needs_parent=True)
    for number in range(2):
        await save(client, b"x%d" % number, checkpoint_id="full", replace=True)
    await save(client, b"5", checkpoint_id="delta 4", parent_id="delta 3", needs_parent=True)
    await client.prune("n", "w")
    assert [each.checkpoint_id async for each in client.list("n", "w")] == ["delta 4", "full", "delta 3", "delta"]


async def test_a_needed_parent_must_exist(client):
    assert await reason(save(client, parent_id="p", needs_parent=True)) == "CHECKPOINT_NOT_FOUND"
    await save(client, checkpoint_id="p")
    await save(client, parent_id="p", needs_parent=True)
    await client.delete("n", "w", "p")
    assert await reason(save(client, b"2", parent_id="p", needs_parent=True)) == "CHECKPOINT_DELETED"


# Pinning


async def test_a_prune_skips_pinned_checkpoints_and_does_not_count_them(client):
    for name in "abcdef":
        saved = await save(client, checkpoint_id=name, pinned=name in "bef")
        assert saved.pinned is (name in "bef")
    assert await client.prune("n", "w", keep_last=2) == 1
    assert [(each.checkpoint_id, each.pinned) async for each in client.list("n", "w")] == [
        ("f", True),
        ("e", True),
        ("d", False),
        ("c", False),
        ("b", True),
    ]
    assert await client.prune("n", "w") == 1
    assert (await client.load("n", "w", "b")).info.pinned
    assert (await client.load("n", "w")).checkpoint_id == "f"


async def test_a_parent_that_a_pinned_checkpoint_needs_stays_as_well(client):
    await save(client, checkpoint_id="full")
    await save(client, checkpoint_id="delta", parent_id="full", needs_parent=True, pinned=True)
    for name in "xyz":
        await save(client, checkpoint_id=name)
    assert await client.prune("n", "w") == 2
    assert [each.checkpoint_id async for each in client.list("n", "w")] == ["z", "delta", "full"]


async def test_pinned_checkpoints_can_be_deleted_and_replaced(client):
    for name in "abcd":
        await save(client, checkpoint_id=name, pinned=True, labels={"k": name})
    await client.delete("n", "w", "a")
    await client.delete_checkpoints("n", "w", labels={"k": "b"})
    await save(client, b"2", checkpoint_id="c", replace=True)
    await save(client, checkpoint_id="e")
    assert await client.prune("n", "w") == 1
    assert [each.checkpoint_id async for each in client.list("n", "w")] == ["e", "d"]
    await client.delete_workflow("n", "w")
    assert [each async for each in client.list("n", "w")] == []


async def test_a_copy_of_a_pinned_checkpoint_is_pinned(client):
    await save(client, checkpoint_id="a", pinned=True)
    await save(client, checkpoint_id="b")
    await client.copy_workflow("n", "w", "copy")
    assert [each.pinned async for each in client.list("n", "copy")] == [False, True]


async def test_a_request_id_of_a_save_that_pins_cannot_be_reused_without_the_pin(client):
    assert not (await save(client, request_id="r")).pinned
    assert await reason(save(client, request_id="r", pinned=True)) == "REQUEST_ID_REUSED"
    await save(client, checkpoint_id="c", pinned=True)
    assert await reason(save(client, checkpoint_id="c")) == "CHECKPOINT_ID_REUSED"
    assert (await save(client, checkpoint_id="c", pinned=True)).replayed


async def test_a_handle_of_a_workflow_pins(client):
    handle = client.workflow("n", "w")
    assert (await handle.save(b"x", format=FORMAT, pinned=True)).pinned
    assert not (await handle.save(b"y", format=FORMAT)).pinned


# Copying


async def test_a_copy_has_every_checkpoint_with_its_id_parents_labels_and_records(client):
    before = ""
    for number in range(5):
        saved = await save(client, {"a": bytes([number]) * 200_000, "b": b"small"}, parent_id=before, labels={"k": "v"})
        await client.attach("n", "w", saved.checkpoint_id, [Record(f"{number}", b"r")])
        before = saved.checkpoint_id
    await save(client, b"gone", checkpoint_id="gone")
    await client.delete("n", "w", "gone")
    assert await client.copy_workflow("n", "w", "copy") == 5

    async def contents(workflow_id):
        return [
            (each.checkpoint_id, each.info.parent_id, each.info.labels, each.parts, each.records)
            async for each in client.history("n", workflow_id, records=True)
        ]

    original = await contents("w")
    assert len(original) == 5
    assert await contents("copy") == original
    await client.delete_workflow("n", "w")
    assert await contents("copy") == original
    for checkpoint_id, *_ in original:
        assert (await client.load("n", "copy", checkpoint_id)).checkpoint_id == checkpoint_id


async def test_a_retried_copy_copies_nothing_twice(client):
    for number in range(4):
        await save(client, bytes([number]) * 100_000)
    assert await client.copy_workflow("n", "w", "copy", request_id="r") == 4
    assert await client.copy_workflow("n", "w", "copy", request_id="r") == 4
    assert len(await revisions(client, "copy")) == 4


async def test_a_copy_onto_other_checkpoints_is_refused(client):
    await save(client, b"1")
    await save(client, b"2", workflow_id="copy")
    assert await reason(client.copy_workflow("n", "w", "copy")) == "REVISION_CONFLICT"
    await client.copy_workflow("n", "w", "equal")
    assert await reason(client.copy_workflow("n", "w", "equal")) == "REVISION_CONFLICT"
    assert await reason(client.copy_workflow("n", "never", "other")) == "WORKFLOW_NOT_FOUND"
