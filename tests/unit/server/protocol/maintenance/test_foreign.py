"""Foreign objects in the bucket, and damaged markers: neither stops work on other workflows."""

import os
from hashlib import sha256

import pytest
from crc32c import crc32c
from holdfast_server.protocol.checkpoints import load, workflows
from holdfast_server.protocol.checkpoints.retention import Retention
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.format.manifest import open_layout
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.sweep import Policies, sweep
from holdfast_server.store_commands import run_fsck
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.memory import MemoryStore
from holdfast_server.stores.s3 import S3Store

from tests.support import folder_objects
from tests.support.frames import frame
from tests.support.markers import sound
from tests.support.workflows import GRACE, KEYS, Workflow, check, sweep_after, workflow

# Objects such as consoles, backups and people leave in a bucket.
FOREIGN = [
    "ns/",
    "ns/README",
    "ns/n/",
    "ns/n/wf/",
    "ns/n/wf/README",
    "ns/n/other/w/log/fff/fff/ffe",
    KEYS.prefix,
    KEYS.log,
    KEYS.blobs,
    KEYS.claims,
    f"{KEYS.prefix}zzz",
    f"{KEYS.prefix}~",
    f"{KEYS.prefix}\N{LATIN SMALL LETTER E WITH ACUTE}.txt",
    f"{KEYS.log}-00/000/001",
    f"{KEYS.log}0x1/234/567",
    f"{KEYS.log}FFF/FFF/FFE",
    f"{KEYS.log}fff/fff/fff",
    f"{KEYS.log}fff/fff/ffe.bak",
    f"{KEYS.blobs}000/000/000-backup",
    f"{KEYS.blobs}notes.txt",
    f"{KEYS.claims}000/000/000/",
    f"{KEYS.claims}000/000/000/a.b",
    KEYS.indexes,
    f"{KEYS.indexes}000/000/040-000000041",
    f"{KEYS.indexes}000/000/040-000000001.bak",
    f"{KEYS.indexes}000/000/040-001",
]


@pytest.mark.parametrize("key", FOREIGN)
async def test_a_foreign_object_stops_nothing_is_not_touched_and_is_named(key):
    run = workflow()
    await run.save(b"before", checkpoint_id="chosen")
    run.log.store.objects.write(key, b"not ours")
    run.log = Log(run.log.store, grace_seconds=GRACE)
    for number in range(3):
        await run.save(bytes([number]))
    assert await run.load() == bytes([2])
    assert await run.load("chosen") == b"before"
    found = await workflows.page(run.log, "n", "", 10)
    assert [head.marker.workflow_id for head in found.heads] == ["w"]
    assert found.next_token == ""
    await run.delete("chosen")
    for _ in range(3):
        done = await sweep_after(run, GRACE + 1, Retention(keep_last=1))
        assert done.damaged == 0
    assert (await run.log.store.get(key)).data == b"not ours"
    assert await run.load() == bytes([2])
    _, findings = await check(run)
    assert key in [each.key for each in findings]


async def test_garbage_far_beyond_the_log_is_skipped_by_a_fallback_and_named_by_fsck_but_not_repaired():
    run = workflow()
    for number in range(3):
        await run.save(bytes([number]))
    far = KEYS.marker(MAX_REVISION)
    run.log.store.objects.write(far, b"garbage")
    found = await load.find(Log(run.log.store), KEYS, "", (), fallback=True)
    assert (found.entry.revision, found.head_revision) == (3, 0)
    checked, findings = await check(run, repair=True)
    assert checked.repaired == 0
    assert {each.key for each in findings} == {far}
    assert "too far beyond the log" in findings[-1].what


async def test_a_workflow_whose_newest_marker_is_damaged_hides_no_other_from_a_list():
    log = Log(MemoryStore(), grace_seconds=GRACE)
    for name in ("a", "b", "c"):
        run = Workflow(log, WorkflowKeys("n", name))
        for _ in range(2):
            await run.save()
    log.store.objects.write(WorkflowKeys("n", "b").marker(2), b"rot")
    found = await workflows.page(log, "n", "", 10)
    assert [(head.marker.workflow_id, head.revision) for head in found.heads] == [("a", 2), ("b", 1), ("c", 2)]


async def test_a_marker_under_a_key_of_another_workflow_is_not_listed_as_its_own():
    run = workflow()
    await run.save()
    stray = WorkflowKeys("n", "stray")
    run.log.store.objects.write(stray.marker(1), (await run.log.store.get(KEYS.marker(1))).data)
    found = await workflows.page(run.log, "n", "", 10)
    assert [head.marker.workflow_id for head in found.heads] == ["w"]


async def test_pages_of_workflows_continue_after_foreign_objects_and_list_each_workflow_once():
    log = Log(MemoryStore(), grace_seconds=GRACE)
    names = [f"w{number}" for number in range(7)]
    for name in names:
        await Workflow(log, WorkflowKeys("n", name)).save()
        log.store.objects.write(f"ns/n/wf/{name}/\N{SNOWMAN}", b"")
        log.store.objects.write(f"ns/n/wf/{name}.txt", b"")
    listed, token = [], ""
    for _ in range(20):
        found = await workflows.page(log, "n", token, 2)
        listed += [head.marker.workflow_id for head in found.heads]
        token = found.next_token
        if not token:
            break
    assert listed == names


