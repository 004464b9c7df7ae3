"""The commands that make keys for MACs, and the servers and commands that use them."""

import json
import stat

import pytest
from holdfast import AsyncClient, Format
from holdfast_server.config import ConfigError
from holdfast_server.keyed import mac_keys
from holdfast_server.protocol.errors import HoldfastError, Reason

from tests.support import servers
from tests.support.watched import serving_watched


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mac-keys.toml"


@pytest.fixture
def run(file):
    """Return a function that runs a command on the file of keys."""

    def run(action, *arguments):
        return servers.run("mac-key", action, "--mac-keys-file", str(file), *arguments)

    return run


def listed(run):
    return [tuple(json.loads(line).values()) for line in run("list").stdout.splitlines()]


def test_a_new_key_only_checks_until_it_is_used_and_goes_once_another_one_is(file, run):
    first, second = run("create").stdout.strip(), run("create").stdout.strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert listed(run) == [(first, True), (second, False)]
    assert run("remove", first).returncode == 1
    assert run("use", second).returncode == 0
    assert listed(run) == [(second, True), (first, False)]
    assert [key.key_id for key in mac_keys(str(file))] == [second, first]
    assert run("remove", first).returncode == 0
    assert listed(run) == [(second, True)]


def test_the_commands_show_no_secret_and_name_an_unknown_key(file, run):
    created = run("create")
    secret = mac_keys(str(file))[0].secret.hex()
    assert secret not in created.stdout + created.stderr + run("list").stdout
    for action in ("use", "remove"):
        done = run(action, "00000000")
        assert (done.returncode, "no key has the id '00000000'" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "at least one"),
        ("key = 1", "tables only"),
        ("[[key]]\nid = 1", "key 1: secret: expected 64 hex digits"),
        (f'[[key]]\nsecret = "{"0" * 64}"\nid = "00000000"', "key 1: id: expected"),
        (f'[[key]]\nsecret = "{"0" * 64}"\nname = "x"', "key 1: unknown key 'name'"),
        ("[[key", "expected TOML"),
    ],
)
def test_an_invalid_file_is_refused_with_what_is_wrong(file, content, problem):
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=r"^mac_keys_file: ") as caught:
        mac_keys(str(file))
    assert problem in str(caught.value)


def test_a_file_that_others_can_read_is_refused(file, run):
    run("create")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="expected mode 400 to 640, got 644"):
        mac_keys(str(file))
    file.chmod(0o440)
    assert mac_keys(str(file))


async def test_a_server_without_the_key_does_not_start_on_a_store_with_macs(tmp_path, file, run):
    run("create")
    async with serving_watched(tmp_path, mac_keys_file=str(file)):
        pass
    with pytest.raises(HoldfastError, match="this server needs mac_keys_file") as caught:
        async with serving_watched(tmp_path):
            pass
    assert caught.value.reason is Reason.LAYOUT_UNSUPPORTED


async def test_a_server_with_a_key_does_not_start_on_a_store_without_macs(tmp_path, file, run):
    async with serving_watched(tmp_path):
        pass
    run("create")
    with pytest.raises(HoldfastError, match="add-macs --first") as caught:
        async with serving_watched(tmp_path, mac_keys_file=str(file)):
            pass
    assert caught.value.metadata["mac"] == "missing"


async def test_a_store_gets_its_macs_by_a_command_and_its_keys_are_changed(tmp_path, file, run):
    store = f"--store={(tmp_path / 'store').as_uri()}"
    keys = f"--mac-keys-file={file}"
    async with serving_watched(tmp_path) as served:
        done = servers.run("add-macs", store)
        assert (done.returncode, "mac_keys_file: expected" in done.stderr) == (2, True)
        async with AsyncClient(served.target) as client:
            await client.save("n", "w", b"data", format=Format("f", 1))
    old = run("create").stdout.strip()
    assert servers.run("add-macs", store, keys).returncode == 2
    done = servers.run("add-macs", store, keys, "--first")
    assert json.loads(done.stdout) == {"objects": 1, "added": 1, "renewed": 0, "flawed": 0}
    again = servers.run("add-macs", store, keys, "--first")
    assert (again.returncode, "the store has its MACs already" in again.stderr) == (2, True)
    new = run("create").stdout.strip()
    run("use", new)
    async with serving_watched(tmp_path, mac_keys_file=str(file)) as served, AsyncClient(served.target) as client:
        assert (await client.load("n", "w")).data == b"data"
        await client.save("n", "w", b"newer", format=Format("f", 1))
    checked = json.loads(servers.run("fsck", store, keys).stdout)
    assert set(checked["mac_keys"]) == {old, new}
    done = servers.run("add-macs", store, keys)
    # The third object is the report of the check.
    assert json.loads(done.stdout) == {"objects": 3, "added": 0, "renewed": 1, "flawed": 0}
    checked = json.loads(servers.run("fsck", store, keys).stdout)
    assert set(checked["mac_keys"]) == {new}
    run("remove", old)
    async with serving_watched(tmp_path, mac_keys_file=str(file)) as served, AsyncClient(served.target) as client:
        assert (await client.load("n", "w")).data == b"newer"
