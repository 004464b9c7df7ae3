"""Valid markers that were written to do harm, with revisions far away, huge numbers of items, or unknown kinds.

Every operation ends after about as many store requests as there are objects and never blocks the event loop for long.
A workflow that cannot be processed is reported, and all others are processed.
"""

import asyncio
import time
import uuid
from contextlib import suppress

import pytest
from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind, RecentEntry, RevisionRange
from holdfast_server.protocol.checkpoints import copy, delete, fence, load, prune, workflows
from holdfast_server.protocol.checkpoints.load import Depth
from holdfast_server.protocol.checkpoints.retention import Ledger, Retention
from holdfast_server.protocol.checkpoints.save import CheckpointSpec, save
from holdfast_server.protocol.checkpoints.validate import validate
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.format.revision_set import RevisionSet
from holdfast_server.protocol.log.append_once import Request
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.log.replays import find_request
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.stores.base import StoreAccessDeniedError, StoreError, StoreUnavailableError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.bounded_store import BoundedStore
from tests.support.frames import frame
from tests.support.markers import sound
from tests.support.workflows import GRACE, Workflow

FAR = 2_000_000_000
BAD = WorkflowKeys("n", "bad")
GOOD = [WorkflowKeys("n", f"good-{each}") for each in "abc"] + [WorkflowKeys("z", "good")]
KEEP_ONE = Policies({"*": Retention(keep_last=1)})


class Hostile:
    """A store in which all workflows but one are sound."""

    def __init__(self):
        self.store = BoundedStore()
        self.log = Log(self.store, grace_seconds=GRACE)

    async def fill(self):
        for keys in (*GOOD, BAD):
            run = Workflow(self.log, keys)
            for number in range(3):
                await run.save(b"%d" % number * 50, checkpoint_id=f"c{number}" if keys is BAD else "")
        self.log = Log(self.store, grace_seconds=GRACE)
        return self

    def put(self, marker, keys=BAD):
        marker.namespace, marker.workflow_id = keys.namespace, keys.workflow_id
        self.store.objects.write(keys.marker(marker.revision), frame(marker.SerializeToString()))
        self.log = Log(self.store, grace_seconds=GRACE)

    def request(self, **fields):
        return Request(BAD, uuid.uuid4().hex, **fields)

    def operations(self):
        deadline = asyncio.get_running_loop().time() + 5
        log, asked = self.log, self.request
        yield "load", load.find(log, BAD, "", (), fallback=False)
        yield "load with fallback", load.find(log, BAD, "", (), fallback=True)
        yield "load by id", load.find(log, BAD, "c0", (), fallback=True)
        yield "load by a made id", load.find(log, BAD, f"cp-{FAR - 7:012d}-0", (), fallback=True)
        yield "history", _consumed(load.history(log, BAD, None))
        yield "validate", validate(log, BAD, "", Depth.CHECKSUM, ())
        yield "delete", delete.delete_checkpoint(log, asked(), "c1", deadline=deadline)
        yield "delete many", prune.delete_many(log, asked(), [1, 2, FAR - 3], deadline=deadline)
        yield "prune", prune.prune(log, asked(), 1, deadline=deadline)
        yield "copy", copy.copy_workflow(log, BAD, Request(WorkflowKeys("n", "copy"), "r"), deadline=deadline)
        yield "save", save(log, CheckpointSpec(asked(), "f", 1), [], deadline=deadline)
        yield "save by id", save(log, CheckpointSpec(asked(), "f", 1, checkpoint_id="c1"), [], deadline=deadline)
        retry = asked(first_attempt_at=time.clock_gettime(time.CLOCK_BOOTTIME) - 1)
        yield "retry", save(log, CheckpointSpec(retry, "f", 1), [], deadline=deadline)
        yield "fence", fence.acquire_writer(log, asked(), deadline=deadline)
        yield "workflows", workflows.page(log, "n", "", 100)
        yield "gc", sweep(log, KEEP_ONE)
        yield "fsck", fsck(log)
        yield "repair", fsck(log, repair=True)
        yield "gc after the repair", sweep(log, KEEP_ONE)

    async def require_bounded(self):
        """Require that every operation ends after few requests, without a long pause, and with a documented error."""
        for name, operation in self.operations():
            self.store.requests = 0
            watch = asyncio.create_task(_longest_pause())
            try:
                async with asyncio.timeout(10):
                    with suppress(HoldfastError, StoreError):
                        await operation
            except TimeoutError:
                pytest.fail(f"{name} does not end")
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            assert self.store.requests < 400, name
            self.log = Log(self.store, grace_seconds=GRACE)
        for keys in GOOD:
            found = await load.find(self.log, keys, "", (), fallback=False)
            await load.check(self.log, keys, found.entry, Depth.CHECKSUM)


