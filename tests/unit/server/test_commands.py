"""The commands of `holdfast-server` for an operator: exit codes, mistyped paths, closed streams, signals."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import boto3
import grpc
import holdfast
import pytest
from holdfast_server.arguments import parse
from holdfast_server.config import ConfigError
from holdfast_server.config_sources import load

from tests.support import folder_objects, servers
from tests.support.ports import free_port
from tests.support.servers import EXECUTABLE, start
from tests.support.watched import serving_watched

SERVER = " ".join(EXECUTABLE)


def run(*arguments, cwd=None, **settings):
    return servers.run(*arguments, cwd=cwd, env={**os.environ, **settings})


def shell(line, cwd):
    return subprocess.run(["bash", "-c", line], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
async def folder(tmp_path):
    async with serving_watched(tmp_path, grace_seconds=60):
        pass
    return tmp_path / "store"


@pytest.mark.parametrize("command", ["gc", "fsck"])
@pytest.mark.parametrize("settings", [{"HOLDFAST_CACHE_BYTES": "none"}, {"HOLDFAST_STORE": "ftp://x"}])
def test_a_wrong_setting_exits_with_2_and_is_not_reported_as_damage(tmp_path, command, settings):
    result = run(command, cwd=tmp_path, **settings)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        *(
            ("gc", each)
            for each in ("listen", "workers", "drain-seconds", "calls-in-flight", "gc-interval-seconds", "repair")
        ),
        *(
            ("fsck", each)
            for each in ("listen", "workers", "retention", "grace-seconds", "dry-run", "payload-limit-bytes")
        ),
        ("serve", "after"),
        ("serve", "dry"),
    ],
)
def test_a_command_refuses_a_flag_that_it_does_not_use(command, flag, capsys):
    with pytest.raises(SystemExit) as ended:
        parse([command, f"--{flag}", "1"])
    assert ended.value.code == 2
    assert f"--{flag}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["gc", "fsck", "upgrade"])
@pytest.mark.parametrize("path", ["missing", "empty", "missing/below"])
def test_a_mistyped_path_is_refused_and_nothing_is_created_there(tmp_path, command, path):
    (tmp_path / "empty").mkdir()
    result = run(command, "--store", f"./{path}", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"{(tmp_path / path).as_uri()}: not a store of Holdfast: holdfast.json is missing" in result.stderr
    assert [each.name for each in tmp_path.rglob("*")] == ["empty"]


def test_a_mistyped_prefix_of_a_bucket_is_refused_and_nothing_is_created_there(s3_bucket, s3_endpoint):
    for command in ("gc", "fsck"):
        result = run(command, "--store", f"s3://{s3_bucket}/mistyped", AWS_ENDPOINT_URL_S3=s3_endpoint)
        assert result.returncode == 2, result.stderr
        assert "not a store of Holdfast" in result.stderr
    assert boto3.client("s3", endpoint_url=s3_endpoint).list_objects_v2(Bucket=s3_bucket)["KeyCount"] == 0


def test_a_store_is_named_by_a_plain_path_or_a_url(tmp_path):
    for given, expected in (
        ("./data", tmp_path / "data"),
        ("data", tmp_path / "data"),
        ("../data", tmp_path.parent / "data"),
        ("/srv/run#1?x%20 ü", "/srv/run#1?x%20 ü"),
        ("./a:b", tmp_path / "a:b"),
    ):
        assert load({"store": given}, {}, tmp_path).store == Path(expected).as_uri()
    for given in ("file:///srv/x", "s3://bucket/prefix"):
        assert load({"store": given}, {}, tmp_path).store == given
    for given in ("", "s3:/bucket", "file:x", "localhost:9000/bucket", "a\0b", "http://x"):
        with pytest.raises(ConfigError, match="store"):
            load({"store": given}, {}, tmp_path)


def test_a_grace_that_differs_from_the_stores_is_reported(folder):
    for given, is_reported in (("5", True), ("60", False)):
        result = run("gc", "--store", str(folder), "--grace-seconds", given)
        assert result.returncode == 0
        assert ("grace_seconds has no effect" in result.stderr) == is_reported
        if is_reported:
            line = json.loads(result.stderr.splitlines()[0])
            assert (line["level"], line["grace_seconds"], line["given_grace_seconds"]) == ("warning", 60.0, 5.0)
    # A grace that was not given is not reported.
    assert "grace" not in run("gc", "--store", str(folder)).stderr


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_abort_neither_command(folder, closed):
    for command in ("gc", "fsck"):
        result = shell(f"{SERVER} {command} --store {folder} {closed}", folder.parent)
        assert result.returncode == 0
        assert result.stderr == ""
    # Printed text did not go into a file of the store.
    assert json.loads(folder_objects.read(folder, "holdfast.json"))


def test_a_summary_that_cannot_be_written_exits_with_2(folder):
    result = shell(f"{SERVER} gc --store {folder} > /dev/full", folder.parent)
    assert result.returncode == 2
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "> /dev/full 2> /dev/full", "> >(exit) 2> >(exit)"])
async def test_a_server_without_streams_serves_and_drains(tmp_path, streams):
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f"exec {SERVER} serve --store ./data --listen 127.0.0.1:{port} {streams}",
        cwd=tmp_path,
    )
    async with holdfast.AsyncClient(f"127.0.0.1:{port}", timeout=30) as client:
        await client.save("n", "w", b"x" * 100, format=holdfast.Format("f", 1))
        assert (await client.load("n", "w")).data == b"x" * 100
    process.send_signal(signal.SIGHUP)
    assert await asyncio.wait_for(process.wait(), 20) == 0


def test_sighup_stays_ignored_under_nohup(tmp_path):
    process, target = start(tmp_path.as_uri(), within=["nohup"])
    process.send_signal(signal.SIGHUP)
    with holdfast.Client(target) as client:
        client.save("n", "w", b"x", format=holdfast.Format("f", 1))
    assert process.poll() is None
    process.terminate()
    assert process.wait(20) == 0


async def test_sighup_drains(tmp_path):
    process, target = start(tmp_path.as_uri(), "--drain-seconds", "30")
    async with grpc.aio.insecure_channel(target) as channel:
        await channel.channel_ready()
        process.send_signal(signal.SIGHUP)
        assert await asyncio.to_thread(process.wait, 20) == 0


POLICY = """
[[policy]]
principals = ["token:ci"]
namespaces = ["team-a", "team-a-*"]
verbs = ["read", "write"]

