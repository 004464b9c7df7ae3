"""The commands of `holdfast`, run in a process."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import holdfast
import pytest
from holdfast.cli.exit_codes import BY_REASON
from holdfast.cli.json_output import JsonOutput
from holdfast.cli.main import main
from holdfast.cli.table_output import TableOutput
from holdfast.v1 import errors_pb2

from tests.support import folder_objects
from tests.support.damage import damage_newest
from tests.support.repository import ROOT
from tools import docs_parts


async def test_a_payload_saved_from_stdin_is_loaded_to_stdout(run):
    code, out, _ = await run("save", "n", "w", "-", "--format", "f:1", "--label", "a=b", "--json", stdin=b"state")
    assert code == 0
    assert json.loads(out)["revision"] == 1
    assert await run("load", "n", "w") == (0, b"state", "")


async def test_a_large_file_is_saved_and_loaded_unchanged(run, tmp_path):
    data = bytes(range(256)) * 20_000
    (tmp_path / "in").write_bytes(data)
    assert (await run("save", "n", "w", str(tmp_path / "in"), "--format", "f:1"))[0] == 0
    assert (await run("load", "n", "w", "--output", str(tmp_path / "out")))[0] == 0
    assert (tmp_path / "out").read_bytes() == data


async def test_parts_are_saved_and_chosen_by_name(run, tmp_path):
    (tmp_path / "a").write_bytes(b"A")
    (tmp_path / "b").write_bytes(b"B")
    parts = ("--part", f"a={tmp_path / 'a'}", "--part", f"b={tmp_path / 'b'}")
    assert (await run("save", "n", "w", *parts, "--format", "f:1"))[0] == 0
    assert await run("load", "n", "w", "--part", "b") == (0, b"B", "")
    code, _, err = await run("load", "n", "w")
    assert code == 2
    assert "choose one by --part" in err


async def test_checkpoints_and_workflows_are_listed_for_people_and_for_programs(run):
    for number in range(3):
        await run("save", "n", f"w{number % 2}", "-", "--format", "f:1", "--id", f"id-{number}", stdin=b"x")
    code, out, _ = await run("list", "n", "w0")
    assert code == 0
    lines = out.decode().splitlines()
    assert "revision" in lines[0]
    assert [line.split()[1] for line in lines[1:]] == ["id-2", "id-0"]
    _, out, _ = await run("list", "n", "w0", "--json", "--limit", "1")
    assert [each["checkpoint_id"] for each in json.loads(out)["checkpoints"]] == ["id-2"]
    _, out, _ = await run("workflows", "n", "--json")
    assert [(each["workflow_id"], each["head_revision"]) for each in json.loads(out)["workflows"]] == [
        ("w0", 2),
        ("w1", 1),
    ]
    _, out, _ = await run("workflows", "n")
    assert "newest checkpoint" in out.decode()
    _, out, _ = await run("workflows", "n", "--prefix", "w1", "--json")
    assert [each["workflow_id"] for each in json.loads(out)["workflows"]] == ["w1"]


async def test_the_state_of_the_store_is_printed_for_people_and_for_programs(run):
    code, out, _ = await run("store-status", "--json")
    found = json.loads(out)
    assert (code, found["last_fsck"], found["layout_version"]) == (0, None, 1)
    assert found["grace_seconds"] > 0
    _, out, _ = await run("store-status")
    lines = {name: value for name, _, value in (line.partition(" ") for line in out.decode().splitlines())}
    assert (lines["last_collection"].strip(), lines["workers"].strip()) == ("none", "1")


async def test_namespaces_are_listed_for_people_and_for_programs(run):
    for namespace in ("team-a", "team-b", "other"):
        await run("save", namespace, "w", "-", "--format", "f:1", stdin=b"x")
    _, out, _ = await run("namespaces", "--json", "--prefix", "team-")
    assert json.loads(out) == {"namespaces": ["team-a", "team-b"]}
    _, out, _ = await run("namespaces", "--limit", "2")
    assert out.decode().split() == ["namespace", "other", "team-a"]


@pytest.mark.without_deltas
async def test_a_check_of_a_damaged_checkpoint_exits_with_4_and_names_the_last_good_one(run, served):
    for number in range(2):
        await run("save", "n", "w", "-", "--format", "f:1", "--id", f"id-{number}", stdin=b"x" * 200_000)
    assert (await run("validate", "n", "w"))[0] == 0
    damage_newest(served.folder)
    code, out, _ = await run("validate", "n", "w")
    assert code == 4
    assert "not resumable" in out.decode()
    assert "last good: revision 1, id-0" in out.decode()
    code, out, _ = await run("resume-check", "n", "w", "--format", "f:1", "--json")
    assert code == 4
    assert json.loads(out)["last_good"]["checkpoint_id"] == "id-0"
    assert (await run("load", "n", "w"))[0] == 4
    code, out, err = await run("load", "n", "w", "--fallback")
    assert (code, out) == (0, b"x" * 200_000)
    assert "fell back to revision 1, id-0" in err


async def test_resume_check_reports_a_format_that_the_engine_cannot_read(run):
    await run("save", "n", "w", "-", "--format", "f:2", stdin=b"x")
    assert (await run("resume-check", "n", "w", "--format", "f:1"))[0] == 5
    assert (await run("resume-check", "n", "w", "--format", "f:3", "--oldest", "2"))[0] == 0


async def test_delete_takes_one_or_all(run):
    for number in range(2):
        await run("save", "n", "w", "-", "--format", "f:1", "--id", f"id-{number}", stdin=b"x")
    assert (await run("delete", "n", "w"))[0] == 2
    assert (await run("delete", "n", "w", "id-0"))[0] == 0
    code, _, err = await run("load", "n", "w", "id-0")
    assert code == 3
    assert "CHECKPOINT_DELETED" in err
    assert (await run("delete", "n", "w", "--all"))[0] == 0
    assert json.loads((await run("list", "n", "w", "--json"))[1]) == {"checkpoints": []}


@pytest.mark.parametrize("arguments", [("",), ("", "--all"), ("id-0", "--all")])
async def test_an_empty_checkpoint_id_never_deletes_all(served, client, arguments):
    await client.save("n", "w", b"x", format=holdfast.Format("f", 1), checkpoint_id="id-0")
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, ["delete", "n", "w", *arguments, "--target", served.target])
    assert ended.value.code == 2
    assert len([each async for each in client.list("n", "w")]) == 1


async def test_delete_purges(run, served):
    for name in ("id-0", "id-1", "id-2"):
        await run("save", "n", "w", "-", "--format", "f:1", "--id", name, stdin=b"secret" + name.encode())

    def secrets():
        return folder_objects.objects_with(served.folder, b"secret")

    assert (await run("delete", "n", "w", "id-0"))[0] == 0
    assert len(secrets()) == 3
    assert (await run("delete", "n", "w", "id-0", "--purge"))[0] == 0
    assert len(secrets()) == 2
    assert (await run("delete", "n", "w", "--all", "--yes", "--purge"))[0] == 0
    assert secrets() == []


async def test_an_error_shows_reason_ids_trace_and_advice(run):
    await run("save", "n", "w", "-", "--format", "f:1", stdin=b"x")
    code, out, err = await run("save", "n", "w", "-", "--format", "f:1", "--expected-revision", "7", stdin=b"y")
    assert (code, out) == (6, b"")
    assert "error: REVISION_CONFLICT: expected revision 7, the head is revision 1" in err
    for word in ("head_revision: 1", "request id: ", "trace id: ", "next: "):
        assert word in err
    code, _, err = await run("load", "n", "nobody", "--json")
    assert code == 3
    described = json.loads(err)["error"]
    assert described["reason"] == "WORKFLOW_NOT_FOUND"
    assert len(described["trace_id"]) == 32
    assert described["advice"]


async def test_an_unreachable_server_is_reported(run):
    code, _, err = await run("capabilities", "--timeout", "0.5", target="127.0.0.1:9")
    assert code == 7
    assert "trace id" in err


async def test_capabilities_are_printed(run):
    code, out, _ = await run("capabilities", "--json")
    assert code == 0
    assert json.loads(out)["api_versions"] == ["holdfast.v1"]


async def test_a_missing_file_is_a_usage_error(run):
    code, _, err = await run("save", "n", "w", "/nonexistent/file", "--format", "f:1")
    assert code == 2
    assert "/nonexistent/file" in err


def test_lists_show_who_saved_a_checkpoint_if_the_server_knows_it(capsysbinary):
    saved = holdfast.Checkpoint(
        namespace="n",
        workflow_id="w",
        checkpoint_id="c",
        revision=1,
        parent_id="",
        format=holdfast.Format("f", 1),
        labels={},
        parts=(),
        size_bytes=1,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        expires=None,
        epoch=0,
        request_id="r",
        trace_id="",
        principal="token:ci",
    )
    TableOutput().checkpoints([saved, replace(saved, principal="")])
    heading, first, second = capsysbinary.readouterr().out.decode().splitlines()
    assert "principal" in heading
    assert "token:ci" in first
    assert "token:ci" not in second
    TableOutput().checkpoints([replace(saved, principal="")])
    assert b"principal" not in capsysbinary.readouterr().out
    JsonOutput().checkpoint(saved)
    assert json.loads(capsysbinary.readouterr().out)["principal"] == "token:ci"


def test_every_reason_has_an_exit_code_and_the_page_lists_it():
    names = {value.name.removeprefix("ERROR_REASON_") for value in errors_pb2.ErrorReason.DESCRIPTOR.values[1:]}
    of_clients = {
        *("HANDSHAKE_FAILED", "ROLLED_BACK", "SERVER_UNAVAILABLE"),
        *("KEYRING_REQUIRED", "NOT_ENCRYPTED", "ENCRYPTION_KEY_MISSING", "KEY_SERVICE_UNAVAILABLE"),
    }
    assert set(BY_REASON) == names | of_clients
    page = docs_parts.render((ROOT / "docs" / "reference" / "cli.md").read_text())
    for reason, code in BY_REASON.items():
        [row] = [line for line in page.splitlines() if line.startswith(f"| {code} |")]
        assert reason in row
