"""Every interleaving of small scenarios keeps every promise, and each broken rule is detected."""

import pytest

from tests.support.budget import full
from tests.verification.model.calls import Call
from tests.verification.model.explore import Scenario, explore
from tests.verification.model.mutants import MUTANTS
from tests.verification.model.scenarios import LARGER, SCENARIOS
from tests.verification.model.writer import Writer

MOST = 500_000
# Each of these has more than 60,000 states.
LONG = {
    "a claim of before a collection",
    "a purge beside a collection",
    "a purge of a base beside a collection",
    "a purge beside a stale writer",
    "a stale deletion",
    "a stale save on bases beside a collection",
    "bases beside deletions",
    "claims that a collection takes over",
    "deletion beside a stale writer",
    "deletions of the newest beside savers and readers",
    "fallback beside a collection",
    "forged markers beside a collection",
    "new ids beside a deletion and a collection",
    "pinned checkpoints beside a collection",
    "two writers race",
    "two writers race for an id",
    "two writers with new ids",
}
# In these a broken rule is noticed after few states.
QUICKLY_BROKEN = {
    "a purge beside a stale writer",
    "deletion beside a stale writer",
    "two writers race",
    "two writers race for an id",
}
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    "scenario", [full(each) if each.name in LONG else each for each in SCENARIOS], ids=lambda each: each.name
)
def test_every_interleaving_keeps_every_promise(scenario, record_property):
    require_every_promise(scenario, MOST, record_property)


@pytest.mark.needs_budget("largest")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", LARGER, ids=lambda each: each.name)
def test_every_interleaving_of_a_larger_scenario_keeps_every_promise(scenario, record_property):
    require_every_promise(scenario, 100 * MOST, record_property)


@pytest.mark.parametrize("mutant", [full(each) if MUTANTS[each] in LONG - QUICKLY_BROKEN else each for each in MUTANTS])
def test_a_broken_rule_yields_a_counterexample(mutant):
    scenario = next(each for each in SCENARIOS if each.name == MUTANTS[mutant])
    result = explore(scenario, frozenset({mutant}), most=MOST)
    assert result.violation, f"not detected: {mutant}"
    assert result.trace


def test_a_counterexample_is_the_shortest_way_to_break_a_promise():
    race = Scenario("race", (Writer((Call("a", expected=0),)), Writer((Call("b", expected=0),))))
    result = explore(race, frozenset({"no compare-and-set"}))
    assert result.violation == "b was committed on revision 1, expected 0"
    assert result.trace == (
        "Writer 0 reads the head",
        "Writer 0 reads the head",
        "Writer 0 puts and wins",
        "Writer 1 reads the head",
    )


def test_a_scenario_beyond_its_bounds_is_no_success():
    with pytest.raises(RuntimeError, match="more than 10 states"):
        explore(SCENARIOS[0], most=10)


def require_every_promise(scenario, most, record_property):
    result = explore(scenario, most=most)
    record_property("states", result.states)
    assert not result.violation, (result.violation, *result.trace)
    assert result.states > 100
