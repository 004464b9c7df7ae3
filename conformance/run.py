"""Runs of cases: some at the same time, each with a limit of time."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from conformance.cases import Case
from conformance.driver import Driver, DriverError, driving
from conformance.drivers_file import Known
from conformance.places import Places
from conformance.scene import FailedError
from conformance.stage import staged

_CASES_AT_ONCE = 10
_MUTANTS_AT_ONCE = 5

PASSED, FAILED, BROKEN, LEFT_OUT = "passed", "failed", "broken", "left out"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended.

    Attributes:
        case: the case.
        verdict: PASSED, FAILED (the client broke a promise), BROKEN (the driver or the kit failed), or LEFT_OUT.
        why: the reason, in words.
        seconds: how long it took.

    """

    case: Case
    verdict: str
    why: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """The outcomes of one driver.

    Attributes:
        name: the driver's name.
        client: the client's name, as the driver gives it.
        outcomes: those of the cases, in their order.
        mutants: for each mutant those of the cases that must fail; nothing if the driver does not have the mutant.
        without_faults: those of the cases that rest on faults, without the faults.

    """

    name: str
    client: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    mutants: dict[str, list[Outcome]] = field(default_factory=dict)
    without_faults: list[Outcome] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words."""
        found = [
            f"{self.name}: {each.case.name} {each.verdict}: {each.why}"
            for each in self.outcomes
            if each.verdict in (FAILED, BROKEN)
        ]
        for mutant, outcomes in self.mutants.items():
            if not outcomes:
                found.append(f"{self.name}: the driver has no mutant {mutant}")
            found += [
                f"{self.name}: {each.case.name} {each.verdict} with the mutant {mutant}, where it must fail {each.why}"
                for each in outcomes
                if each.verdict in (PASSED, BROKEN)
            ]
        found += [
            f"{self.name}: {each.case.name} {each.verdict} without its faults, where it must fail {each.why}"
            for each in self.without_faults
            if each.verdict in (PASSED, BROKEN)
        ]
        return found


async def run(
    known: Known, cases: Sequence[Case], places: Places, *, has_mutants: bool, drops_faults: bool = False
) -> Run:
    """Run cases with a driver, and then those that its mutants must fail.

    Args:
        known: the driver.
        cases: the cases.
        places: the servers.
        has_mutants: whether to run the mutants.
        drops_faults: whether to run each case that rests on faults without them as well.

    Raises:
        DriverError: the driver cannot be started, or does not end.

    """
    found = Run(known.name)
    async with driving(known.command, known.folder) as driver:
        hello = (await driver.run({"op": "hello"}))["ok"]
        found.client = f"{hello['client']} {hello.get('version', '')}".strip()
        features = frozenset(hello["features"])
        found.outcomes = await _all(cases, driver, places, features)
        if drops_faults:
            resting = [case for case in cases if case.rests_on_faults]
            found.without_faults = await _all(resting, driver, places, features, has_faults=False)
    if has_mutants:
        catching: dict[str, list[Case]] = {}
        for case in cases:
            for mutant in case.catches if features.issuperset(case.needs) else ():
                catching.setdefault(mutant, []).append(case)
        turns = asyncio.Semaphore(_MUTANTS_AT_ONCE)

        async def mutated(mutant: str, chosen: Sequence[Case]) -> None:
            async with turns, driving(known.command, known.folder, mutant) as driver:
                found.mutants[mutant] = await _all(chosen, driver, places, features)

        async with asyncio.TaskGroup() as group:
            for mutant, chosen in sorted(catching.items()):
                found.mutants[mutant] = []
                if mutant in hello["mutants"]:
                    group.create_task(mutated(mutant, chosen))
    return found


async def _all(
    cases: Iterable[Case], driver: Driver, places: Places, features: frozenset[str], *, has_faults: bool = True
) -> list[Outcome]:
    turns = asyncio.Semaphore(_CASES_AT_ONCE)

    async def in_turn(case: Case) -> Outcome:
        async with turns:
            return await _one(case, driver, places, features, has_faults=has_faults)

    # Those that wait longest begin first.
    chosen = sorted(cases, key=lambda case: -case.limit_seconds)
    found = await asyncio.gather(*map(in_turn, chosen))
    return sorted(found, key=lambda outcome: outcome.case.name)


async def _one(case: Case, driver: Driver, places: Places, features: frozenset[str], *, has_faults: bool) -> Outcome:
    if missing := set(case.needs) - features:
        return Outcome(case, LEFT_OUT, f"the client does not have {', '.join(sorted(missing))}")
    if places.has_only_target and case.kills:
        return Outcome(case, LEFT_OUT, "the server runs elsewhere, and the case needs one of its own")
    began = time.monotonic()
    verdict, why = PASSED, ""
    try:
        async with asyncio.timeout(case.limit_seconds), staged(case, driver, places, has_faults=has_faults) as scene:
            await scene.run()
    except FailedError as error:
        verdict, why = FAILED, str(error)
    except TimeoutError:
        verdict, why = FAILED, f"it took longer than {case.limit_seconds:g} seconds"
    except (DriverError, KeyError, ValueError, RuntimeError, OSError) as error:
        verdict, why = BROKEN, f"{type(error).__name__}: {error}"
    return Outcome(case, verdict, why, time.monotonic() - began)
