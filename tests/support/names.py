"""Names of parameters that are the same in each process: pytest-xdist compares them."""

import re


def name_of(value: object) -> str:
    """Return what `repr` does, without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
