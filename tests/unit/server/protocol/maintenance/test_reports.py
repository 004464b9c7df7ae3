"""Reports of maintenance: bounded, harmless, and never taken for one if they are damaged."""

import asyncio
import json

import pytest
from holdfast_server import scheduled_gc
from holdfast_server.api.stored import Stored
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import frame
from holdfast_server.protocol.format.keyed_store import KeyedStore
from holdfast_server.protocol.format.keys import CHECK_REPORT, COLLECTION_REPORT, REPORTS, WorkflowKeys
from holdfast_server.protocol.format.macs import MacKey
from holdfast_server.protocol.format.manifest import open_layout
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance import reports
from holdfast_server.protocol.maintenance.add_macs import add_macs
from holdfast_server.protocol.maintenance.fsck import fsck
from holdfast_server.protocol.maintenance.reports import MAX_FINDINGS, Kind, Run
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.store_commands import run_fsck, run_gc
from holdfast_server.stores.base import StoreUnavailableError
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.trust.quotas import Quotas
from hypothesis import given
from hypothesis import strategies as st

from tests.support.inline_loop import run as inline
from tests.support.workflows import GRACE, KEYS, Workflow

KEY = MacKey(b"1" * 32)
LONG = "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 200


class Refusing(MemoryStore):
    """A store that refuses to replace reports."""

    async def replace(self, key, data):
        if key in REPORTS:
            raise StoreUnavailableError("refused")
        await super().replace(key, data)


async def damaged(store=None, workflow=KEYS) -> Log:
    """Return the log of a store with a damaged marker below the head."""
    log = Log(store or MemoryStore(), grace_seconds=GRACE)
    for _ in range(2):
        await Workflow(log, workflow).save()
    log.store.objects.write(workflow.marker(1), b"rotten")
    return Log(log.store, grace_seconds=GRACE)


async def test_a_check_leaves_its_counts_options_and_findings():
    log = await damaged()
    assert await run_fsck(log, after="", repair=False, quick=True) == 1
    report = await reports.newest(log.store, Kind.CHECK)
    assert report.counts["findings"] == 1
    assert report.counts["markers"] == 2
    assert dict(report.options) == {"quick": "true"}
    assert [(each.namespace, each.workflow_id) for each in report.findings] == [(KEYS.namespace, KEYS.workflow_id)]
    assert report.start_time.ToNanoseconds() <= report.end_time.ToNanoseconds()
    assert not report.truncated
    assert await reports.newest(log.store, Kind.COLLECTION) is None


async def test_a_collection_leaves_its_counts_and_the_workflows_that_it_left_alone():
    log = await damaged()
    assert await run_gc(log, Policies({}), after="", dry_run=False) == 1
    report = await reports.newest(log.store, Kind.COLLECTION)
    assert (report.counts["workflows"], report.counts["damaged"]) == (1, 1)
    assert [each.reason for each in report.findings] == ["CHECKPOINT_CORRUPTED"]


async def test_a_dry_run_leaves_no_report():
    log = await damaged()
    await run_gc(log, Policies({}), after="", dry_run=True)
    assert await reports.newest(log.store, Kind.COLLECTION) is None


async def test_a_finding_in_a_workflow_with_a_long_name_names_it():
    long = WorkflowKeys("n", LONG)
    log = await damaged(workflow=long)
    await run_fsck(log, after="", repair=False, quick=False)
    report = await reports.newest(log.store, Kind.CHECK)
    assert report.findings[0].workflow_id == LONG


async def test_a_report_that_cannot_be_written_does_not_fail_the_run(capsys):
    log = Log(Refusing(), grace_seconds=GRACE)
    await Workflow(log, KEYS).save()
    assert await run_gc(log, Policies({}), after="", dry_run=False) == 0
    assert await run_fsck(log, after="", repair=False, quick=False) == 0
    printed = capsys.readouterr()
    assert [json.loads(line)["workflows"] for line in printed.out.splitlines()] == [1, 1]
    assert printed.err.count("warning: the report of this run could not be kept") == 2


async def test_scheduled_collections_leave_reports_and_go_on_where_that_fails(caplog):
    for store, expected in ((MemoryStore(), True), (Refusing(), False)):
        log = Log(store, grace_seconds=0.0)
        await Workflow(log, KEYS).save()
        done = asyncio.Event()
        caplog.clear()
        with caplog.at_level("INFO", "holdfast.server"):
            async with (
                scheduled_gc.collecting_garbage(log, Policies({}), 0.01, stored=Stored(Quotas)),
                asyncio.timeout(60),
            ):
                while not done.is_set():
                    await asyncio.sleep(0.01)
                    collections = [each for each in caplog.records if each.message == "garbage collected"]
                    if len(collections) >= 3:
                        done.set()
        report = await reports.newest(store, Kind.COLLECTION)
        assert (report is not None) == expected
        assert report is None or dict(report.options) == {"scheduled": "true"}
        assert any("could not be kept" in each.message for each in caplog.records) != expected


