"""The policy file: precise errors, what a pattern matches, and decisions like those of a plain reference."""

import re
from contextlib import suppress

import pytest
from holdfast_server.protocol.format.keys import namespace_prefix
from holdfast_server.trust.patterns import PatternMap, matches
from holdfast_server.trust.policy import Entry, Policy, PolicyError, parse
from holdfast_server.trust.verbs import Verb
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.budget import amount

GOOD = '[[policy]]\nprincipals = ["token:ci"]\nnamespaces = ["a"]\nverbs = ["read"]\n'
# Few letters, among them ones that case folding and normalisation make equal, and the star.
TEXTS = st.text("aA-*\u00e9e\u0301k\u212a", max_size=6)
PATTERNS = st.text("aA-\u00e9e\u0301k\u212a", max_size=4).flatmap(
    lambda text: st.sampled_from([text or "a", f"{text}*"])
)


def entry(**changes: str) -> str:
    fields = {"principals": '["token:ci"]', "namespaces": '["a"]', "verbs": '["read"]'} | changes
    return "[[policy]]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())


@pytest.mark.parametrize(
    ("pattern", "text", "does"),
    [
        ("team-a", "team-a", True),
        ("team-a", "team-a-b", False),
        ("team-a-*", "team-a-b", True),
        ("team-a-*", "team-a-", True),
        ("team-a-*", "team-a", False),
        ("*", "", True),
        ("*", "anything", True),
        ("a*", "a*", True),
        ("A", "a", False),
        ("\u00e9", "e\u0301", False),
        ("a", "a ", False),
        ("a", "a\n", False),
        ("a.*", "ab", False),
        ("[ab]", "a", False),
    ],
)
def test_a_star_at_the_end_stands_for_anything_and_nothing_else_does(pattern: str, text: str, does: bool):
    assert matches(pattern, text) is does


def reference(pattern: str, text: str) -> bool:
    """Match a pattern as a regular expression."""
    expression = "".join(".*" if letter == "*" else re.escape(letter) for letter in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


@settings(max_examples=amount(small=100, full=1000), deadline=None)
@given(st.lists(PATTERNS, max_size=8), TEXTS)
def test_a_map_of_patterns_finds_what_a_search_of_all_of_them_finds(patterns: list[str], text: str):
    found: PatternMap[int] = PatternMap()
    for index, pattern in enumerate(patterns):
        found.add(pattern, index)
    expected = [index for index, pattern in enumerate(patterns) if reference(pattern, text)]
    assert sorted(found.matching(text)) == expected
    assert [index for index, pattern in enumerate(patterns) if matches(pattern, text)] == expected


ENTRIES = st.builds(
    Entry,
    st.lists(PATTERNS, min_size=1, max_size=3).map(tuple),
    st.lists(PATTERNS, min_size=1, max_size=3).map(tuple),
    st.frozensets(st.sampled_from(Verb), min_size=1),
)


@settings(max_examples=amount(small=100, full=1000), deadline=None)
@given(st.lists(ENTRIES, max_size=6), st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
def test_a_decision_is_that_of_a_search_of_all_entries(entries: list[Entry], identities: list[str], namespace: str):
    policy = Policy(entries)
    expected = {
        verb
        for each in entries
        for verb in each.verbs
        if any(reference(pattern, identity) for pattern in each.principals for identity in identities)
        and any(reference(pattern, namespace) for pattern in each.namespaces)
    }
    for _ in range(2):
        assert policy.verbs_of(tuple(identities), namespace) == expected


def test_kept_decisions_are_bounded():
    policy = parse(GOOD.encode())
    for number in range(10_000):
        policy.verbs_of(("token:ci",), str(number))
    assert policy.verbs_of.cache_info().currsize == 4096


def test_only_an_entry_for_all_namespaces_makes_an_administrator():
    admin = parse(entry(namespaces='["*"]', verbs='["admin"]').encode())
    assert admin.is_admin(("oidc:ann", "token:ci"))
    assert not admin.is_admin(("token:ci2",))
    assert not parse(GOOD.encode()).is_admin(("token:ci",))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected at least one [[policy]] entry, found none"),
        ("policy = []", "expected at least one [[policy]] entry, found none"),
        ('policy = "x"', "expected at least one [[policy]] entry, found none"),
        ("[[policy]\n", "expected TOML: "),
        ("[policies]\n", "policies: unknown setting; expected [[policy]] entries only"),
        (GOOD + "\n" + entry(verbs='["raed"]'), "policy entry 2, line 6: verbs[0]: expected one of read, write, "),
        (entry(verbs='["raed"]'), "got 'raed'"),
        (entry(verbs="[]"), "policy entry 1, line 1: verbs: expected a list of one or more texts, got []"),
        (entry(verbs='"read"'), "verbs: expected a list of one or more texts, got 'read'"),
        (entry(verbs="[1]"), "verbs: expected a list of one or more texts, got [1]"),
        (entry(namespace='["a"]'), "namespace: unknown field; expected principals, namespaces, verbs"),
        ('[[policy]]\nprincipals = ["token:ci"]\n', "namespaces: expected a list of one or more texts, got nothing"),
        (entry(namespaces='["a*b"]'), "namespaces[0]: expected * only at the end, got 'a*b'"),
        (entry(namespaces='["**"]'), "namespaces[0]: expected * only at the end, got '**'"),
        (entry(namespaces='["a", "b/c"]'), "namespaces[1]: must not contain a slash, got 'b/c'"),
        (entry(namespaces='[""]'), "namespaces[0]: must not be empty, got ''"),
        (entry(namespaces=f'["{"x" * 129}"]'), "namespaces[0]: expected at most 128 bytes of UTF-8"),
        (entry(principals='["ci"]'), 'principals[0]: expected kind:name such as "token:ci", "anonymous" or "*"'),
        (entry(principals='["token:*i"]'), "principals[0]: expected * only at the end"),
        (entry(principals='["token:"]'), "principals[0]: expected kind:name"),
        (entry(verbs='["admin"]'), 'verbs: admin concerns the whole server and needs the namespace "*"'),
        ("policy = [1]", "policy entry 1: expected a table, got 1"),
    ],
)
def test_an_error_names_entry_line_field_and_value(text: str, problem: str):
    with pytest.raises(PolicyError, match=re.escape(problem)):
        parse(text.encode())


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_break_the_parser(data: bytes):
    with suppress(PolicyError):
        assert parse(data).entries


@settings(max_examples=amount(small=100, full=1000), deadline=None)
@given(TEXTS, TEXTS)
def test_the_keys_of_two_namespaces_never_meet(one: str, other: str):
    """A decision about a namespace is one about exactly the keys below its prefix."""
    if one != other:
        assert not namespace_prefix(one).startswith(namespace_prefix(other))
