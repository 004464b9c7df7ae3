"""Why a run is or is not resumable: every reason in words, what a resume would do, and what to type."""

import ast
import json
import shlex
from contextlib import nullcontext
from datetime import UTC, datetime

import holdfast
import pytest
from holdfast import AcceptedFormat, Checkpoint, Format, Skipped, Validation
from holdfast.cli.parser import parse
from holdfast_server.console.resuming import outlook_of, recipes, words_of
from holdfast_server.console.resuming.words import REASONS
from holdfast_server.protocol.checkpoints import validate
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repository import ROOT

# What the command's own parser refuses, or what no shell can pass on, is left out.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
FORMATS = st.builds(
    lambda name, low, more: AcceptedFormat(name, low, low + more), NAMES, st.integers(1, 9), st.integers(0, 9)
)


def checkpoint(revision, version=1):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Checkpoint("n", "w", f"c{revision}", revision, "", Format("f", version), {}, (), 0, moment, None, 0, "r", "")


def finding(revision, reason):
    return Skipped(f"c{revision}", revision, reason, "the server's message")


def outcomes(validation, accepted=None):
    return {
        each.how: (each.checkpoint and each.checkpoint.revision, each.reason)
        for each in outlook_of(validation, accepted, "checksum").outcomes
    }


def test_every_reason_that_a_validation_can_give_has_words():
    assert set(REASONS) == {reason.value for reason in validate._FINDINGS}


def test_the_exceptions_in_words_are_those_of_the_reasons():
    listed = json.loads((ROOT / "proto/holdfast/v1/reasons.json").read_text())["reasons"]
    expected = {each["reason"]: each["python_exception"] for each in listed}
    for reason, words in REASONS.items():
        assert words.exception == expected[reason]
        assert issubclass(getattr(holdfast, words.exception), holdfast.WorkflowCheckpointResumeError)


def test_a_reason_of_a_newer_server_is_named():
    assert "BRAND_NEW" in words_of("BRAND_NEW").meaning


def test_a_whole_checkpoint_is_loaded():
    good = checkpoint(7)
    found = outlook_of(Validation(True, (), good, good), None, "presence")
    assert found.is_resumable
    assert found.headline == "Can be resumed, from revision 7."
    assert "Bytes were not read" in found.depth
    assert outcomes(Validation(True, (), good, good)) == {"resume": (7, "")}


def test_an_older_version_is_migrated():
    good = checkpoint(7, version=2)
    found = outlook_of(Validation(True, (), good, good), AcceptedFormat("f", 1, 4), "checksum")
    assert "migrated from version 2 to 4" in found.outcomes[0].text


def test_a_fallback_passes_over_damage():
    damaged = (finding(9, "CHECKPOINT_CORRUPTED"), finding(8, "CHECKPOINT_CORRUPTED"))
    assert outcomes(Validation(False, damaged, checkpoint(9), checkpoint(7))) == {
        "without fallback": (None, "CHECKPOINT_CORRUPTED"),
        "with fallback": (7, ""),
        "by id": (7, ""),
    }


def test_a_fallback_does_not_pass_over_another_format():
    found = (finding(9, "CHECKPOINT_CORRUPTED"), finding(8, "FORMAT_INCOMPATIBLE"))
    assert outcomes(Validation(False, found, checkpoint(9), checkpoint(7))) == {
        "without fallback": (None, "CHECKPOINT_CORRUPTED"),
        "with fallback": (None, "FORMAT_INCOMPATIBLE"),
        "by id": (7, ""),
    }
    assert outcomes(Validation(False, found[1:], checkpoint(8), None)) == {
        "without fallback": (None, "FORMAT_INCOMPATIBLE")
    }


def test_nothing_is_left_if_everything_is_damaged():
    found = outlook_of(Validation(False, (finding(1, "CHECKPOINT_CORRUPTED"),), None, None), None, "marker")
    assert found.headline == "Cannot be resumed as it is: damaged. No checkpoint of it can be loaded."
    assert found.outcomes[1].exception == "CheckpointCorruptedError"


