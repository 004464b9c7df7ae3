"""Deliberate breaks of the protos pass, others do not."""

import json
import shlex
import subprocess
import sys

import pytest

from tests.support.repository import ROOT

LISTED = (
    "proto/holdfast/v1/errors.proto",
    "FILE_SAME_JAVA_PACKAGE",
    'File option "java_package" changed from "" to "dev.holdfast.v1".',
)
UNLISTED = ("proto/holdfast/v1/errors.proto", "FIELD_SAME_TYPE", 'Field "1" changed its type.')


@pytest.fixture
def check(tmp_path):
    """Run the check with a buf that reports the given breaks for each module."""

    def run(*breaks, code=100):
        lines = [json.dumps({"path": path, "type": rule, "message": message}) for path, rule, message in breaks]
        buf = tmp_path / "buf"
        printed = "".join(f"echo {shlex.quote(line)}\n" for line in lines)
        buf.write_text(f"#!/bin/sh\n{printed}exit {code}\n")
        buf.chmod(0o755)
        command = [sys.executable, "tools/check_breaking.py", str(buf), "HEAD"]
        return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    return run


def test_no_break_passes(check):
    assert check(code=0).returncode == 0


def test_a_listed_break_passes(check):
    assert check(LISTED).returncode == 0


def test_any_other_break_fails_and_is_printed(check):
    checked = check(LISTED, UNLISTED)
    assert checked.returncode == 1
    assert ": ".join(UNLISTED) in checked.stdout
    assert ": ".join(LISTED) not in checked.stdout


def test_a_failure_of_buf_is_not_taken_for_no_breaks(check):
    assert check(code=1).returncode != 0