async def test_of_two_runs_that_end_at_the_same_time_one_report_stays():
    log = await damaged()
    await asyncio.gather(*(run_gc(log, Policies({}), after="", dry_run=False) for _ in range(2)))
    assert (await reports.newest(log.store, Kind.COLLECTION)).counts["damaged"] == 1


@given(
    st.lists(st.tuples(st.text(max_size=2000), st.text(max_size=2000)), max_size=8),
    st.integers(0, MAX_FINDINGS + 20),
    st.dictionaries(st.sampled_from(["workflows", "bytes"]), st.integers(0, 2**63 - 1)),
)
def test_a_report_is_read_as_it_was_written_and_small_whatever_was_found(texts, repeated, counts):
    async def check():
        log = Log(MemoryStore(), grace_seconds=GRACE)
        run = Run(Kind.CHECK, after="x" * 3000)
        found = [*texts, *[(LONG, f"{number}{LONG * 5}") for number in range(repeated)]]
        for key, message in found:
            run.found(f"\udc80{key}", message)
        await run.keep(log, counts)
        assert len(log.store.objects.by_key[CHECK_REPORT][0]) <= 65 << 10
        report = await reports.newest(log.store, Kind.CHECK)
        assert dict(report.counts) == counts
        assert len(report.findings) <= MAX_FINDINGS
        assert report.truncated == (len(report.findings) < len(found))

    inline(check())


@given(st.binary(max_size=64), st.booleans())
def test_a_damaged_report_is_refused(data, is_framed):
    async def check():
        store = MemoryStore()
        store.objects.write(COLLECTION_REPORT, frame.pack(b"\xff" + data, COLLECTION_REPORT, 2) if is_framed else data)
        with pytest.raises(HoldfastError) as caught:
            await reports.newest(store, Kind.COLLECTION)
        assert caught.value.reason is Reason.CHECKPOINT_CORRUPTED

    inline(check())


async def test_a_report_under_the_key_of_another_or_too_large_is_refused():
    log = await damaged()
    await run_gc(log, Policies({}), after="", dry_run=False)
    log.store.objects.write(CHECK_REPORT, log.store.objects.by_key[COLLECTION_REPORT][0])
    log.store.objects.write(COLLECTION_REPORT, b"x" * (1 << 20))
    for kind in Kind:
        with pytest.raises(HoldfastError):
            await reports.newest(log.store, kind)


async def test_reports_are_no_objects_of_workflows_for_any_walk_and_are_left_alone():
    log = Log(MemoryStore(), grace_seconds=0.0)
    await Workflow(log, KEYS).save()
    for key in REPORTS:
        log.store.objects.write(key, b"written by a later server")
    findings = []
    checked = await fsck(log, on_finding=findings.append)
    assert (findings, checked.workflows) == ([], 1)
    assert (await sweep(log, Policies({}))).workflows == 1
    assert all(log.store.objects.by_key[key][0] == b"written by a later server" for key in REPORTS)


async def test_a_report_gets_a_mac_with_the_store_and_is_refused_if_it_was_changed():
    store = MemoryStore()
    layout = await open_layout(store, grace_seconds=GRACE)
    plain = Log(store, grace_seconds=GRACE, marker_version=layout.marker_version)
    await Workflow(plain, KEYS).save()
    await run_gc(plain, Policies({}), after="", dry_run=False)
    assert (await add_macs(store, [KEY], first=True)).flawed == 0
    macs = (await open_layout(store, mac_keys=[KEY])).macs
    log = Log(KeyedStore(store, macs), grace_seconds=GRACE, marker_version=layout.marker_version)
    assert (await reports.newest(log.store, Kind.COLLECTION)).counts["workflows"] == 1
    await run_fsck(log, after="", repair=False, quick=False)
    assert (await reports.newest(log.store, Kind.CHECK)).counts["workflows"] == 1
    whole = store.objects.by_key[CHECK_REPORT][0]
    store.objects.write(CHECK_REPORT, whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(HoldfastError):
        await reports.newest(log.store, Kind.CHECK)