async def test_to_list_a_foreign_folder_costs_one_request_per_thousand_objects():
    run = workflow()
    await run.save()
    for number in range(2500):
        run.log.store.objects.write(f"ns/backup/{number}", b"")
    listed = []
    listing = run.log.store.list

    async def counted(prefix, **options):
        listed.append(prefix)
        return await listing(prefix, **options)

    run.log.store.list = counted
    named = []
    assert [each async for each in workflows.prefixes(run.log.store, "ns/", on_foreign=named.append)] == [KEYS.prefix]
    assert len(named) == 2500
    assert len(listed) <= 8


async def test_a_page_token_that_was_not_issued_by_a_server_is_refused():
    run = workflow()
    for token in ("Li4vLi4vfg==", "/w==", "dw==", "?", "A" * (4 << 20)):
        with pytest.raises(HoldfastError) as refused:
            await workflows.page(run.log, "n", token, 10)
        assert refused.value.reason is Reason.INVALID_REQUEST


async def test_a_log_that_has_reached_the_last_revision_is_full():
    run = workflow()
    entry = await run.save()
    entry.marker.revision = MAX_REVISION
    with pytest.raises(HoldfastError) as full:
        await run.save()
    assert full.value.reason is Reason.LOG_FULL


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"\xff",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"layoutVersion": 2}',
        b'{"layoutVersion": -1}',
        b'{"layoutVersion": 1, "graceSeconds": -1}',
        b'{"layoutVersion": 1, "graceSeconds": "NaN"}',
        b'{"layoutVersion": 1, "graceSeconds": "Infinity"}',
        b" " * (1 << 20) + b'{"layoutVersion": 1}',
    ],
)
async def test_an_invalid_manifest_is_refused(manifest):
    store = MemoryStore()
    await store.put_if_absent("holdfast.json", manifest)
    with pytest.raises(HoldfastError) as refused:
        await open_layout(store)
    assert refused.value.reason is Reason.LAYOUT_UNSUPPORTED


async def test_findings_about_names_that_are_not_unicode_are_printed_escaped(capsys):
    run = workflow()
    await run.save()
    run.log.store.objects.write(f"{KEYS.prefix}\udcff\n", b"")
    assert await run_fsck(run.log, after="", repair=False, quick=False) == 1
    assert f"{KEYS.prefix}\\udcff\\n: not an object of Holdfast\n" in capsys.readouterr().out


async def go_on(store):
    """Save, load, list, collect and check beside foreign objects. Return the keys that fsck names."""
    run = Workflow(Log(store, grace_seconds=GRACE))
    for number in range(2):
        await run.save(bytes([number]))
    assert await run.load() == bytes([1])
    assert len((await workflows.page(run.log, "n", "", 10)).heads) == 1
    assert (await sweep(run.log, Policies({"*": Retention(keep_last=1)}))).damaged == 0
    return {each.key for each in (await check(run))[1]}


async def test_folders_made_in_a_console_of_a_real_s3_server_stop_nothing(s3_endpoint, s3_bucket):
    folders = {"ns/", "ns/n/", KEYS.prefix, KEYS.log, KEYS.blobs, KEYS.claims, f"{KEYS.prefix}\N{SNOWMAN}/"}
    async with S3Store.open(s3_bucket, "some/prefix", endpoint_url=s3_endpoint) as store:
        for folder in folders:
            assert await store.put_if_absent(folder, b"")
        assert await go_on(store) == folders
        for folder in folders:
            assert (await store.get(folder)).size_bytes == 0


async def test_rows_that_people_leave_in_a_folder_stop_nothing(tmp_path):
    left = ["ns/.DS_Store", "ns/n/wf/w/log/.DS_Store", "ns/n/wf/w/blob/caf\xe9.txt", "ns/n/wf/w/id/000/old\n"]
    async with FileStore.open(tmp_path) as store:
        for key in left:
            folder_objects.write(tmp_path, key, b"not ours")
        assert await go_on(store) == set(left)
        assert [folder_objects.read(tmp_path, key) for key in left] == [b"not ours"] * len(left)


async def test_files_that_people_leave_in_a_folder_stop_nothing(tmp_path):
    async with FileStore.open(tmp_path) as store:
        paths = [tmp_path / os.fsdecode(name) for name in (b".DS_Store", b"blobs/caf\xe9.txt", b"ns/n/wf/w/log/old")]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"not ours")
        assert await go_on(store) == set()
        assert [path.read_bytes() for path in paths] == [b"not ours"] * len(paths)


async def test_a_marker_whose_blob_is_outside_of_the_store_is_refused(tmp_path):
    secret = b"not for you"
    (tmp_path / "secret").write_bytes(secret)
    part = {"size_bytes": len(secret), "sha256": sha256(secret).digest(), "crc32c": crc32c(secret)}
    forged = sound(1, parts=[{**part, "blob": "../../../../../secret"}])
    async with FileStore.open(tmp_path / "store") as store:
        await store.put_if_absent(KEYS.marker(1), frame(forged.SerializeToString()))
        with pytest.raises(HoldfastError) as refused:
            await Workflow(Log(store)).load()
        assert refused.value.reason is Reason.CHECKPOINT_CORRUPTED
        assert "parts is invalid" in refused.value.message
