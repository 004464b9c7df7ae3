"""The report: which promise which client keeps, and which mutants were noticed, in Markdown."""

from collections.abc import Sequence

from conformance.run import FAILED, LEFT_OUT, PASSED, Outcome, Run

_SIGNS = {PASSED: "yes", LEFT_OUT: "-"}


def report(runs: Sequence[Run]) -> str:
    """Return the report of some runs with the same cases."""
    clients = [run.client or run.name for run in runs]
    rules = sorted({rule for run in runs for outcome in run.outcomes for rule in outcome.case.rules})
    lines = ["# Conformance", "", "A promise is kept if every case that holds it passed.", ""]
    lines += _table(["rule", *clients], [[rule, *(_verdict(_holding(run, rule)) for run in runs)] for rule in rules])
    names = [outcome.case.name for outcome in runs[0].outcomes]
    lines += ["", "## Cases", ""]
    lines += _table(
        ["case", *clients],
        [
            [name, *(_SIGNS.get(run.outcomes[index].verdict, "**no**") for run in runs)]
            for index, name in enumerate(names)
        ],
    )
    if any(run.mutants for run in runs):
        mutants = sorted({mutant for run in runs for mutant in run.mutants})
        lines += ["", "## Mutants", "", "How many of the cases that must fail with the mutant did.", ""]
        lines += _table(
            ["mutant", *clients],
            [[mutant, *(_noticed(run.mutants.get(mutant, [])) for run in runs)] for mutant in mutants],
        )
    return "\n".join(lines) + "\n"


def _holding(run: Run, rule: str) -> list[Outcome]:
    return [outcome for outcome in run.outcomes if rule in outcome.case.rules]


def _verdict(outcomes: Sequence[Outcome]) -> str:
    ran = [outcome for outcome in outcomes if outcome.verdict != LEFT_OUT]
    passed = sum(outcome.verdict == PASSED for outcome in ran)
    if not ran:
        return "-"
    return f"yes ({passed})" if passed == len(ran) else f"**no** ({passed} of {len(ran)})"


def _noticed(outcomes: Sequence[Outcome]) -> str:
    ran = [outcome for outcome in outcomes if outcome.verdict != LEFT_OUT]
    failed = sum(outcome.verdict == FAILED for outcome in ran)
    return f"{failed} of {len(ran)}" if ran else "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
