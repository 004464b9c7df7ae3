"""Arguments: numbers within limits, no argument ignored or reinterpreted, help that covers every option."""

import json
import re

import holdfast
import pytest
from holdfast._package import VERSION
from holdfast._sync.calls import Caller
from holdfast.cli import exit_codes
from holdfast.cli.main import main

from tests.support.repository import ROOT
from tools import docs_parts

FORMAT = holdfast.Format("f", 1)
PAGE = docs_parts.render((ROOT / "docs" / "reference" / "cli.md").read_text())
COMMANDS = [
    "save",
    "load",
    "list",
    "history",
    "workflows",
    "namespaces",
    "validate",
    "resume-check",
    "delete",
    "prune",
    "copy",
    "records",
    "attach",
    "capabilities",
    "store-status",
]


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ("save", "n", "w", "-", "--format", each)
            for each in ("f", "f:", ":1", "f:0", "f:-1", "f:2147483648", "f:²")
        ),
        *(("save", "n", "w", "-", "--format", f"f:{each}") for each in ("9" * 50, "9" * 5000, "1.5", "nan", "1_0")),
        *(
            ("save", "n", "w", "-", "--format", "f:1", flag, value)
            for flag in ("--expected-revision", "--epoch")
            for value in ("-1", "1.0", "9223372036854775808", "9" * 100, "x", "")
        ),
        *(
            ("save", "n", "w", "-", "--format", "f:1", "--ttl", each)
            for each in ("0", "-1", "nan", "inf", "1e300", "x", "", "9" * 400)
        ),
        *(("list", "n", "w", "--limit", each) for each in ("0", "-1", "9" * 30, "1.0", "")),
        *(("list", "n", "w", "--timeout", each) for each in ("0", "-1", "nan", "inf", "1e9", "")),
        *(("load", "n", "w", "--accept", each) for each in ("f", "f:2-1", "f:0", "f:1-9999999999")),
        ("prune", "n", "w", "--keep-last", "0"),
        ("prune", "n", "w", "--keep-last", "2147483648"),
        ("prune", "n", "w"),
        ("resume-check", "n", "w", "--format", "f:1", "--oldest", "2"),
        ("resume-check", "n", "w", "--format", "f:1", "--oldest", "-1"),
        ("save", "n", "w", "-", "--format", "f:1", "--label", "a"),
        ("save", "n", "w", "-", "--format", "f:1", "--label", "=b"),
        ("save", "n", "w", "-", "--format", "f:1", "--label", "a=1", "--label", "a=2"),
        ("save", "n", "w", "--format", "f:1", "--part", "a=/dev/null", "--part", "a=/dev/null"),
        ("save", "n", "w", "-", "--format", "f:1", "--id", ""),
        ("save", "n", "w", "-", "--format", "f:1", "--request-id", ""),
        ("load", "n", "w", ""),
        ("load", "n", "w", "--fallback", ""),
        ("validate", "n", "w", ""),
        ("list", "n", ""),
        ("delete", "n", "w", "--al"),
        ("delete", "n", "w", "id", "--all"),
        ("delete", "n", "w"),
        ("copy", "n", "w"),
        ("records", "n", "w", "c", "--output", "x"),
        ("capabilities", "--target", ""),
        ("nonsense",),
        (),
    ],
)
def test_a_wrong_argument_is_one_line_of_stderr_and_makes_no_call(arguments, capfd, monkeypatch):
    monkeypatch.setattr(Caller, "call", lambda *_, **__: pytest.fail("a call"))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capfd.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("holdfast")
    assert len(err) < 600


async def test_the_largest_numbers_are_passed_to_the_server(run, client):
    await client.save("n", "w", b"x", format=FORMAT)
    code, _, err = await run("save", "n", "w", "-", "--format", "f:2147483647", "--epoch", str(2**63 - 1))
    assert code == 2
    assert "INVALID_REQUEST" in err
    assert (await run("list", "n", "w", "--limit", str(2**31 - 1)))[0] == 0


async def test_an_optional_argument_may_follow_options(run, client, tmp_path):
    (tmp_path / "in").write_bytes(b"state")
    assert (await run("save", "n", "w", "--format", "f:1", "--id", "a", str(tmp_path / "in")))[0] == 0
    await client.save("n", "w", b"newer", format=FORMAT)
    assert (await run("load", "n", "w", "--fallback", "a"))[1] == b"state"


async def test_an_id_that_looks_like_an_option_is_accepted_after_two_dashes(run, client):
    await client.save("n", "-w", b"x", format=FORMAT, checkpoint_id="--all")
    assert (await run("load", "n", "--", "-w", "--all"))[1] == b"x"


