"""The commands with an encrypted namespace: its owner reads and writes it, and nobody else is left without advice."""

import json
import os
import sys
from argparse import Namespace

import holdfast
import pytest
from holdfast.cli.encryption import keyring_of
from holdfast.cli.files import UsageError
from holdfast.encryption import LocalKey

SECRET = b"the secret state"
FORMAT = ("--format", "f:1")


@pytest.fixture
def key():
    return LocalKey.generate("tenant")


@pytest.fixture
def key_file(key, tmp_path):
    key.write(tmp_path / "tenant.key")
    return str(tmp_path / "tenant.key")


@pytest.fixture
def with_key(run, key_file):
    """Run the command with the key file."""

    async def run_with_key(command, *arguments, **settings):
        return await run(command, *arguments, "--encryption-key-file", key_file, **settings)

    return run_with_key


@pytest.fixture
async def saved(client, served, key):
    """A checkpoint `c` of workflow `w` with a label and a record, as the SDK saves them."""
    async with holdfast.AsyncClient(served.target, timeout=20, encryption=holdfast.Keyring(key)) as client:
        await client.save(
            "n", "w", SECRET, format=holdfast.Format("f", 1), checkpoint_id="c", labels={"customer": "17"}
        )
        await client.attach("n", "w", "c", [holdfast.Record("result", SECRET)])


async def test_what_the_command_saves_is_encrypted_and_comes_back(run, with_key, tmp_path):
    arguments = ("n", "w", "-", *FORMAT, "--id", "c", "--label", "customer=17", "--json")
    code, out, _ = await with_key("save", *arguments, stdin=SECRET)
    assert code == 0
    assert json.loads(out)["labels"] == {"customer": "17"}
    (tmp_path / "result").write_bytes(SECRET)
    assert (await with_key("attach", "n", "w", "c", "--record", f"result={tmp_path / 'result'}"))[0] == 0
    assert await with_key("load", "n", "w") == (0, SECRET, "")
    assert await with_key("records", "n", "w", "c", "--key", "result") == (0, SECRET, "")
    code, out, _ = await run("list", "n", "w", "--json")
    assert code == 0
    assert b"17" not in json.dumps(json.loads(out)["checkpoints"][0]["labels"]).encode()


async def test_every_command_that_reads_decrypts(with_key, saved):
    for command in ("list", "history", "log"):
        code, out, _ = await with_key(command, "n", "w", *(("--label", "customer=17") if command != "log" else ()))
        assert (code, b"customer=17" in out or command == "log") == (0, True)
    _, out, _ = await with_key("history", "n", "w", "--records", "--json")
    [found] = json.loads(out)["checkpoints"]
    assert (found["labels"], len(found["records"])) == ({"customer": "17"}, 1)
    for command, arguments in {
        "log": ("n", "w"),
        "watch": ("n", "w", "--after", "0", "--limit", "1"),
        "validate": ("n", "w"),
        "resume-check": ("n", "w", *FORMAT),
    }.items():
        code, out, _ = await with_key(command, *arguments, "--json")
        found = json.loads(out)
        entry = found["entries"][0] if command == "log" else found
        assert (code, entry["checkpoint"]["labels"]) == (0, {"customer": "17"})


@pytest.mark.parametrize("command", ["load", "history", "records"])
async def test_without_a_key_the_error_names_the_option(run, saved, command):
    code, out, problem = await run(command, "n", "w", *(("c",) if command == "records" else ()))
    assert (code, out) == (8, b"")
    assert "KEYRING_REQUIRED" in problem
    assert "next: Name the key that encrypted it by --encryption-key-file FILE, or" in problem
    code, _, problem = await run(command, "n", "w", *(("c",) if command == "records" else ()), "--json")
    assert "--encryption-key-file" in json.loads(problem)["error"]["advice"]


async def test_without_a_key_a_list_says_that_labels_are_encrypted(run, saved):
    code, out, _ = await run("list", "n", "w")
    assert code == 0
    assert out.decode().splitlines()[1].endswith("  (encrypted)")


async def test_another_key_and_plaintext_are_refused_with_the_option(run, client, saved, tmp_path):
    LocalKey.generate("other").write(tmp_path / "other.key")
    other = ("--encryption-key-file", str(tmp_path / "other.key"))
    code, _, problem = await run("load", "n", "w", *other)
    assert (code, "ENCRYPTION_KEY_MISSING" in problem) == (8, True)
    assert "next: Name its key by one more --encryption-key-file FILE" in problem
    await client.save("n", "plain", b"x", format=holdfast.Format("f", 1))
    code, _, problem = await run("load", "n", "plain", *other)
    assert (code, "NOT_ENCRYPTED" in problem) == (8, True)
    assert "next: Run the command without --encryption-key-file" in problem


