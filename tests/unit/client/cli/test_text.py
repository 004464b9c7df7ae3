"""Ids and labels are printed unchanged, except for characters that control a terminal."""

import json
import re
import unicodedata

import holdfast
import pytest
from holdfast._core.errors import of_reason
from holdfast.cli.json_output import JsonOutput
from holdfast.cli.table_output import TableOutput
from holdfast.cli.text import is_text, printable, table
from hypothesis import given
from hypothesis import strategies as st

FORMAT = holdfast.Format("f", 1)
LONG = "run-" + "x" * 240
NAMES = [
    LONG,
    ":100:",
    "[red]bold",
    "[link=x]",
    "a b  c",
    "naïve-日本語-🎉",
    "%s %(x)s {0}",
    "\N{NO-BREAK SPACE}x",
    "-w",
]
HOSTILE = {
    "esc": "\x1b[31mred\x1b]0;title\x07",
    "markup": r"\[/x]",
    "bidi": "\u202egpj.exe",
    "c1": "\x9b2J",
    "nl": "a\nb\r\u2028c",
}


@pytest.mark.parametrize("name", NAMES)
async def test_an_id_is_piped_unchanged_whatever_its_length_and_characters(run, client, name):
    await client.save("n", name, b"x", format=FORMAT, checkpoint_id=name, labels={"label": name})
    code, out, err = await run("list", "n", "--", name, COLUMNS="20")
    assert (code, err) == (0, "")
    [_, line] = out.decode().splitlines()
    assert line.endswith(f"  label={name}")
    assert line.count(name) == 2
    _, out, _ = await run("workflows", "n", COLUMNS="20")
    assert out.decode().splitlines()[1].startswith(f"{name}  ")


async def test_an_id_is_shown_whole_at_a_terminal(at_terminal, client):
    await client.save("n", LONG, b"x", format=FORMAT, checkpoint_id=":100:" + LONG)
    code, shown = await at_terminal("list", "n", LONG)
    assert code == 0
    assert (":100:" + LONG).encode() in shown


@pytest.mark.parametrize("command", ["save", "list", "history"])
async def test_labels_that_control_a_terminal_are_escaped(run, client, command):
    labels = [part for key, value in HOSTILE.items() for part in ("--label", f"{key}={value}")]
    code, out, err = await run("save", "n", "w", "-", "--format", "f:1", *labels, stdin=b"x")
    if command != "save":
        code, out, err = await run(command, "n", "w")
    assert (code, err) == (0, "")
    line = out.decode().splitlines()[1]
    assert len(out.decode().splitlines()) == 2
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e\u2028]", line)
    assert r"esc=\x1b[31mred\x1b]0;title\x07" in line
    assert r"markup=\[/x]" in line
    assert r"nl=a\nb\r\u2028c" in line


async def test_characters_that_the_encoding_of_the_terminal_lacks_are_escaped(run_executable, client):
    await client.save("n", "日本🎉", b"x", format=FORMAT, labels={"ü": "ß"})
    for settings in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        code, out, err = await run_executable("list", "n", "日本🎉", **settings)
        assert (code, err) == (0, ""), settings
        assert rb"\xfc=\xdf" in out
        code, _, err = await run_executable("load", "n", "日本", **settings)
        assert code == 3
        assert "WORKFLOW_NOT_FOUND" in err


async def test_json_is_ascii_and_exact(run, client):
    await client.save("n", "w", b"x", format=FORMAT, labels=HOSTILE | {"del": "\x7f"})
    _, out, _ = await run("list", "n", "w", "--json")
    assert out.isascii()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", out)
    assert json.loads(out)["checkpoints"][0]["labels"] == HOSTILE | {"del": "\x7f"}


async def test_an_argument_that_is_not_utf_8_is_a_usage_error(shell):
    for command in ("$HOLDFAST list n $'\\xff'", "$HOLDFAST save n w - --format f:1 --label a=$'\\xff'"):
        code, out, err = await shell(command)
        assert (code, out) == (2, b"")
        assert "not valid UTF-8" in err
        assert len(err.splitlines()) == 1


async def test_a_wrong_argument_is_escaped_in_the_message(run):
    code, _, err = await run("list", "n", "w", "--no\x1b[31m")
    assert code == 2
    assert r"--no\x1b[31m" in err
    assert "\x1b" not in err


def test_an_error_of_a_server_is_escaped(capfdbinary):
    error = of_reason("INTERNAL", "a\x1b[2Jb\nc", metadata={"k\x9b": "\u202ev"}, trace_id="\x07")
    TableOutput().error(error)
    JsonOutput().error(error)
    shown = capfdbinary.readouterr().err.decode()
    assert r"a\x1b[2Jb\nc" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)


@given(st.text(alphabet=st.characters(codec=None)))
def test_an_escaped_text_is_one_line_and_keeps_its_printable_characters(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    if not {unicodedata.category(each) for each in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        assert shown == text


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_table_has_a_line_for_each_row_with_every_cell_whole(rows):
    lines = list(table(("a", "b"), rows))
    assert len(lines) == len(rows) + 1
    for line, (first, second) in zip(lines[1:], rows, strict=True):
        assert line.startswith(printable(first).rstrip(" "))
        assert line.rstrip(" ").endswith(printable(second).rstrip(" "))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": 1}\n', True),
        ("Grüße\r\n\t日本".encode(), True),
        (b"", True),
        (b"\x00", False),
        (b"\x1b[31m", False),
        (b"progress\rover", False),
        (b"\xff\xfe", False),
        ("\u202e".encode(), False),
    ],
)
def test_data_that_controls_a_terminal_is_not_text(data, expected):
    assert is_text(data) is expected
