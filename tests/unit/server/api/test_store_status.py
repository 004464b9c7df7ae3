"""GetStoreStatus: versions, settings without secrets, and the reports of the last maintenance."""

import json
from dataclasses import asdict, fields

import holdfast
from holdfast_server import SERVER_VERSION
from holdfast_server.config import Config
from holdfast_server.config_sources import published
from holdfast_server.protocol.format.keys import COLLECTION_REPORT
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.sweep import Policies
from holdfast_server.store_commands import run_fsck, run_gc
from holdfast_server.stores.memory import MemoryStore

from tests.support.trusted import trusted

FORMAT = holdfast.Format("test", 1)
ADMIN = '[[policy]]\nprincipals = ["*"]\nnamespaces = ["*"]\nverbs = ["admin", "write", "read"]\n'


def test_every_setting_is_published_as_the_config_command_prints_it():
    config = Config(store="file:///x", retention={"*": {"keep_last": 3}}, grace_seconds=5.0)
    found = published(config)
    assert found.keys() == {each.name for each in fields(Config)}
    assert found["store"] == "file:///x"
    for name, value in asdict(config).items():
        assert found[name] == (value if isinstance(value, str) else json.dumps(value))
    assert "grace_seconds" not in published(Config(store="file:///x"))


def test_what_a_url_may_hide_is_not_published():
    config = Config(
        store="file:///x",
        oidc_issuer="https://user:secret@id.example/a?token=secret#secret",
        oidc_audience="a",
        oidc_jwks_url="https://secret@id.example:8443/keys?secret",
    )
    found = published(config)
    assert found["oidc_issuer"] == "https://id.example/a"
    assert found["oidc_jwks_url"] == "https://id.example:8443/keys"
    assert "secret" not in json.dumps(found)


async def test_the_settings_of_files_are_paths_and_never_what_the_files_contain(tmp_path):
    (tmp_path / "secret").write_text("content")
    found = published(Config(store="file:///x", tokens_file=str(tmp_path / "secret")))
    assert found["tokens_file"] == str(tmp_path / "secret")


async def test_the_state_of_a_store_has_the_last_collection_and_check():
    store = MemoryStore()
    async with trusted(ADMIN, store) as served, holdfast.AsyncClient(served.target) as client:
        fresh = await client.store_status()
        assert (fresh.server_version, fresh.layout_version) == (SERVER_VERSION, 1)
        assert fresh.configuration["calls_in_flight"] == "256"
        assert fresh.store == fresh.configuration["store"]
        assert list(fresh.configuration) == sorted(fresh.configuration)
        assert fresh.grace.total_seconds() > 0
        assert (fresh.last_collection, fresh.last_fsck) == (None, None)
        await client.save("n", "w", b"x", format=FORMAT)
        log = Log(store)
        await run_gc(log, Policies({}), after="", dry_run=False)
        await run_fsck(log, after="", repair=True, quick=False)
        status = await client.store_status()
        assert status.last_collection.counts["workflows"] == 1
        assert status.last_fsck.counts["checkpoints"] == 1
        assert dict(status.last_fsck.options) == {"repair": "true"}
        assert status.last_fsck.started <= status.last_fsck.ended
        store.objects.write(COLLECTION_REPORT, b"damaged")
        damaged = (await client.store_status()).last_collection
        assert "damaged" in damaged.problem
        assert damaged.ended is None
