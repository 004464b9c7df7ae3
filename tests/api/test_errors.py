"""The one table of reasons, and who must agree with it."""

from pathlib import Path

import holdfast
import pytest
from holdfast.errors import of_reason
from holdfast.v1 import errors_pb2
from holdfast_server.api.errors import code_of
from holdfast_server.protocol.errors import Reason

VALUES = errors_pb2.ErrorReason.DESCRIPTOR.values[1:]
NAMES = [value.name.removeprefix("ERROR_REASON_") for value in VALUES]


def test_the_server_knows_exactly_the_reasons_of_the_table():
    assert sorted(Reason) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_reason_is_a_class_of_its_own_in_the_client_with_the_servers_code(name):
    error = of_reason(name, "message")
    assert type(error) is not holdfast.HoldfastError
    assert type(error) is not holdfast.WorkflowCheckpointResumeError
    assert error.code is code_of(Reason(name))
    assert error.advice


def test_the_page_of_errors_is_the_table():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "errors.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and "_" in line.split("|")[1]]
    for value, name in zip(VALUES, NAMES, strict=True):
        traits = value.GetOptions().Extensions[errors_pb2.traits]
        retried = "yes" if traits.retryable else "no"
        row = f"| {name} | {code_of(Reason(name)).name} | {retried} | {traits.advice} |"
        assert row in page
    assert len(rows) >= len([name for name in NAMES if "_" in name])
