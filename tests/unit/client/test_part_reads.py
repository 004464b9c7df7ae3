"""Ranges of parts: any bytes of a part can be read, piece by piece, as they are stored."""

import os

import holdfast
import pytest
from holdfast.encryption import LocalKey

from tests.support.damage import damage_newest

SMALL = b"0123456789"
LARGE = os.urandom(1 << 20) * 9 + b"end"
FORMAT = holdfast.Format("state", 1)


async def read(client, *args, **options):
    return [piece async for piece in client.read_part("n", "w", *args, **options)]


@pytest.fixture
async def saved(client):
    return await client.save("n", "w", {"small": SMALL, "large": LARGE, "empty": b""}, format=FORMAT, checkpoint_id="c")


async def test_a_part_is_read_in_pieces_of_at_most_4_mib(client, saved):
    pieces = await read(client, "c", part="large")
    assert b"".join(pieces) == LARGE
    assert [len(piece) for piece in pieces] == [4 << 20, 4 << 20, (1 << 20) + 3]


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 4), (3, 4), (3, None), (9, 100), (10, None), (11, 5), (0, 0), (2**62, 2**62)]
)
async def test_a_range_is_cut_at_the_end_of_its_part(client, saved, offset, length):
    expected = SMALL[offset:] if length is None else SMALL[offset : offset + length]
    assert b"".join(await read(client, part="small", offset=offset, length=length)) == expected


async def test_a_range_of_a_large_part_begins_and_ends_anywhere(client, saved):
    found = b"".join(await read(client, "c", part="large", offset=(1 << 20) - 1, length=(5 << 20) + 7))
    assert found == LARGE[(1 << 20) - 1 :][: (5 << 20) + 7]


async def test_an_empty_part_has_no_pieces(client, saved):
    assert await read(client, "c", part="empty") == []


async def test_the_only_part_needs_no_name(client):
    await client.save("n", "w", {"x": SMALL}, format=FORMAT)
    assert await read(client) == [SMALL]


@pytest.mark.parametrize("options", [{"part": "other"}, {"offset": -1}, {"length": -1}, {}])
async def test_a_range_of_no_part_is_refused(client, saved, options):
    with pytest.raises(holdfast.InvalidRequestError):
        await read(client, "c", **options)


async def test_a_part_of_a_deleted_checkpoint_is_not_read(client, saved):
    await client.delete("n", "w", "c")
    with pytest.raises(holdfast.CheckpointDeletedError):
        await read(client, "c", part="small")


async def test_an_encrypted_part_is_read_as_it_is_stored(connect, served, client):
    async with connect(served.target, encryption=holdfast.Keyring(LocalKey.generate("k"))) as sealing:
        await sealing.save("n", "w", b"secret", format=FORMAT)
        stored = b"".join(await read(client))
        assert stored.startswith(b"\x89HFSEAL1")
        assert b"secret" not in stored
        assert b"".join(await read(sealing)) == stored


async def test_a_checkpoint_names_its_producer(connect, served, client):
    async with connect(served.target, producer=("trainer", "3.1")) as producing:
        assert (await producing.save("n", "w", b"x", format=FORMAT)).producer == ("trainer", "3.1")
    assert (await client.load("n", "w")).info.producer == ("trainer", "3.1")


async def test_a_damaged_part_is_not_read(client, served, saved):
    damage_newest(served.folder)
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await read(client, "c", part="large")
