"""A log is followed entry by entry, whatever another process does to it, and however far behind the reader is."""

import uuid
from contextlib import suppress

import pytest
from holdfast_server.protocol.checkpoints import fence, prune
from holdfast_server.protocol.checkpoints.follow import Follower, RolledBackError
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.fsck import fsck
from hypothesis import given
from hypothesis import strategies as st

from tests.support.inline_loop import run
from tests.support.workflows import GRACE, KEYS, Workflow, damage, workflow

CHANGES = ("save", "save", "replace", "prune", "fence", "delete_workflow", "collect", "damage", "lose", "repair")
STEPS = st.lists(st.one_of(st.sampled_from(CHANGES), st.just("read"), st.just("list")), max_size=25)


async def change(of: Workflow, kind: str, number: int) -> None:
    """Make one change. A change that the state of the log forbids makes none."""
    request = Request(KEYS, uuid.uuid4().hex)
    with suppress(HoldfastError):
        if kind == "save":
            await of.save(checkpoint_id=f"c{number}")
        elif kind == "replace":
            await of.save(checkpoint_id="same", replace=True)
        elif kind == "prune":
            await prune.prune(of.log, request, 1, deadline=of.deadline())
        elif kind == "fence":
            await fence.acquire_writer(of.log, request, deadline=of.deadline())
        elif kind == "delete_workflow":
            await of.delete_workflow()
        elif kind == "repair":
            await fsck(Log(of.log.store, grace_seconds=GRACE), repair=True)
        elif kind == "collect":
            for passed in (0.0, GRACE * 1.5, GRACE * 3):
                await of.collect(Retention(keep_last=1), passed=passed * (number + 1))
        else:
            # Not the newest one, without which nothing says how far the log went.
            revision = await of.log.newest(KEYS) - 1 - number % 2
            if KEYS.marker(revision) in of.log.store.objects.by_key:
                damage(of, KEYS.marker(revision))
                if kind == "lose":
                    await of.log.store.delete(KEYS.marker(revision))


@given(STEPS, st.integers(0, 4))
def test_each_revision_comes_once_in_order_with_what_became_of_it(steps, start):
    async def check():
        of = workflow()
        for number in range(1 + start):
            await of.save(checkpoint_id=f"s{number}")
        follower = Follower(Log(of.log.store, grace_seconds=GRACE), KEYS, start)
        committed: dict[int, bytes] = {}
        found = []

        async def note():
            """Note what every revision was when it could be read first."""
            for revision in range(1, (await of.log.newest(KEYS) or 0) + 1):
                entry = await of.log.retried_reader.read_or_damage(KEYS, revision)
                if isinstance(entry, Entry):
                    committed.setdefault(revision, entry.digest)

        await note()
        for number, step in enumerate([*steps, "list"]):
            if step == "read":
                found += await follower.read()
            elif step == "list":
                while items := await follower.look_again():
                    found += items
            else:
                await change(of, step, number)
                await note()
        newest = await of.log.newest(KEYS)
        shown = [each for item in found for each in range(item.first, item.revisions[1] + 1)]
        assert shown == list(range(start + 1, newest + 1))
        for item in found:
            if item.entry is not None:
                assert item.entry.digest == committed[item.first]
        assert follower.revision == newest

    run(check())


async def followed(count: int) -> tuple[Workflow, Follower]:
    of = workflow()
    for number in range(count):
        await of.save(checkpoint_id=f"c{number}")
    follower = Follower(Log(of.log.store, grace_seconds=GRACE), KEYS, 0)
    while await follower.read():
        pass
    return of, follower


async def test_a_log_that_became_shorter_is_noticed():
    of, follower = await followed(3)
    await of.log.store.delete(KEYS.marker(3))
    with pytest.raises(RolledBackError) as noticed:
        await follower.look_again()
    assert noticed.value.head.revision == 2


async def test_a_log_that_was_rolled_back_and_grew_again_is_noticed_by_its_next_entry():
    of, follower = await followed(3)
    await of.log.store.delete(KEYS.marker(3))
    other = Workflow(Log(of.log.store, grace_seconds=GRACE))
    await other.save(checkpoint_id="other")
    await other.save(checkpoint_id="next")
    with pytest.raises(RolledBackError) as noticed:
        await follower.read()
    assert noticed.value.head.revision == 3
    assert noticed.value.head.digest != follower.digest


async def test_the_repair_of_a_damaged_head_is_not_taken_for_a_rollback():
    of, follower = await followed(3)
    damage(of, KEYS.marker(3))
    await fsck(Log(of.log.store, grace_seconds=GRACE), repair=True)
    assert [each.revisions for each in await follower.read()] == [(4, 4)]


async def test_a_purge_is_not_taken_for_a_rollback():
    of, follower = await followed(3)
    await of.delete("c2")
    await of.save(checkpoint_id="c3")
    assert [each.first for each in [*await follower.read(), *await follower.read()]] == [4, 5]
