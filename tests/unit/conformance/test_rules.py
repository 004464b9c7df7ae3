"""The page of rules, the cases, the mutants and the drivers name each other."""

import re
from collections import Counter

from conformance.cases import all_cases
from conformance.drivers.python.mutants import MUTANTS
from conformance.rules import PAGE, rules_of, written
from tests.support.repository import ROOT

CASES = all_cases()
_ROW = re.compile(r"^\| `(\w+)` \| .* \| ([\w-]+) \|$", re.MULTILINE)


def mutants_of_the_readme():
    return dict(_ROW.findall((ROOT / "conformance" / "README.md").read_text()))


def test_each_rule_has_a_case_and_each_case_a_rule():
    rules = rules_of(PAGE.read_text())
    assert Counter(rules).most_common(1)[0][1] == 1
    assert set(rules) == {rule for case in CASES for rule in case.rules}


def test_the_page_names_the_cases_that_hold_each_rule():
    assert written(PAGE.read_text(), CASES) == PAGE.read_text(), "run python -m conformance.rules"


def test_each_rule_states_the_cost_of_leaving_it_out():
    sections = re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    silent = [section.partition("\n")[0] for section in sections if "\nWithout" not in section]
    assert silent == ["Int64"]  # its first paragraph says it


def test_each_mutant_fails_a_case_and_each_group_has_a_mutant():
    caught = {mutant for case in CASES for mutant in case.catches}
    assert caught == set(mutants_of_the_readme()) == set(MUTANTS)
    assert {case.group for case in CASES if case.catches} == {case.group for case in CASES}


def test_the_readme_names_the_groups_of_the_mutants():
    groups = {case.group for case in CASES}
    caught = {mutant: {case.group for case in CASES if mutant in case.catches} for mutant in MUTANTS}
    assert set(mutants_of_the_readme().values()) <= groups
    assert {mutant for mutant, group in mutants_of_the_readme().items() if group not in caught[mutant]} == set()


def test_there_are_at_least_60_cases():
    assert len({case.name for case in CASES}) == len(CASES) >= 60
