"""The file of quotas: defaults, the first entry that matches, and errors that name the entry and the field."""

import asyncio
import contextlib

import pytest
from holdfast_server.trust.quotas import Quota, parse
from holdfast_server.trust.watched_file import InvalidFileError, watched
from hypothesis import given
from hypothesis import strategies as st

FILE = b"""
[default]
calls_per_second = 100
stored_bytes = 1000

[[quota]]
namespaces = ["team-a", "batch-*"]
calls_per_second = 5
stored_bytes = inf

[[quota]]
namespaces = ["batch-x", "last"]
workflows = 0
"""


def test_the_first_entry_that_matches_replaces_what_it_names():
    quotas = parse(FILE)
    assert quotas.of("other") == Quota(calls_per_second=100, stored_bytes=1000)
    assert quotas.of("team-a") == quotas.of("batch-x") == quotas.of("batch-") == Quota(calls_per_second=5)
    assert quotas.of("last") == Quota(calls_per_second=100, stored_bytes=1000, workflows=0)
    assert quotas.of("team-a2") == quotas.of("other")
    assert quotas.limit_stored


def test_an_empty_file_limits_nothing():
    assert parse(b"").of("n") == Quota()
    assert not parse(b"").limit_stored
    assert not parse(b"[default]\ncalls_in_flight = 5").limit_stored


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense", "expected TOML"),
        ("calls = 1", "calls: expected [default] and [[quota]] only"),
        ("default = 1", "default: expected a table"),
        ("quota = 1", "quota: expected entries"),
        ("[default]\ncalls = 1", "default: calls: unknown; expected one of calls_per_second, "),
        ("[default]\ncalls_per_second = 0", "default: calls_per_second: expected 0.001 or more, or inf, got 0"),
        ("[default]\nstored_bytes = -1", "default: stored_bytes: expected 0 or more, or inf, got -1"),
        ("[default]\nstored_bytes = nan", "got nan"),
        ("[default]\nstored_bytes = true", "got True"),
        ('[default]\nstored_bytes = "1"', "got '1'"),
        ("[[quota]]\nworkflows = 1", "quota 1: namespaces: expected a list of patterns, got None"),
        ('[[quota]]\nnamespaces = "a"', "got 'a'"),
        ("[[quota]]\nnamespaces = [1]", "got [1]"),
        ('[[quota]]\nnamespaces = ["a*b"]', "expected * at the end of a pattern only, got 'a*b'"),
        ('[[quota]]\nnamespaces = ["a"]\nx = 1', "quota 1: x: unknown"),
    ],
)
def test_what_is_wrong_is_named(text, problem):
    with pytest.raises(InvalidFileError) as caught:
        parse(text.encode())
    assert problem in str(caught.value)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_quotas_or_an_error(data):
    with contextlib.suppress(InvalidFileError):
        assert parse(data).of("n").calls_per_second > 0


async def until(is_so):
    while not is_so():  # noqa: ASYNC110 - the file is watched by a thread
        await asyncio.sleep(0.001)


async def test_a_changed_file_is_in_effect_and_a_broken_one_leaves_the_earlier_one(tmp_path, caplog):
    path = tmp_path / "quotas.toml"
    path.write_text("[default]\nworkflows = 1")
    async with watched(str(path), parse, check_seconds=0.001) as current, asyncio.timeout(20):
        path.write_text("[default]\nworkflows = x")
        await until(lambda: any("expected TOML" in str(vars(each)) for each in caplog.records))
        assert current.value.of("n").workflows == 1
        path.write_text("[default]\nworkflows = 2")
        await until(lambda: current.value.of("n").workflows == 2)