async def test_the_outlook_is_what_a_resume_really_does(tmp_path):
    async with holdfast.AsyncClient(f"file://{tmp_path}") as client:
        await client.save("n", "w", b"x", format=Format("f", 1))
        await client.save("n", "w", b"y", format=Format("g", 1))
        for name in ("f", "g"):
            accepted = AcceptedFormat(name, 1, 1)
            validation = await client.validate("n", "w", accepted_formats=[accepted])
            for outcome in outlook_of(validation, accepted, "checksum").outcomes:
                if outcome.how == "by id":
                    assert (await client.load("n", "w", outcome.checkpoint.checkpoint_id)).revision == 1
                elif outcome.checkpoint is not None:
                    assert (await client.resume("n", "w", format=Format(name, 1))).revision == 2
                else:
                    with pytest.raises(getattr(holdfast, outcome.exception)):
                        await client.resume("n", "w", format=Format(name, 1))


@given(NAMES, NAMES, FORMATS | st.none(), NAMES | st.just(""), st.booleans())
def test_commands_can_be_copied_to_a_shell_whatever_the_ids_contain(
    namespace, workflow_id, accepted, last_good, fallback
):
    found = recipes("h:1", namespace, workflow_id, accepted, last_good_id=last_good, fallback=fallback)
    commands = [shlex.split(each.text) for each in found if each.language == "sh"]
    assert len(commands) == 1 + bool(accepted) + bool(last_good)
    for command in commands:
        assert command[0] == "holdfast"
        given = parse(command[1:])
        assert (given.target, given.namespace, given.workflow) == ("h:1", namespace, workflow_id)
        if command[1] == "resume-check":
            assert given.format == Format(accepted.name, accepted.max_version)
            assert (given.oldest or accepted.max_version) == accepted.min_version
        elif given.checkpoint:
            assert given.checkpoint == last_good
        else:
            assert given.accept == ([accepted] if accepted else [])
            assert given.fallback == fallback


@given(st.text(min_size=1), st.text(min_size=1), FORMATS | st.none(), st.booleans())
def test_code_can_be_copied_to_a_program_whatever_the_ids_contain(namespace, workflow_id, accepted, fallback):
    (code,) = (
        each.text
        for each in recipes("", namespace, workflow_id, accepted, fallback=fallback)
        if each.language == "python"
    )
    assert code.isascii() or code.isprintable() or all(line.isprintable() for line in code.split("\n"))
    program = ast.parse(code)
    calls = [
        node
        for node in ast.walk(program)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("load", "resume")
    ]
    assert len(calls) == 1
    assert [ast.literal_eval(argument) for argument in calls[0].args] == [namespace, workflow_id]
    keywords = {keyword.arg: keyword.value for keyword in calls[0].keywords}
    assert ("fallback" in keywords) == fallback
    if accepted is not None:
        assert [ast.literal_eval(argument) for argument in keywords["format"].args] == [
            accepted.name,
            accepted.max_version,
        ]
        assert ("migrations" in keywords) == (accepted.min_version < accepted.max_version)


def test_the_code_really_resumes(tmp_path, capsys):
    target = f"file://{tmp_path}"
    with holdfast.Client(target) as client:
        client.save("it's", 'a "b" $c', b"x", format=Format("f", 1), checkpoint_id="c")
    for accepted in (None, AcceptedFormat("f", 1, 1), AcceptedFormat("f", 1, 9)):
        code = next(each.text for each in recipes(target, "it's", 'a "b" $c', accepted) if each.language == "python")
        with (
            pytest.raises(holdfast.FormatIncompatibleError) if accepted == AcceptedFormat("f", 1, 9) else nullcontext()
        ):
            exec(compile(code, "copied", "exec"), {})
            assert capsys.readouterr().out.startswith("c 1 Format")


@pytest.mark.parametrize(
    ("workflow_id", "thread", "place"),
    [("t", "t", ""), ("a%2Fb#sub%7C1", "a/b", "sub|1"), ("%#%", "", ""), ("it's", "it's", "")],
)
def test_the_thread_of_a_workflow_of_langgraph_is_named(workflow_id, thread, place):
    found = recipes("h:1", "n", workflow_id, AcceptedFormat("langgraph-checkpoint", 1, 1))
    code = found[-1].text
    program = ast.parse(code)
    (config,) = (
        node
        for node in ast.walk(program)
        if isinstance(node, ast.Dict)
        and isinstance(node.keys[0], ast.Constant)
        and node.keys[0].value == "configurable"
    )
    assert ast.literal_eval(config)["configurable"] == {"thread_id": thread, "checkpoint_ns": place}


def test_a_thread_whose_name_is_only_known_by_its_digest_has_no_code():
    found = recipes("h:1", "n", "%!0123", AcceptedFormat("langgraph-checkpoint", 1, 1))
    assert [each.title for each in found][-1] == "Resume it in Python"