[[policy]]
principals = ["oidc:group:ml"]
namespaces = ["team-a"]
verbs = ["delete"]
"""


def test_policy_check_says_what_a_principal_may_do(tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY)
    who = ("--principal", "token:ci", "--principal", "oidc:group:ml")
    result = run("policy", "check", "policy.toml", *who, "--namespace", "team-a-x", cwd=tmp_path)
    assert result.returncode == 0
    assert json.loads(result.stdout) == {
        "file": "policy.toml",
        "entries": 2,
        "applying": [
            {
                "entry": 1,
                "principals": ["token:ci"],
                "namespaces": ["team-a", "team-a-*"],
                "verbs": ["read", "write"],
            }
        ],
        "may": ["read", "write"],
        "may_not": ["fence", "delete", "admin"],
    }
    result = run("policy", "check", "policy.toml", *who, cwd=tmp_path)
    assert [each["entry"] for each in json.loads(result.stdout)["applying"]] == [1, 2]


def test_policy_check_of_a_wrong_file_names_entry_line_and_value(tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY.replace("delete", "remove"))
    result = run("policy", "check", "policy.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "holdfast-server: 'policy.toml': policy entry 2, line 7: verbs[0]: "
        "expected one of read, write, fence, delete, admin, got 'remove'\n"
    )
