"""Every parser with its kept inputs, and with random ones."""

import importlib.util
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.budget import amount
from tests.support.planted import planted
from tests.support.repository import ROOT
from tests.support.required import require
from tests.verification.fuzz.defects import DEFECTS
from tests.verification.fuzz.inputs import TARGETS, check, kept

INPUTS = [(target, path) for target in TARGETS for path in kept(target)]


@pytest.mark.parametrize(("target", "path"), INPUTS, ids=[f"{target}-{path.name}" for target, path in INPUTS])
def test_kept_inputs_break_no_parser(target, path):
    check(target, path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_no_bytes_break_a_parser(target):
    @settings(max_examples=amount(small=40, full=150), deadline=None, database=None, derandomize=True)
    @given(st.binary(max_size=400))
    def holds(data):
        check(target, data)

    holds()


@pytest.mark.parametrize("defect", DEFECTS, ids=[f"{each.target}-{each.name}" for each in DEFECTS])
def test_a_planted_defect_is_noticed_by_its_kept_input(defect):
    with planted(defect), pytest.raises(Exception):  # noqa: B017, PT011 - any but what the parser documents
        _replay(defect.target)


def test_every_target_has_a_defect_that_it_notices():
    assert {each.target for each in DEFECTS} == set(TARGETS)


def test_the_search_by_coverage_finds_a_planted_crash_and_keeps_its_input(tmp_path):
    if importlib.util.find_spec("atheris") is None:
        require("atheris is not installed: pip install --group fuzz")
    # The crash comes after three comparisons: coverage finds it, chance hardly does.
    planted_crash = (
        "import sys, tests.verification.fuzz.search as search\n"
        "from holdfast_server.protocol.format import manifest\n"
        "import tests.verification.fuzz.targets.manifest as target\n"
        "whole = target.check\n"
        "def check(data):\n"
        "    if data[:1] == b'h':\n"
        "        if data[1:2] == b'f':\n"
        "            if data[2:3] == b'!':\n"
        "                raise RuntimeError('planted')\n"
        "    whole(data)\n"
        "import atheris\n"
        "target.check = atheris.instrument_func(check)\n"
        "search.main()\n"
    )
    # Linux attributes the peak memory of this process to its children.
    limits = ["-runs=200000", "-seed=1", "-rss_limit_mb=0"]
    arguments = ["manifest", str(tmp_path), f"-artifact_prefix={tmp_path}/", *limits]
    run = subprocess.run(
        [sys.executable, "-c", planted_crash, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert run.returncode != 0, json.dumps(run.stderr[-2000:])
    assert "planted" in run.stdout + run.stderr
    assert [path.read_bytes()[:3] for path in tmp_path.glob("crash-*")] == [b"hf!"]


def _replay(target):
    for path in kept(target):
        check(target, path.read_bytes())
