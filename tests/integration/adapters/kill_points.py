"""The points at which tests kill a program."""

from tests.integration.adapters.killing import Run
from tests.support.budget import amount, full


def ten_points(calm: Run) -> list[int]:
    """Return ten points spread over a calm run, including the first and the last."""
    last = len(calm.points)
    assert last >= 10, f"only {last} points"
    return sorted({1 + round(index * (last - 1) / 9) for index in range(10)})


# Indices into the ten points, for a test of each. The small budget has three.
TENTHS = [index if index in (0, 4, 9) else full(index) for index in range(10)]


def points(calm: Run) -> list[int]:
    """Return the ten points, or three of them with the small budget."""
    ten = ten_points(calm)
    return amount(small=[ten[0], ten[4], ten[9]], full=ten)
