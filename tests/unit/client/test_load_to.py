"""Loads into files: whole and verified, or the file is as it was before."""

import asyncio
import errno
import io
import os
import threading
from pathlib import Path

import holdfast
import pytest
from holdfast import Format

from tests.support.cutting_proxy import CuttingProxy
from tests.support.damage import damage_newest

FORMAT = Format("test", 1)
SMALL = b"small"
LARGE = bytes(range(251)) * 20_000


@pytest.fixture
async def saved(client):
    """The checkpoint "c" of three parts, of which one is large, and the checkpoint "one" of one part."""
    await client.save("n", "w", LARGE[::-1], format=FORMAT, checkpoint_id="one")
    await client.save("n", "w", {"large": LARGE, "small": SMALL, "empty": b""}, format=FORMAT, checkpoint_id="c")


def only(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("part", "data"), [("large", LARGE), ("small", SMALL), ("empty", b"")])
async def test_one_part_is_written_and_only_its_bytes_are_sent(client, saved, folder, part, data):
    received = []
    loaded = await client.load_to(
        "n", "w", folder / "f", "c", part=part, progress=lambda done, size: received.append((done, size))
    )
    assert (folder / "f").read_bytes() == data
    assert only(folder) == ["f"]
    assert (loaded.part.name, loaded.part.size_bytes, loaded.checkpoint_id) == (part, len(data), "c")
    assert (loaded.format, loaded.revision, loaded.head_revision) == (FORMAT, 2, 2)
    assert received[-1] == (len(data), len(data))


async def test_a_small_checkpoint_is_written_too(client, folder):
    await client.save("n", "small", SMALL, format=FORMAT)
    await client.load_to("n", "small", folder / "f")
    assert (folder / "f").read_bytes() == SMALL


async def test_the_only_part_needs_no_name(client, saved, folder):
    loaded = await client.load_to("n", "w", folder / "f", "one")
    assert loaded.part.name == ""
    assert (folder / "f").read_bytes() == LARGE[::-1]


async def test_a_part_must_be_chosen_from_several_before_data_moves(client, saved, folder):
    for part in (None, "", "other"):
        with pytest.raises(holdfast.InvalidRequestError, match="must be one of 'empty', 'large', 'small'"):
            await client.load_to("n", "w", folder / "f", "c", part=part)
    assert only(folder) == []


async def test_an_open_file_is_written_from_its_position(client, saved, folder):
    with (folder / "f").open("w+b") as file:
        file.write(b"head")
        await client.load_to("n", "w", file, "c", part="large")
        assert file.tell() == 4 + len(LARGE)
    assert (folder / "f").read_bytes() == b"head" + LARGE
    buffer = io.BytesIO()
    await client.load_to("n", "w", buffer, "c", part="small")
    assert buffer.getvalue() == SMALL


async def test_a_pipe_gets_the_part(client, saved, folder):
    for name, target in (("a path", str), ("an open file", lambda path: path.open("wb", buffering=0))):
        pipe = folder / name
        os.mkfifo(pipe)
        read = []
        reader = threading.Thread(target=lambda pipe=pipe, read=read: read.append(pipe.read_bytes()))
        reader.start()
        given = target(pipe)
        await client.load_to("n", "w", given, "c", part="large")
        if not isinstance(given, str):
            given.close()
        reader.join(20)
        assert read == [LARGE]


@pytest.mark.without_deltas
async def test_a_damaged_part_leaves_the_file_as_it_was(client, saved, served, folder):
    damage_newest(served.folder)
    (folder / "f").write_bytes(b"old")
    with pytest.raises(holdfast.CheckpointCorruptedError) as caught:
        await client.load_to("n", "w", folder / "f", "c", part="large")
    assert caught.value.metadata["part"] == "large"
    assert (folder / "f").read_bytes() == b"old"
    assert only(folder) == ["f"]
    with (folder / "open").open("w+b") as file:
        file.write(b"head")
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await client.load_to("n", "w", file, "c", part="large")
        assert file.tell() == 4
    assert (folder / "open").read_bytes() == b"head"


@pytest.mark.without_deltas
async def test_fallback_writes_the_last_good_checkpoint(client, served, folder):
    await client.save("n", "w", LARGE, format=FORMAT, checkpoint_id="good")
    await client.save("n", "w", LARGE[::-1], format=FORMAT, checkpoint_id="bad")
    damage_newest(served.folder)
    loaded = await client.load_to("n", "w", folder / "f", fallback=True)
    assert (loaded.checkpoint_id, loaded.fell_back) == ("good", True)
    assert [each.checkpoint_id for each in loaded.skipped] == ["bad"]
    assert (folder / "f").read_bytes() == LARGE


@pytest.mark.without_deltas
async def test_a_replacement_during_the_load_is_written_whole(client, saved, served, folder):
    replaced = []

    async def before(operation, key):
        if operation != "get" or "/blob/" not in key:
            return
        # The blocks of a blob are read concurrently: each of these reads waits for the replacement.
        if not replaced:
            replaced.append(asyncio.ensure_future(replace()))
        await replaced[0]

    async def replace():
        damage_newest(served.folder)
        await client.save("n", "w", {"large": SMALL * 300_000}, format=FORMAT, checkpoint_id="c", replace=True)

    served.store.before = before
    loaded = await client.load_to("n", "w", folder / "f", "c", part="large")
    assert loaded.revision == 3
    assert (folder / "f").read_bytes() == SMALL * 300_000


async def test_a_payload_above_the_limit_is_not_loaded(client, saved, folder):
    with pytest.raises(holdfast.PayloadTooLargeError):
        await client.load_to("n", "w", folder / "f", "c", part="large", max_bytes=len(LARGE))
    assert only(folder) == []


class Full(io.BytesIO):
    """A file on a disk that is full after a MiB."""

    def write(self, data):
        if self.tell() >= 1 << 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


async def test_a_full_disk_ends_the_load_with_its_own_error(client, saved):
    full = Full()
    with pytest.raises(OSError, match="No space left"):
        await client.load_to("n", "w", full, "c", part="large")
    assert full.getvalue() == b""


@pytest.mark.parametrize("file", [b"bytes", 3, io.StringIO(), None, io.BufferedReader(io.BytesIO())])
async def test_only_a_path_or_a_binary_file_is_accepted(client, file):
    with pytest.raises(TypeError, match="file must be"):
        await client.load_to("n", "w", file)


@pytest.mark.remote_only
async def test_a_cut_connection_is_continued_in_the_file(client, saved, connect, served, folder):
    async with CuttingProxy(served.target).running() as proxy:
        proxy.cut_answers_after += [1_500_000, 1_500_000]
        async with connect(f"127.0.0.1:{proxy.port}", timeout=20) as through:
            await through.load_to("n", "w", folder / "f", "c", part="large")
    assert proxy.cuts == 2
    assert (folder / "f").read_bytes() == LARGE
    assert only(folder) == ["f"]


@pytest.mark.asynchronous_only
@pytest.mark.remote_only
@pytest.mark.without_deltas
async def test_a_cancelled_load_leaves_no_temporary_file(client, saved, served, folder):
    reached = asyncio.Event()

    async def before(operation, key):
        if operation == "get" and "/blob/" in key:
            reached.set()
            await asyncio.sleep(3600)

    served.store.before = before
    loading = asyncio.create_task(client.load_to("n", "w", folder / "f", "c", part="large"))
    await reached.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert only(folder) == []
