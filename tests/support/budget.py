"""How much the tests search for: HOLDFAST_TEST_BUDGET is `small`, `full` (the default) or `largest`.

`make test` has the small budget, `make verify` the full one. With the small budget every suite runs, and every kind of
check, on fewer seeds, states and rounds. The largest one adds what takes half an hour or more.
"""

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest

BUDGETS = ("small", "full", "largest")
BUDGET = os.environ.get("HOLDFAST_TEST_BUDGET", "full")
if BUDGET not in BUDGETS:
    raise ValueError(f"invalid HOLDFAST_TEST_BUDGET {BUDGET!r}: expected one of {', '.join(BUDGETS)}")

_Amount = TypeVar("_Amount")


def amount(*, small: _Amount, full: _Amount) -> _Amount:
    """Return the amount that the budget allows."""
    return small if BUDGET == "small" else full


def allows(budget: str) -> bool:
    """Return whether the budget is at least as large as another one."""
    return BUDGETS.index(budget) <= BUDGETS.index(BUDGET)


def full(*values: object, id: str | None = None) -> object:  # noqa: A002 - the name is pytest's
    """Return a parameter whose test needs the full budget."""
    return pytest.param(*values, id=id, marks=pytest.mark.needs_budget("full"))


def all_with_full_budget(values: Sequence[object], *, small: int) -> list[object]:
    """Return parameters, all but the first few of which need the full budget."""
    return [*values[:small], *map(full, values[small:])]