async def _consumed(found):
    return [each async for each in found]


async def collected_of(hostile):
    failed = []
    collected = await sweep(hostile.log, KEEP_ONE, on_failed=lambda prefix, why: failed.append((prefix, why.reason)))
    return failed, collected


async def _longest_pause():
    # In processor time: on a busy machine the loop also waits for its turn.
    while True:
        before = time.thread_time()
        await asyncio.sleep(0.01)
        assert time.thread_time() - before < 1.0, "the event loop stood still"


@pytest.fixture
async def hostile():
    return await Hostile().fill()


def far(revision=FAR, **fields):
    marker = sound(revision, **fields)
    marker.previous_data_revision = min(marker.previous_data_revision, 3)
    return marker


def deleted(first, last):
    return [{"first": first, "last": last}]


HOSTILE = {
    "head far beyond the log": [far()],
    "head at the last revision": [far(MAX_REVISION)],
    "huge range of deleted revisions": [far(deleted=deleted(4, FAR - 1))],
    "range that hides everything": [far(deleted=deleted(1, FAR - 1))],
    "range beside a link into it": [far(FAR, deleted=deleted(4, FAR - 2))],
    "fence that deletes everything": [
        Marker(kind=MarkerKind.MARKER_KIND_FENCE, revision=FAR, deleted=deleted(1, FAR - 1), epoch=1, writer_epoch=1)
    ],
    "link to missing revisions": [
        Marker(kind=MarkerKind.MARKER_KIND_GC, revision=FAR, last_data_revision=FAR - 5, previous_data_revision=FAR - 9)
    ],
    "link to a fence": [
        Marker(kind=MarkerKind.MARKER_KIND_FENCE, revision=4, epoch=1, writer_epoch=1, last_data_revision=3),
        Marker(kind=MarkerKind.MARKER_KIND_GC, revision=5, last_data_revision=4, previous_data_revision=4),
    ],
    "floor far away": [far(floor=FAR - 1)],
    "floor at a missing revision": [far(floor=FAR // 2)],
    "low-water mark and generation far away": [far(low_water_mark=FAR, claim_generation=FAR)],
    "needed and replaced revisions far away": [far(needed_revision=FAR - 1, replaced_revision=FAR - 2)],
    "gaps between three far markers": [far(10**6), far(10**9), far(FAR)],
    "recent entries that do not exist": [
        far(FAR, recent=[{"revision": FAR - each, "request_id": "r", "checkpoint_id": "c1"} for each in range(1, 9)])
    ],
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_revisions_far_away_in_a_marker_do_not_cost_a_step_for_each(hostile, what):
    for marker in HOSTILE[what]:
        copied = Marker()
        copied.CopyFrom(marker)
        if what.startswith("recent"):
            del copied.recent[0]
        hostile.put(copied)
    await hostile.require_bounded()


_NUMBER = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 70, 1000, 10**6, FAR - 1, FAR, MAX_REVISION - 1])
_LINKS = (
    "floor",
    "low_water_mark",
    "claim_generation",
    "last_data_revision",
    "previous_data_revision",
    "needed_revision",
    "replaced_revision",
    "epoch",
)
_MARKERS = st.lists(
    st.fixed_dictionaries(
        {
            "revision": st.sampled_from([1, 2, 3, 4, 5, 6, 70, 10**6, FAR, MAX_REVISION]),
            "kind": st.sampled_from([1, 1, 2, 3, 4, 5, 9]),
        },
        optional=dict.fromkeys(_LINKS, _NUMBER) | {"deleted": st.lists(st.tuples(_NUMBER, _NUMBER), max_size=3)},
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(_MARKERS)
async def test_every_operation_ends_whatever_the_markers_contain(given_markers):
    hostile = await Hostile().fill()
    for fields in given_markers:
        marker = sound(fields["revision"])
        for name, value in fields.items():
            if name != "deleted":
                setattr(marker, name, value)
        marker.deleted.extend(RevisionRange(first=first, last=last) for first, last in fields.get("deleted", ()))
        hostile.put(marker)
    await hostile.require_bounded()


async def test_a_head_far_beyond_the_log_is_one_finding_and_a_repair_makes_the_workflow_usable(hostile):
    hostile.put(far())
    findings = []
    checked = await fsck(hostile.log, on_finding=findings.append)
    gone = [each for each in findings if "are gone" in each.what]
    assert [(each.key, each.what) for each in gone] == [
        (BAD.marker(FAR - 1), f"the commit markers of revisions 4 to {FAR - 1} are gone")
    ]
    assert checked.findings == len(findings) == 1
    assert checked.workflows == len(GOOD) + 1
    await fsck(hostile.log, repair=True)
    assert (await fsck(hostile.log)).findings == 0
    hostile.log = Log(hostile.store, grace_seconds=GRACE)
    saved = await Workflow(hostile.log, BAD).save()
    assert saved.revision == FAR + 2
    hostile.store.age(3 * GRACE)
    collected = await sweep(hostile.log, KEEP_ONE)
    assert (collected.damaged, collected.failed) == (0, 0)
    hostile.store.age(3 * GRACE)
    await sweep(hostile.log, KEEP_ONE)
    assert (await load.find(hostile.log, BAD, "", (), fallback=False)).entry.revision == saved.revision
    assert len(await hostile.store.list(BAD.log)) < 4


async def test_missing_revisions_are_reported_one_by_one_while_they_are_few(hostile):
    run = Workflow(hostile.log, BAD)
    for _ in range(300):
        await run.save(parts=[])
    hostile.store.requests = 0
    for revision in range(10, 15):
        await hostile.store.delete(BAD.marker(revision))
    for revision in range(100, 300):
        await hostile.store.delete(BAD.marker(revision))
    skipped = []
    hostile.log = Log(hostile.store, grace_seconds=GRACE)
    left = [entry.revision async for entry in load.history(hostile.log, BAD, None, skipped)]
    assert left == [*range(303, 299, -1), *range(99, 14, -1), *range(9, 0, -1)]
    missing = [each.revision for each in skipped]
    assert missing == [*range(299, 197, -1), *range(14, 9, -1)]
    assert skipped[101].error.message == "the commit markers of revisions 100 to 198 are gone"


@pytest.mark.parametrize("kind", [3, 9, 2**31 - 1])
@pytest.mark.parametrize("revision", [4, 2])
async def test_a_marker_of_an_unknown_kind_stops_no_other_workflow(hostile, kind, revision):
    marker = sound(revision)
    marker.kind = kind
    hostile.put(marker)
    failed = []
    collected = await sweep(
        hostile.log, KEEP_ONE, on_failed=lambda prefix, error: failed.append((prefix, error.reason))
    )
    assert failed == [(BAD.prefix, Reason.LAYOUT_UNSUPPORTED)]
    assert (collected.workflows, collected.failed, collected.damaged) == (len(GOOD) + 1, 1, 0)
    assert collected.retired == 2 * len(GOOD)
    findings = []
    checked = await fsck(hostile.log, repair=True, on_finding=findings.append)
    assert checked.workflows == len(GOOD) + 1
    assert checked.repaired == 0
    assert [each.key for each in findings] == [BAD.marker(revision)]
    assert f"kind {kind}" in findings[0].what
    before = dict(hostile.store.objects.by_key)
    with pytest.raises(HoldfastError) as caught:
        await load.find(hostile.log, BAD, "c1" if revision == 2 else "", (), fallback=True)
    assert caught.value.reason is Reason.LAYOUT_UNSUPPORTED
    assert hostile.store.objects.by_key == before
    page = await workflows.page(hostile.log, "n", "", 100)
    assert {head.keys for head in page.heads} == {BAD, *GOOD[:3]}


async def test_damage_of_one_workflow_is_reported_by_its_name(hostile):
    hostile.store.objects.write(BAD.marker(2), b"rotten")
    failed = []
    collected = await sweep(
        hostile.log, KEEP_ONE, on_failed=lambda prefix, error: failed.append((prefix, error.reason))
    )
    assert failed == [(BAD.prefix, Reason.CHECKPOINT_CORRUPTED)]
    assert (collected.damaged, collected.failed, collected.retired) == (1, 0, 2 * len(GOOD))


class Refusing(BoundedStore):
    """A store that refuses to read below some prefixes."""

    refused: tuple[str, ...] = ()
    error: type[StoreError] = StoreAccessDeniedError

    async def get(self, key, *, offset=0, length=None):
        if key.startswith(self.refused or ("-",)):
            raise self.error("no")
        return await super().get(key, offset=offset, length=length)


@pytest.mark.parametrize("error", [StoreAccessDeniedError, StoreUnavailableError])
@pytest.mark.parametrize("command", ["gc", "fsck"])
async def test_a_store_that_refuses_one_workflow_stops_no_other(error, command):
    hostile = Hostile()
    hostile.store = Refusing()
    hostile.log = Log(hostile.store, grace_seconds=GRACE)
    await hostile.fill()
    hostile.store.refused, hostile.store.error = (GOOD[1].prefix, GOOD[3].prefix), error
    reported, reached = [], []
    if command == "gc":
        done = await sweep(
            hostile.log,
            KEEP_ONE,
            on_failed=lambda prefix, error: reported.append(prefix),
            on_progress=lambda position, so_far: reached.append(position),
        )
        assert done.failed == 2
    else:
        done = await fsck(
            hostile.log,
            on_finding=lambda finding: reported.append(finding.key),
            on_progress=lambda position, so_far: reached.append(position),
        )
    assert done.workflows == len(GOOD) + 1
    assert sorted(reported) == sorted(hostile.store.refused)
    assert reached == sorted(each.prefix for each in (*GOOD, BAD))


@pytest.mark.parametrize("command", [sweep, fsck])
async def test_a_run_ends_before_the_first_of_several_workflows_in_a_row_for_which_the_store_fails(command):
    hostile = Hostile()
    hostile.store = Refusing()
    hostile.log = Log(hostile.store, grace_seconds=GRACE)
    await hostile.fill()
    hostile.store.refused = tuple(each.prefix for each in GOOD)
    reached = []
    arguments = (KEEP_ONE,) if command is sweep else ()
    with pytest.raises(StoreAccessDeniedError):
        await command(hostile.log, *arguments, on_progress=lambda position, so_far: reached.append(position))
    assert reached == [BAD.prefix]


async def test_a_marker_with_a_million_ranges_does_not_block_the_event_loop(hostile):
    head = sound(4_000_000)
    head.deleted.extend(RevisionRange(first=2 * each, last=2 * each) for each in range(2, 1_000_000))
    head.previous_data_revision = 3
    hostile.put(head)
    watch = asyncio.create_task(_longest_pause())
    for _ in range(3):
        assert (await load.find(hostile.log, BAD, "", (), fallback=False)).entry.revision == 4_000_000
    assert not watch.done()
    watch.cancel()


async def test_a_marker_with_more_recent_entries_than_any_server_writes_is_damaged(hostile):
    head = sound(100_000)
    del head.recent[:]
    head.recent.extend(RecentEntry(revision=100_000 - each) for each in range(50_000))
    hostile.put(head)
    with pytest.raises(HoldfastError, match="recent is invalid"):
        await load.find(hostile.log, BAD, "", (), fallback=False)


async def test_a_marker_whose_newest_checkpoint_is_among_its_deleted_ones_is_damaged(hostile):
    head = Marker(kind=MarkerKind.MARKER_KIND_GC, revision=4, last_data_revision=3, deleted=deleted(2, 3))
    hostile.put(head)
    with pytest.raises(HoldfastError, match="last_data_revision is invalid"):
        await load.find(hostile.log, BAD, "", (), fallback=False)


async def test_chains_of_needs_and_replacements_take_no_step_for_each_pair():
    ledger = Ledger(0)
    count = 20_000
    run = Hostile()
    for revision in range(1, count + 1):
        marker = sound(revision, needed_revision=revision // 2, replaced_revision=revision - 1)
        marker.namespace, marker.workflow_id = BAD.namespace, BAD.workflow_id
        run.put(marker)
        run.store.requests = 0
        entry = await run.log.read_at(BAD.marker(revision))
        ledger.enter(entry)
    before = time.process_time()
    decision = ledger.decide(entry, Retention(keep_last=1), 0.0)
    assert time.process_time() - before < 2.0
    assert decision.newest_kept == count


async def test_the_outcome_of_a_retry_that_may_have_committed_at_a_missing_revision_is_unknown(hostile):
    head = far()
    hostile.put(head)
    entry = await hostile.log.head(BAD)
    first_attempt_at = time.clock_gettime(time.CLOCK_BOOTTIME) - 1
    with pytest.raises(HoldfastError) as caught:
        await find_request(hostile.log, BAD, entry, "other", first_attempt_at)
    assert caught.value.reason is Reason.COMMIT_UNKNOWN


# The set of revisions that are gone


@given(
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 5)), max_size=6),
    st.integers(1, 60),
    st.integers(0, 10),
)
def test_the_set_of_gone_revisions_agrees_with_a_plain_set(floor, steps, revision, more):
    ranges, end = [], 0
    for gap, size in steps:
        ranges.append((end + gap, end + gap + size - 1))
        end += gap + size - 1
    gone = RevisionSet(floor, ranges)
    counted = {each for first, last in ranges for each in range(first, last + 1)}
    assert gone.is_deleted(revision) is (revision in counted)
    assert gone(revision) is (revision <= floor or revision in counted)
    left = [each for each in range(1, revision + 1) if each > floor and each not in counted]
    assert gone.newest_left(revision) == max(left, default=0)
    assert gone.all_of((revision, revision + more)) is all(gone(each) for each in range(revision, revision + more + 1))
