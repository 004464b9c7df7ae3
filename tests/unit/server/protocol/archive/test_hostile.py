"""Whatever an archive contains: it is read as it was written, or refused with an error that says why."""

import io
import json
import tarfile

import pytest
from holdfast_server.protocol.archive.members import ArchiveError, Block, End, Header, Workflow, digest_of, sealed
from holdfast_server.protocol.archive.reader import ArchiveReader, BytesFollowError
from holdfast_server.protocol.archive.resume import reached
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.stores.memory import MemoryStore
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.archives import archive_of, contents, continuation_of, put_into, restored
from tests.support.deltas import Deltas, noise
from tests.support.inline_loop import run as run_inline

# More than an archive has bytes.
PLACES = 1 << 20


@pytest.fixture(scope="module")
def store():
    async def filled():
        for name in ("v", "w"):
            run = Deltas(found, keys=WorkflowKeys("n", name), inline=100)
            await run.keep({"a": noise(name, 300), "b": b"small"}, checkpoint_id="c")
            await run.keep(noise("second", 20))

    found = MemoryStore()
    run_inline(filled())
    return found


@pytest.fixture(scope="module")
def archive(store):
    return run_inline(archive_of(store))[0]


@pytest.fixture(scope="module")
def whole(archive):
    return contents(run_inline(restored(archive)))


@pytest.fixture(scope="module")
def members(archive):
    """Return the names and bytes of the members of the archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return [(each.name, opened.extractfile(each).read()) for each in opened]


def archived(given):
    """Return an archive with some members: names with their bytes, or whole heads."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in given:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def changed(members, name, **fields):
    """Return the archive with other fields in one of its members in JSON, and with the digest of that member."""
    return archived((each, sealed(json.loads(data) | fields) if each == name else data) for each, data in members)


async def refusal(archive):
    with pytest.raises(ArchiveError) as refused:
        async for _ in ArchiveReader(io.BytesIO(archive)).items():
            pass
    return str(refused.value)


async def test_an_archive_that_is_made_again_by_its_members_is_read(members, whole):
    assert contents(await restored(archived(members))) == whole


@settings(deadline=None)
@given(place=st.integers(0, PLACES), letter=st.integers(1, 255))
def test_a_letter_that_changed_is_noticed_or_is_none_of_an_object(archive, whole, place, letter):
    place %= len(archive)
    damaged = archive[:place] + bytes([archive[place] ^ letter]) + archive[place + 1 :]
    store = MemoryStore()
    try:
        run_inline(put_into(store, damaged))
    except ArchiveError:
        assert set(contents(store)) <= set(whole)
        assert all(whole[key] == value for key, value in contents(store).items() if "/log/" in key)
    else:
        assert contents(store) == whole


@settings(deadline=None)
@given(length=st.integers(0, PLACES), rest=st.binary(max_size=20))
def test_an_archive_that_was_cut_off_is_refused_and_continued(store, archive, whole, length, rest):
    cut = archive[: length % len(archive)] + rest
    try:
        continued = run_inline(continuation_of(store, cut))
    except BytesFollowError:
        # What follows an archive that is whole is not overwritten.
        assert b"end.json" in cut
        return
    except ArchiveError:
        assert len(cut) < 2048
        return
    assert contents(run_inline(restored(continued))) == whole


