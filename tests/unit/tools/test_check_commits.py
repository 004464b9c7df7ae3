import pytest

from tools import check_commits


@pytest.mark.parametrize(
    "message",
    [
        "stores: refuse a bucket without conditional writes\n\nOne save would overwrite another.\n",
        "client, cli: refuse a device that may have no end",
        "benchmarks/small: measure loads of 4 KiB",
        f"api: {'x' * 67}",
    ],
)
def test_an_area_and_an_imperative_pass(message):
    assert check_commits.problems_of(message) == []


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("Refuse a bucket", "expected a subject `area: imperative`"),
        ("stores: refuse a bucket.", "without a full stop"),
        (f"api: {'x' * 68}", "expected a subject of at most 72 characters, found 73"),
        ("api: refuse it\nbecause", "expected an empty line after the subject"),
    ],
)
def test_another_form_is_a_problem(message, problem):
    [found] = check_commits.problems_of(message)
    assert problem in found
