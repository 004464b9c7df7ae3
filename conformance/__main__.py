"""Run the conformance kit: python -m conformance --driver NAME [--mutants] [--target HOST:PORT] [--report FILE]."""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from conformance.cases import Case, CaseError, all_cases
from conformance.driver import DriverError
from conformance.drivers_file import Known, driver_of, known_drivers
from conformance.places import Places
from conformance.report import report
from conformance.run import LEFT_OUT, PASSED, Run, run


def main() -> int:
    """Run the cases. Return 0 if every client keeps every promise, and every mutant was noticed."""
    given = _parser().parse_args()
    try:
        cases = all_cases(given.case or ["*"])
        drivers = _present(
            [driver_of(each) for each in given.driver] or list(known_drivers().values()), bool(given.driver)
        )
        for driver in drivers:
            driver.make()
    except (CaseError, subprocess.CalledProcessError, OSError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    began = time.monotonic()
    runs = asyncio.run(_run(drivers, cases, given.target, has_mutants=given.mutants))
    if given.report == "-":
        print(report(runs))
    elif given.report:
        Path(given.report).write_text(report(runs))
    problems = [problem for each in runs for problem in each.problems]
    for each in runs:
        _print(each, is_verbose=given.verbose)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(cases)} cases, {len(runs)} clients, {len(problems)} problems, {time.monotonic() - began:.0f} s")
    return 1 if problems else 0


async def _run(drivers: Sequence[Known], cases: Sequence[Case], target: str, *, has_mutants: bool) -> list[Run]:
    found = []
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        async with Places(Path(folder), target) as places:
            for known in drivers:
                try:
                    # The faults are the kit's: one client shows that they matter.
                    drops_faults = has_mutants and known is drivers[0]
                    found.append(await run(known, cases, places, has_mutants=has_mutants, drops_faults=drops_faults))
                except* DriverError as faults:
                    raise SystemExit(f"conformance: {known.name}: {faults.exceptions[0]}") from None
    return found


def _present(drivers: Sequence[Known], is_named: bool) -> list[Known]:
    """Return the drivers whose tools this machine has. In CI all of them must be there."""
    for driver in drivers:
        if driver.missing:
            said = f"{driver.name} is left out: {', '.join(driver.missing)} is not installed"
            if is_named or os.environ.get("CI"):
                raise CaseError(said)
            print(said, file=sys.stderr)
    return [driver for driver in drivers if not driver.missing]


def _print(found: Run, *, is_verbose: bool) -> None:
    passed = sum(each.verdict == PASSED for each in found.outcomes)
    left_out = [each for each in found.outcomes if each.verdict == LEFT_OUT]
    print(f"{found.name}: {passed} of {len(found.outcomes) - len(left_out)} cases passed")
    for each in left_out:
        print(f"{found.name}: {each.case.name} is left out: {each.why}")
    if found.mutants:
        noticed = sum(bool(outcomes) for outcomes in found.mutants.values())
        print(f"{found.name}: {noticed} of {len(found.mutants)} mutants ran")
    if found.without_faults:
        print(f"{found.name}: {len(found.without_faults)} cases ran without their faults")
    if is_verbose:
        named = [("", each) for each in found.outcomes]
        named += [(f" ({mutant})", each) for mutant, outcomes in found.mutants.items() for each in outcomes]
        for mutant, each in sorted(named, key=lambda pair: -pair[1].seconds):
            print(f"{each.seconds:6.2f} s  {each.verdict}  {each.case.name}{mutant}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--driver", action="append", default=[], help="a name of drivers.toml, or a command line")
    parser.add_argument("--case", action="append", help="only cases whose names match, such as 'fencing/*'")
    parser.add_argument("--mutants", action="store_true", help="check that each mutant of the driver is noticed")
    parser.add_argument("--target", default="", help="a server that runs already, host:port")
    parser.add_argument("--report", help="write the report to this file; - for standard output")
    parser.add_argument("--verbose", action="store_true", help="print the time of each case")
    return parser


if __name__ == "__main__":
    sys.exit(main())
