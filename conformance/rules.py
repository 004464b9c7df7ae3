"""The rules of docs/clients.md: each is a heading of the third level, and names the cases that hold it.

`python -m conformance.rules` writes the names of the cases into the page.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from conformance.cases import Case, all_cases

PAGE = Path(__file__).parent.parent / "docs" / "clients.md"
_RULE = re.compile(r"^### (.+)$", re.MULTILINE)
_CASES = re.compile(r"^Cases: .*?\n(?=\n|\Z)", re.MULTILINE | re.DOTALL)
_WIDTH = 100


def rules_of(text: str) -> list[str]:
    """Return the rules of the page, in their order."""
    return [_slug(found) for found in _RULE.findall(text)]


def written(text: str, cases: Sequence[Case]) -> str:
    """Return the page with the names of the cases in each rule.

    Raises:
        ValueError: a rule has no paragraph of cases.

    """
    begin, *sections = re.split(r"^(?=### )", text, flags=re.MULTILINE)
    holding: dict[str, list[Case]] = {}
    for case in cases:
        for rule in case.rules:
            holding.setdefault(rule, []).append(case)
    return begin + "".join(_with_cases(section, holding) for section in sections)


def _with_cases(section: str, holding: Mapping[str, Sequence[Case]]) -> str:
    rule = rules_of(section)[0]
    groups: dict[str, list[str]] = {}
    for case in holding.get(rule, ()):
        groups.setdefault(case.group, []).append(case.name.partition("/")[2].replace("-", " "))
    named = "; ".join(f"*{group}*: {', '.join(names)}" for group, names in groups.items())
    lines = textwrap.fill(f"Cases: {named or 'none'}.", _WIDTH, break_on_hyphens=False)
    section, count = _CASES.subn(lambda _: lines + "\n", section, count=1)
    if not count:
        raise ValueError(f"the rule {rule} has no paragraph of cases")
    return section


def _slug(heading: str) -> str:
    return re.sub(r"\s+", "-", heading.lower())


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(), all_cases()))
