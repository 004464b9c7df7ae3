"""Callers learn that an object was tampered with, and what is wrong with its MAC."""

import holdfast
import pytest
from holdfast import AsyncClient, Format

from tests.support import folder_objects, servers
from tests.support.watched import serving_watched

FORMAT = Format("f", 1)


async def test_a_caller_is_given_the_flaw_and_the_key_path(tmp_path):
    keys = tmp_path / "mac-keys.toml"
    servers.run("mac-key", "create", "--mac-keys-file", str(keys))
    async with serving_watched(tmp_path, mac_keys_file=str(keys)) as served, AsyncClient(served.target) as client:
        await client.save("n", "w", b"first", format=FORMAT)
        await client.save("n", "w", b"second", format=FORMAT)
    path = folder_objects.keys(tmp_path / "store", "ns/*/wf/*/log/*")[0]
    folder_objects.write(tmp_path / "store", path, folder_objects.read(tmp_path / "store", path)[44:])
    async with serving_watched(tmp_path, mac_keys_file=str(keys)) as served, AsyncClient(served.target) as client:
        with pytest.raises(holdfast.CheckpointCorruptedError) as caught:
            await client.load("n", "w")
        assert (caught.value.metadata["mac"], caught.value.metadata["key"]) == ("missing", path)
        resumed = await client.resume("n", "w", format=FORMAT, fallback=True)
        assert (resumed.data, resumed.fell_back) == (b"first", True)
