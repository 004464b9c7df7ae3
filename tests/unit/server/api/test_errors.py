"""The one table of reasons, and the places that must agree with it."""

import json
import re
import subprocess
import sys

import holdfast
import pytest
from holdfast._core.errors import of_reason
from holdfast.v1 import checkpoint_service_pb2, errors_pb2
from holdfast_server.api.errors import code_of
from holdfast_server.protocol.errors import Reason

from tests.support.repository import ROOT

VALUES = errors_pb2.ErrorReason.DESCRIPTOR.values[1:]
NAMES = [value.name.removeprefix("ERROR_REASON_") for value in VALUES]


def test_the_server_knows_exactly_the_reasons_of_the_table():
    assert sorted(Reason) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_reason_has_a_class_of_its_own_in_the_client_with_the_servers_code(name):
    error = of_reason(name, "message")
    assert type(error) is not holdfast.HoldfastError
    assert type(error) is not holdfast.WorkflowCheckpointResumeError
    assert error.code is code_of(Reason(name))
    assert error.advice


def test_the_published_table_and_the_page_of_errors_are_not_stale():
    command = [sys.executable, "tools/generate_reasons.py", "--check"]
    checked = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_published_table_and_the_page_of_errors_agree_with_the_enum():
    published = json.loads((ROOT / "proto/holdfast/v1/reasons.json").read_text())["reasons"]
    page = (ROOT / "docs/reference/errors.md").read_text()
    for value, name, reason in zip(VALUES, NAMES, published, strict=True):
        traits = value.GetOptions().Extensions[errors_pb2.traits]
        exception, code = type(of_reason(name, "")).__name__, code_of(Reason(name))
        assert (reason["reason"], reason["number"]) == (name, value.number)
        assert (reason["status"], reason["status_code"]) == (code.name, code.value[0])
        assert (reason["retryable"], reason["advice"]) == (traits.retryable, traits.advice)
        assert getattr(holdfast, reason["python_exception"]).__name__ == exception
        assert reason["meaning"].endswith(".")
        assert reason["calls"], "no call lists it"

        retried = "yes" if traits.retryable else "no"
        assert f"| [{name}](#{name.lower()}) | {code.name} | {retried} | `{exception}` |" in page
        assert traits.advice in " ".join(page.split())


def test_every_reason_that_a_comment_lists_is_in_the_table():
    service = (ROOT / "proto/holdfast/v1/checkpoint_service.proto").read_text()
    listed = {name for names in re.findall(r"// - ([A-Z_, ]+):", service) for name in names.split(", ")}
    assert listed == set(NAMES)


def test_the_comment_of_every_call_lists_the_reasons_of_its_errors():
    service = (ROOT / "proto/holdfast/v1/checkpoint_service.proto").read_text()
    comments = dict(re.findall(r"((?:^  //.*\n)+)^  rpc (\w+)\(", service, re.MULTILINE))
    for comment, call in comments.items():
        lists = bool(re.search(r"// - [A-Z_, ]+:", comment))
        assert ("and for those of every call" in comment, "for the reasons of every call only" in comment) == (
            lists,
            not lists,
        ), call
    methods = checkpoint_service_pb2.DESCRIPTOR.services_by_name["CheckpointService"].methods
    assert sorted(comments.values()) == sorted(method.name for method in methods)
