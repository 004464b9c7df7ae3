"""Shrink a plan that breaks a promise to fewer steps and faults that still break one."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.verification.simulation.plans import Plan, without
from tests.verification.simulation.workload import Outcome

Judge = Callable[[Plan], Outcome]


def shrink(plan: Plan, judge: Judge) -> Plan:
    """Leave out steps, then faults, in ever smaller chunks, while the run still breaks a promise.

    The algorithm is ddmin, once through (Zeller and others: "Simplifying and Isolating Failure-Inducing Input").
    """
    names = _fewest(
        [step.name for step in plan.steps],
        lambda left_out: bool(judge(without(plan, set(left_out))).violation),
    )
    plan = without(plan, names)
    network = judge(plan).network
    assert network is not None
    quiet = _fewest(
        network.struck,
        lambda left_out: bool(judge(_quieter(plan, left_out)).violation),
    )
    return _quieter(plan, quiet)


def _quieter(plan: Plan, requests: Sequence[str]) -> Plan:
    return replace(plan, weather=replace(plan.weather, quiet=plan.weather.quiet | frozenset(requests)))


def _fewest(everything: Sequence[str], still_fails: Callable[[Sequence[str]], bool]) -> set[str]:
    """Return the parts that can be left out."""
    out: list[str] = []
    chunk = max(1, len(everything) // 2)
    while True:
        for start in range(0, len(everything), chunk):
            more = [each for each in everything[start : start + chunk] if each not in out]
            if more and still_fails([*out, *more]):
                out += more
        if chunk == 1:
            return set(out)
        chunk //= 2
