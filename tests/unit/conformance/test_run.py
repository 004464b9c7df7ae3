"""The runner distinguishes a client that breaks a promise from a driver or a kit that does not work."""

import sys
from pathlib import Path

import pytest

from conformance.cases import Case
from conformance.driver import DriverError
from conformance.drivers_file import Known
from conformance.places import Places
from conformance.report import report
from conformance.run import BROKEN, FAILED, LEFT_OUT, PASSED, run

# A driver that gives the answers of its first argument, a mapping of op to answer.
DRIVER = """
import json, sys
answers = json.loads(sys.argv[1])
for line in sys.stdin:
    command = json.loads(line)
    answer = answers.get(command["op"], {"ok": {}})
    if "--mutant" in sys.argv:
        answer = answers.get("mutant", answer) if command["op"] == "load" else answer
    if answer == "end":
        sys.exit(3)
    print(json.dumps({"id": command["id"], **answer}), flush=True)
"""
HELLO = '"hello": {"ok": {"client": "Fake", "features": ["files"], "mutants": ["strips_details"]}}'
LOAD = Case("group/loads", rules=["load"], steps=[{"call": "load", "expect": {"revision": "1"}}], place="nowhere")


async def outcome(tmp_path: Path, answers: str, *cases: Case, has_mutants: bool = False):
    known = Known("fake", [sys.executable, "-c", DRIVER, f"{{{HELLO}, {answers}}}"], tmp_path)
    async with Places(tmp_path) as places:
        return await run(known, cases or [LOAD], places, has_mutants=has_mutants)


async def test_a_client_that_does_what_is_expected_passes(tmp_path):
    found = await outcome(tmp_path, '"load": {"ok": {"revision": "1"}}')
    assert [each.verdict for each in found.outcomes] == [PASSED]
    assert found.problems == []
    assert "| load | yes (1) |" in report([found])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"ok": {"revision": "2"}}', "revision is '2', not '1'"),
        ('{"error": {"reason": "INTERNAL", "message": "oh"}}', "load failed with INTERNAL: oh"),
    ],
)
async def test_a_client_that_does_something_else_fails(tmp_path, answer, why):
    found = await outcome(tmp_path, f'"load": {answer}')
    [failed] = found.outcomes
    assert failed.verdict == FAILED
    assert why in failed.why
    assert found.problems
    assert "| load | **no** (0 of 1) |" in report([found])


async def test_an_error_that_is_expected_must_come(tmp_path):
    case = Case("group/fails", rules=["load"], steps=[{"call": "load", "fails": {"reason": "X"}}], place="nowhere")
    found = await outcome(tmp_path, '"load": {"ok": {}}', case)
    assert [each.verdict for each in found.outcomes] == [FAILED]
    found = await outcome(tmp_path, '"load": {"error": {"reason": "X"}}', case)
    assert [each.verdict for each in found.outcomes] == [PASSED]


async def test_a_driver_that_cannot_run_a_command_is_broken(tmp_path):
    found = await outcome(tmp_path, '"load": {"fault": "unknown op"}')
    assert [each.verdict for each in found.outcomes] == [BROKEN]


async def test_a_driver_that_ends_is_an_error(tmp_path):
    with pytest.raises((DriverError, ExceptionGroup)):
        await outcome(tmp_path, '"load": "end"')


async def test_a_case_that_needs_another_feature_is_left_out_by_name(tmp_path):
    case = Case("group/needs", rules=["load"], steps=LOAD.steps, needs=["pipeline"], place="nowhere")
    found = await outcome(tmp_path, '"load": {"ok": {}}', case)
    assert [(each.verdict, each.why) for each in found.outcomes] == [(LEFT_OUT, "the client does not have pipeline")]
    assert found.problems == []


async def test_a_script_whose_calls_were_never_made_fails_the_case(tmp_path):
    case = Case("group/script", rules=["load"], steps=LOAD.steps, place="scripted", script=[{"on": "Load"}])
    found = await outcome(tmp_path, '"load": {"ok": {"revision": "1"}}', case)
    assert [each.verdict for each in found.outcomes] == [FAILED]


async def test_a_mutant_that_nobody_notices_is_a_problem(tmp_path):
    case = Case("group/loads", rules=["load"], steps=LOAD.steps, catches=["strips_details"], place="nowhere")
    answers = '"load": {"ok": {"revision": "1"}}'
    found = await outcome(tmp_path, answers, case, has_mutants=True)
    assert ["must fail" in problem for problem in found.problems] == [True]
    noticed = await outcome(tmp_path, f'{answers}, "mutant": {{"ok": {{}}}}', case, has_mutants=True)
    assert noticed.problems == []
    broken = await outcome(tmp_path, f'{answers}, "mutant": {{"fault": "no"}}', case, has_mutants=True)
    assert len(broken.problems) == 1


async def test_a_mutant_that_a_driver_lacks_is_a_problem(tmp_path):
    case = Case("group/loads", rules=["load"], steps=LOAD.steps, catches=["drops_epoch"], place="nowhere")
    found = await outcome(tmp_path, '"load": {"ok": {"revision": "1"}}', case, has_mutants=True)
    assert found.problems == ["fake: the driver has no mutant drops_epoch"]