@pytest.mark.parametrize(
    "name",
    [
        "holdfast.json",
        "ns/n/wf/w/../../../../etc/passwd",
        "/etc/passwd",
        "ns/n/wf/other/blob/000/000/000-" + "0" * 32,
        "ns/n/wf/v/blob/000/000/000-" + "0" * 31,
        "ns/n/wf/v/log/fff/fff/ffe",
        "blocks/2.json",
        "end.json",
    ],
)
async def test_an_object_that_is_none_of_its_workflow_is_refused(members, name):
    first = next(at for at, (each, _) in enumerate(members) if each.startswith("blocks/"))
    assert name in await refusal(archived([*members[:first], (name, b"{}"), *members[first:]]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
async def test_a_member_that_is_no_file_is_refused(members, kind):
    info = tarfile.TarInfo("ns/n/wf/v/blob/000/000/000-" + "0" * 32)
    info.type, info.linkname = kind, "/etc/passwd"
    assert "not a file" in await refusal(archived([*members[:2], (info, b""), *members[2:]]))


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [
        ("archive.json", {"version": 2}, "version 2"),
        ("archive.json", {"version": "1"}, "version has another type"),
        ("archive.json", {"version": 0}, "version 0"),
        ("archive.json", {"layout": 7}, "layout 7"),
        ("blocks/2.json", {"findings": -1}, "states -1 findings, expected 0"),
        ("workflows/1.json", {"workflow_id": "w"}, "is not that of its names"),
        ("workflows/1.json", {"first_revision": None}, "first_revision"),
        ("blocks/1.json", {"previous": "x"}, "does not follow"),
        ("blocks/1.json", {"objects": {}}, "has size and digest"),
        ("blocks/1.json", {"objects": []}, "objects has another type"),
        ("blocks/1.json", {"objects": {"k": 3}}, "expected None"),
        ("blocks/2.json", {"ends": False}, "'end.json' is not an object"),
        ("end.json", {"objects": 3}, "states"),
        ("end.json", {"workflows": 9}, "states"),
    ],
)
async def test_members_that_contradict_each_other_are_refused(members, name, fields, why):
    assert why in await refusal(changed(members, name, **fields))


def test_each_bit_of_a_member_in_json_is_covered_by_its_digest(members):
    kinds = {"archive": Header, "workflows": Workflow, "blocks": Block, "end": End}
    for name, data in members:
        kind = kinds.get(name.removesuffix(".json").partition("/")[0])
        if kind is None:
            continue
        assert kind.decoded(data).encoded() == data
        for place in range(len(data) * 8):
            damaged = bytearray(data)
            damaged[place // 8] ^= 1 << place % 8
            with pytest.raises(ArchiveError):
                kind.decoded(bytes(damaged))


async def test_an_archive_of_a_newer_version_is_refused_by_its_version_whatever_its_form(members):
    newer = json.dumps({"version": 2, "seal": "another"}).encode()
    assert "version 2, this program reads up to 1" in await refusal(archived([("archive.json", newer), *members[1:]]))


async def test_blocks_follow_the_header_of_their_archive(members):
    other = changed(members, "archive.json", grace_seconds=1.0)
    assert "does not follow" in await refusal(other)


@pytest.mark.parametrize(
    "following", [b"x", b"\n", bytes(1024) + b"x", bytes(2 << 20)], ids=["x", "line", "later", "zeros"]
)
async def test_bytes_after_the_end_are_refused(archive, following):
    assert "follows its end mark" in await refusal(archive + following)


async def test_a_second_archive_behind_the_first_is_refused_and_not_cut_off(archive):
    assert "import each of several archives alone" in await refusal(archive * 2)
    with pytest.raises(BytesFollowError):
        await reached(io.BytesIO(archive * 2))


async def test_zeros_with_which_programs_fill_up_a_tape_are_no_part_of_an_archive(archive, whole):
    assert contents(await restored(archive + bytes(-len(archive) % 10240))) == whole


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
async def test_a_name_that_is_long_without_bound_is_not_read_into_memory(members, kind):
    info = tarfile.TarInfo("long")
    info.type = kind
    assert "a name has" in await refusal(archived([*members[:2], (info, bytes(1 << 20)), *members[2:]]))
    assert "damaged" in await refusal(archived([*members[:2], *[(info, b"9 a=b\nxxx")] * 3000]))


async def test_a_block_that_is_left_out_is_noticed(members):
    second = next(at for at, (each, _) in enumerate(members) if each == "workflows/2.json")
    end = next(at for at, (each, _) in enumerate(members) if each == "end.json")
    assert "states" in await refusal(archived([*members[:second], *members[end:]]))
    assert "no end mark" in await refusal(archived(members[:end]))
    assert "workflows/1.json" in await refusal(archived([members[0], *members[second:]]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(10240),
        b"x" * 5000,
        b"\x1f\x8b" + b"x" * 600,
        b"\x28\xb5\x2f\xfd" + b"x" * 600,
        archived([("a", b"")]),
    ],
)
async def test_what_is_no_archive_is_refused(data):
    assert "archive" in await refusal(data)


async def test_json_without_end_is_refused_before_it_is_in_memory():
    huge = b"[" * (9 << 20)
    assert "at most" in await refusal(archived([("archive.json", huge)]))
    assert "not readable" in await refusal(archived([("archive.json", huge[: 1 << 20])]))


def test_the_digest_of_an_object_is_its_sha256():
    assert digest_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
