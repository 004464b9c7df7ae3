"""Expectations of cases: each can be met, and each can fail."""

import pytest

from conformance.content import described, generated
from conformance.matching import differences

BIG = {"seed": 7, "size": "2000000"}

MET = [
    ({}, {"a": 1}),
    ({"a": {"b": "1"}}, {"a": {"b": "1", "c": 2}}),
    ([1, {"a": 1}], [1, {"a": 1, "b": 2}]),
    ({"a": {"at_least": 3}}, {"a": "3"}),
    ({"a": {"at_least": 3, "at_most": 5}}, {"a": 5}),
    ({"a": {"one_of": ["x", "y"]}}, {"a": "y"}),
    ({"a": {"not_one_of": ["x"]}}, {"a": "y"}),
    ({"a": {"matches": "b+"}}, {"a": "abba"}),
    ({"a": {"length": 2}}, {"a": [1, 2]}),
    ({"a": {"present": True}}, {"a": "x"}),
    ({"a": {"present": False}}, {}),
    ({"text": "abc"}, described(b"abc")),
    ({"base64": "AAE="}, described(b"\0\1")),
    (BIG, described(generated(7, 2_000_000))),
]
UNMET = [
    ({"a": 1}, {}),
    ({"a": 1}, {"a": True}),
    ({"a": {"b": "1"}}, {"a": "1"}),
    ([1], [1, 2]),
    ([], "abc"),
    ({"a": {"at_least": 3}}, {"a": 2}),
    ({"a": {"at_least": 3}}, {}),
    ({"a": {"at_most": 3}}, {"a": "4"}),
    ({"a": {"one_of": ["x", "y"]}}, {"a": "z"}),
    ({"a": {"not_one_of": ["x"]}}, {"a": "x"}),
    ({"a": {"matches": "b+"}}, {"a": None}),
    ({"a": {"length": 2}}, {"a": [1]}),
    ({"a": {"present": True}}, {"a": ""}),
    ({"a": {"present": False}}, {"a": [0]}),
    ({"text": "abc"}, described(b"abd")),
    ({"text": "abc"}, None),
    (BIG, described(generated(8, 2_000_000))),
]


@pytest.mark.parametrize(("expected", "found"), MET)
def test_an_expectation_is_met(expected, found):
    assert list(differences(expected, found)) == []


@pytest.mark.parametrize(("expected", "found"), UNMET)
def test_an_expectation_is_not_met(expected, found):
    assert list(differences(expected, found)) != []


def test_a_difference_names_its_place():
    [problem] = differences({"a": [{"b": 1}]}, {"a": [{"b": 2}]})
    assert problem == "a[0].b is 2, not 1"
