"""The head that the command prints is accepted by a later command, which then notices a log that was rolled back."""

import json

import pytest

NEWER = f"9:{'ab' * 32}"


async def saved_head(run, *arguments):
    code, out, _ = await run("save", "n", "w", "-", "--format", "f:1", "--json", *arguments, stdin=b"x")
    assert code == 0
    return json.loads(out)["head"]


async def test_a_head_that_save_has_printed_is_accepted(run, tmp_path):
    first = await saved_head(run)
    second = await saved_head(run)
    assert first.startswith("1:")
    for head in (first, second):
        code, out, _ = await run("load", "n", "w", "--json", "--output", str(tmp_path / "f"), "--not-before", head)
        assert (code, json.loads(out)["head"]) == (0, second)
        code, out, _ = await run("validate", "n", "w", "--json", "--not-before", head)
        assert (code, json.loads(out)["head"]) == (0, second)
        assert (await run("resume-check", "n", "w", "--format", "f:1", "--not-before", head))[0] == 0
    _, out, _ = await run("workflows", "n", "--json")
    assert [each["head"] for each in json.loads(out)["workflows"]] == [second]


@pytest.mark.parametrize(
    "command", [("load", "n", "w"), ("validate", "n", "w"), ("resume-check", "n", "w", "--format", "f:1")]
)
async def test_an_older_log_ends_the_command(run, command):
    await saved_head(run)
    code, out, err = await run(*command, "--not-before", NEWER)
    assert (code, out) == (4, b"")
    assert "error: ROLLED_BACK: the log of workflow 'w' in namespace 'n' was rolled back" in err
    assert "head_revision: 1" in err
    assert "seen_revision: 9" in err
    code, _, err = await run(*command, "--not-before", NEWER, "--json")
    assert (code, json.loads(err)["error"]["reason"]) == (4, "ROLLED_BACK")


async def test_a_workflow_without_a_log_ends_the_command(run):
    code, _, err = await run("load", "n", "never", "--not-before", NEWER)
    assert (code, "ROLLED_BACK" in err) == (4, True)


async def test_what_is_no_head_is_a_wrong_argument(run):
    code, _, err = await run("load", "n", "w", "--not-before", "9")
    assert code == 2
    assert "--not-before: invalid head '9': expected REVISION:DIGEST" in err
