"""The commands that create, list and remove tokens."""

import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from holdfast_server.trust import tokens

from tests.support import servers


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens.toml"


@pytest.fixture
def run(file):
    """Return a function that runs a command on the file of tokens."""

    def run(action, *arguments):
        return servers.run("token", action, "--tokens-file", str(file), *arguments)

    return run


def listed(run):
    return [json.loads(line) for line in run("list").stdout.splitlines()]


def test_a_token_is_printed_once_and_only_its_digest_is_kept(file, run):
    done = run("create", "ci")
    token = done.stdout.strip()
    assert re.fullmatch(r"hft_[A-Za-z0-9_-]{43}", token)
    assert token not in done.stderr
    assert token not in file.read_text()
    assert token not in run("list").stdout
    [entry] = tokens.parse(file.read_bytes())
    assert entry.name == "ci"
    assert abs(entry.expires - datetime.now(UTC) - timedelta(days=90)) < timedelta(hours=1)


def test_the_file_is_for_its_owner_alone_and_keeps_the_mode_that_it_has(file, run):
    run("create", "ci")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    run("create", "ci")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert os.listdir(file.parent) == [file.name]


def test_the_list_names_each_token_and_its_end(run):
    run("create", "ci", "--expires-in", "never")
    run("create", "night", "--expires-in", "12h")
    first, second = listed(run)
    assert first == {"name": "ci", "id": first["id"], "expires": "never", "is_expired": False}
    assert second["name"] == "night"
    assert second["is_expired"] is False


def test_a_removed_token_is_gone_by_name_or_by_id(run):
    for name in ("ci", "ci", "dev"):
        run("create", name)
    first, second, other = listed(run)
    assert run("remove", "ci", "--id", first["id"]).returncode == 0
    assert listed(run) == [second, other]
    assert run("remove", "ci").returncode == 0
    assert listed(run) == [other]
    done = run("remove", "ci")
    assert done.returncode == 1
    assert "no token has the name 'ci'" in done.stderr


def test_commands_that_run_at_once_lose_no_token(run):
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda number: run("create", f"n{number}"), range(4)))
    assert sorted(each["name"] for each in listed(run)) == ["n0", "n1", "n2", "n3"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("create", "a b"), "name: expected 1 to 128 letters"),
        (("create", "ci", "--expires-in", "1y"), "expires-in: expected a period such as 90d, 12h or 30m, or never"),
        (("create", "ci", "--expires-in", "0d"), "expires-in: expected a period"),
    ],
)
def test_an_invalid_argument_is_named_and_changes_nothing(file, run, arguments, problem):
    done = run(*arguments)
    assert done.returncode == 1
    assert problem in done.stderr
    assert not file.exists()


def test_a_broken_file_is_named_and_not_overwritten(file, run):
    file.write_text("[[token")
    done = run("create", "ci")
    assert done.returncode == 1
    assert "tokens_file:" in done.stderr
    assert "expected TOML" in done.stderr
    assert file.read_text() == "[[token"


def test_the_command_needs_a_file(run):
    done = servers.run("token", "list")
    assert done.returncode == 1
    assert "tokens_file: expected the file of tokens" in done.stderr
