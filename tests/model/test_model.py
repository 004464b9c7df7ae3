"""Every interleaving of small scenarios keeps every promise, and each broken rule is noticed."""

import os

import pytest

from tests.model.explore import Scenario, explore
from tests.model.protocol import DELETED, FENCE, Collector, Reader, Save, Writer

LARGE = bool(os.environ.get("HOLDFAST_MODEL_LARGE"))

# The small ones first: most mutants need no more.
SCENARIOS = [
    Scenario(
        "compare-and-set",
        (
            Writer((Save("a", expected=0), Save("b", expected=1))),
            Writer((Save("c", expected=0), Save("d", expected=1))),
        ),
    ),
    Scenario(
        "a writer is fenced",
        (Writer((Save("a", epoch=0), Save("b", epoch=0))), Writer((Save("f", kind=FENCE), Save("c", epoch=1)))),
    ),
    Scenario(
        "two collections",
        (Writer((Save("a", has_blob=True), Save("b")), losses=0, retries=0), Collector(2), Collector(1)),
        ticks=2,
    ),
    Scenario(
        "an unknown outcome beside a collection",
        (Writer((Save("a", has_blob=True),)), Writer((Save("b"),), losses=0, retries=0), Collector(1)),
        ticks=1,
    ),
    Scenario(
        "uploads beside a collection",
        (Writer((Save("a", has_blob=True), Save("b", has_blob=True)), losses=0), Collector(2), Reader(1)),
        ticks=2,
    ),
    Scenario(
        "a stale reader",
        (Writer((Save("a"), Save("b"), Save("c")), losses=0, retries=0), Collector(2), Reader(2)),
        ticks=2,
    ),
    Scenario(
        "deletions beside a writer that lost its slot",
        (
            Writer((Save("a"), *(Save(each, kind=DELETED) for each in "xyz")), losses=0, retries=0),
            Writer((Save("c"),), losses=0, retries=0),
            Collector(1),
        ),
        ticks=1,
    ),
    Scenario(
        "deletion beside a stale writer",
        (
            Writer((Save("a"), Save("x", kind=DELETED)), losses=0, retries=0),
            Writer((Save("c"),), retries=0),
            Collector(2),
        ),
        ticks=2,
    ),
    Scenario("two writers race", (Writer((Save("a"), Save("b"))), Writer((Save("c"), Save("d"))), Reader(1))),
]
LARGER = [
    Scenario(
        "uploads beside two collections",
        (
            Writer((Save("a", has_blob=True), Save("b", has_blob=True))),
            Writer((Save("c", has_blob=True),)),
            Collector(2),
        ),
        ticks=2,
    ),
    Scenario(
        "fence, delete and collection",
        (
            Writer((Save("a", epoch=0), Save("b", epoch=0, has_blob=True))),
            Writer((Save("f", kind=FENCE), Save("x", kind=DELETED), Save("c", epoch=1))),
            Collector(2),
        ),
        ticks=2,
    ),
]
MUTANTS = [
    "own 412 taken for a loss",
    "doubt taken for a failure",
    "cleans up after an unknown outcome",
    "slot skipped",
    "floor ignored",
    "low-water mark ignored",
    "reads references before its marker",
    "epoch not compared",
    "acknowledges without recency",
    "newest marker removed on delete",
    "no replay",
    "slot that was lost taken for the head",
    "appends again where it was collected",
    "late retry accepted",
    "no compare-and-set",
    "put overwrites",
    "no grace",
    "floor of now",
    "stale cache believed",
    "damage believed",
]


@pytest.mark.timeout(3600 if LARGE else 180)
@pytest.mark.parametrize("scenario", SCENARIOS + (LARGER if LARGE else []), ids=lambda each: each.name)
def test_every_interleaving_keeps_every_promise(scenario, record_property):
    result = explore(scenario, most=10**9 if LARGE else 1_000_000)
    record_property("states", result.states)
    assert not result.violation, (result.violation, *result.trace)
    assert result.states > 100


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_yields_a_counterexample(mutant):
    for scenario in SCENARIOS:
        result = explore(scenario, frozenset({mutant}), most=1_000_000)
        if result.violation:
            assert result.trace
            return
    pytest.fail(f"nobody noticed: {mutant}")