async def test_a_key_of_the_same_id_with_other_bytes_is_damage(run, saved, tmp_path):
    LocalKey.generate("tenant").write(tmp_path / "swapped.key")
    code, out, problem = await run("load", "n", "w", "--encryption-key-file", str(tmp_path / "swapped.key"))
    assert (code, out, "CHECKPOINT_CORRUPTED" in problem) == (4, b"", True)


async def test_the_first_key_encrypts_and_the_others_decrypt(run, saved, key, key_file, tmp_path):
    key.successor("new").write(tmp_path / "new.key")
    new = ("--encryption-key-file", str(tmp_path / "new.key"))
    both = (*new, "--encryption-key-file", key_file)
    assert await run("load", "n", "w", *both) == (0, SECRET, "")
    assert (await run("save", "n", "w", "-", *FORMAT, *both, stdin=b"next"))[0] == 0
    assert await run("load", "n", "w", *new) == (0, b"next", "")


async def test_the_environment_names_keys_and_options_count_before_it(run, saved, key, key_file, tmp_path):
    assert (await run("load", "n", "w", HOLDFAST_ENCRYPTION_KEY_FILE=key_file))[1] == SECRET
    key.successor("new").write(tmp_path / "new.key")
    both = f"{tmp_path / 'new.key'}:{key_file}"
    assert (await run("load", "n", "w", HOLDFAST_ENCRYPTION_KEY_FILE=both))[1] == SECRET
    code, out, _ = await run("load", "n", "w", "--encryption-key-file", key_file, HOLDFAST_ENCRYPTION_KEYRING="none:x")
    assert (code, out) == (0, SECRET)
    code, out, _ = await run("capabilities", HOLDFAST_ENCRYPTION_KEY_FILE="", HOLDFAST_ENCRYPTION_KEYRING="")
    assert code == 0


async def test_a_module_has_the_keyring_of_a_key_service(run_executable, saved, key_file, tmp_path, monkeypatch):
    (tmp_path / "tenant_keys.py").write_text(
        "import holdfast\n"
        "from holdfast.encryption import LocalKey\n"
        f"keyring = holdfast.Keyring(LocalKey.read({key_file!r}))\n"
        "def made():\n    return keyring\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("tenant_keys:keyring", "tenant_keys:made"):
        found = keyring_of(Namespace(encryption_key_file=[], encryption_keyring=name), {})
        assert isinstance(found, holdfast.Keyring)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    settings = {"PYTHONPATH": path, "HOLDFAST_ENCRYPTION_KEYRING": "tenant_keys:made"}
    assert (await run_executable("load", "n", "w", **settings))[:2] == (0, SECRET)


async def test_a_keyring_that_cannot_be_made_is_one_line_that_names_the_option(run):
    for name, message in {
        "json:dumps": "TypeError(",
        "json:JSONDecodeError": "TypeError(",
        "json:__name__": "is str: expected a holdfast.Keyring",
        "json:none": "cannot be imported: module 'json' has no attribute 'none'",
        "nowhere:keyring": "cannot be imported: No module named 'nowhere'",
        "keyring": "invalid name 'keyring': expected MODULE:ATTRIBUTE",
    }.items():
        code, _, problem = await run("load", "n", "w", "--encryption-keyring", name)
        assert (code, problem.count("\n")) == (2, 1)
        assert problem.startswith("holdfast: --encryption-keyring: ")
        assert message in problem


async def test_a_key_file_that_cannot_be_used_is_named_and_not_shown(run, key_file, tmp_path):
    (tmp_path / "empty").touch(mode=0o600)
    (tmp_path / "open").write_bytes((tmp_path / "tenant.key").read_bytes())
    (tmp_path / "open").chmod(0o644)
    for name, message in {
        "none": "cannot be read: No such file or directory",
        "": "cannot be read: Is a directory",
        "empty": "does not hold a key of Holdfast",
        "open": "others can read or write it: expected mode 400 to 640, got 644",
    }.items():
        code, _, problem = await run("load", "n", "w", "--encryption-key-file", f"{tmp_path}/{name}")
        assert (code, problem.count("\n")) == (2, 1)
        assert f"--encryption-key-file: '{tmp_path}/{name}" in problem
        assert message in problem
    code, _, problem = await run("load", "n", "w", *("--encryption-key-file", key_file) * 2)
    assert (code, "two keys have the id 'tenant'" in problem) == (2, True)
    code, _, problem = await run("load", "n", "w", "--encryption-key-file", key_file, "--encryption-keyring", "a:b")
    assert (code, "exclude each other" in problem) == (2, True)


async def test_an_encrypted_workflow_is_not_copied(run, with_key, saved):
    for command in (run, with_key):
        code, _, problem = await command("copy", "n", "w", "copy")
        assert (code, "bound to its workflow" in problem) == (2, True)


def test_a_package_that_is_missing_is_named(key_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.delitem(sys.modules, "holdfast.encryption")
    with pytest.raises(UsageError, match=r"pip install 'holdfast-client\[cli,encryption\]=="):
        keyring_of(Namespace(encryption_key_file=[key_file], encryption_keyring=None), {})