async def test_the_version_is_printed(run):
    assert await run("--version") == (0, f"holdfast {VERSION}\n".encode(), "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_a_default_for_each_option(command, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    shown, err = capfd.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert f"example:\n  holdfast {command} " in shown
    switches = {"help", "json", "yes", "all", "fallback", "insecure", "records", "replace", "pinned", "purge"}
    options = shown.partition("options:")[2].partition("example:")[0]
    for line in re.findall(r"^  --(.+(?:\n {4,}.+)*)$", options, re.MULTILINE):
        name = re.split(r"[ ,]", line)[0]
        assert name in switches or "(default: " in line or line.endswith("required"), line
        assert "SECONDS" not in line or "above 0" in line or "how long" in line


@pytest.mark.parametrize("command", COMMANDS)
async def test_the_example_of_the_help_is_accepted(run, command, client, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("state.json", "result.bin"):
        (tmp_path / name).write_bytes(b"{}")
    for number in range(2):
        labels = {"step": "3"}
        saved = holdfast.Format("my-engine", 3)
        await client.save("my-app", "run-42", b"{}", format=saved, checkpoint_id=f"step-{number + 2}", labels=labels)
    await client.attach("my-app", "run-42", "step-3", [holdfast.Record("result", b"\x00")])
    with pytest.raises(SystemExit):
        main([command, "--help"])
    [example] = re.findall(r"example:\n  holdfast (.+)\n", capfd.readouterr().out)
    code, _, err = await run(*example.split())
    assert (code, err) == (0, "")
    assert f"holdfast {command} " in PAGE or f"holdfast {command}\n" in PAGE


def test_the_page_lists_every_exit_code():
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    rows = {int(each) for each in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert rows == codes | {0}


async def test_records_are_attached_listed_and_read(run, tmp_path):
    await run("save", "n", "w", "-", "--format", "f:1", "--id", "c", stdin=b"x")
    (tmp_path / "a").write_bytes(b"\x00A")
    code, out, _ = await run("attach", "n", "w", "c", "--record", f"k={tmp_path / 'a'}", "--record", "l=/dev/null")
    assert code == 0
    assert out.decode().splitlines()[1].split() == ["attached", "2"]
    assert [line.split()[-1] for line in (await run("records", "n", "w", "c"))[1].decode().splitlines()[1:]] == [
        "k",
        "l",
    ]
    assert json.loads((await run("records", "n", "w", "c", "--json"))[1]) == {
        "records": [{"key": "k", "data": "AEE="}, {"key": "l", "data": ""}]
    }
    assert await run("records", "n", "w", "c", "--key", "k") == (0, b"\x00A", "")
    code, out, err = await run("records", "n", "w", "c", "--key", "m")
    assert (code, out) == (2, b"")
    assert "no record 'm'" in err


async def test_prune_and_copy_print_how_many(run, client):
    for number in range(4):
        await client.save("n", "w", b"x", format=FORMAT, checkpoint_id=f"id-{number}")
    assert json.loads((await run("copy", "n", "w", "w2", "--json"))[1]) == {"copied": 4}
    assert json.loads((await run("prune", "n", "w", "--keep-last", "1", "--json"))[1]) == {"deleted": 3}
    assert [each.checkpoint_id async for each in client.list("n", "w")] == ["id-3"]
    assert len([each async for each in client.list("n", "w2")]) == 4


async def test_history_loads_payloads_and_records(run, client):
    await client.save("n", "w", b"first", format=FORMAT, checkpoint_id="a")
    await client.save("n", "w", {"x": b"\x00"}, format=FORMAT, checkpoint_id="b", parent_id="a")
    await client.attach("n", "w", "a", [holdfast.Record("k", b"r")])
    found = json.loads((await run("history", "n", "w", "--records", "--json"))[1])["checkpoints"]
    assert [(each["checkpoint_id"], each["parent_id"], each["data"]) for each in found] == [
        ("b", "a", {"x": "AA=="}),
        ("a", "", {"": "Zmlyc3Q="}),
    ]
    assert found[1]["records"] == [{"key": "k", "data": "cg=="}]
    lines = (await run("history", "n", "w"))[1].decode().splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["b", "a"]


@pytest.mark.parametrize(
    ("typed", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 130, 1), (b"\n", 130, 1), (b"\x04", 130, 1)]
)
async def test_deleting_all_is_confirmed_at_a_terminal(at_terminal, client, typed, code, left):
    await client.save("n", "w", b"x", format=FORMAT)
    found, shown = await at_terminal("delete", "n", "w", "--all", typed=typed)
    assert found == code
    assert b"delete every checkpoint of w in n? [y/N]" in shown
    assert (b"nothing was deleted" in shown) == bool(left)
    assert len([each async for each in client.list("n", "w")]) == left


async def test_deleting_all_asks_nothing_with_yes_or_without_a_terminal(at_terminal, run, client):
    await client.save("n", "w", b"x", format=FORMAT)
    code, shown = await at_terminal("delete", "n", "w", "--all", "--yes")
    assert (code, b"[y/N]" in shown) == (0, False)
    await client.save("n", "w", b"x", format=FORMAT)
    assert (await run("delete", "n", "w", "--all"))[0] == 0


async def test_calls_go_to_every_address_that_answers(run, served):
    several = f"ipv4:127.0.0.1:1,{served.target}"
    code, _, problem = await run("capabilities", "--load-balancing=round_robin", target=several)
    assert (code, problem) == (0, "")
    code, _, problem = await run("capabilities", "--load-balancing=random")
    assert code == 2
    assert "argument --load-balancing: invalid choice: 'random'" in problem
