"""The policy: which principals have which rights in which namespaces. What no entry allows is denied.

A policy is a TOML file of entries. An entry gives each of its principals each of its verbs in each of its namespaces:

    [[policy]]
    principals = ["token:ci", "spiffe://prod/team-a/*", "oidc:group:ml"]
    namespaces = ["team-a", "team-a-*"]
    verbs = ["read", "write", "fence"]
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from holdfast_server.protocol.format.names import MAX_NAMESPACE_BYTES, problem_of
from holdfast_server.trust.patterns import ANYTHING, PatternMap
from holdfast_server.trust.verbs import Verb
from holdfast_server.trust.watched_file import InvalidFileError, text_of

_FIELDS = ("principals", "namespaces", "verbs")
_VERBS = ", ".join(Verb)
_ENTRY = re.compile(r"[ \t]*\[\[[ \t]*policy[ \t]*\]\]")
_KIND = re.compile("[a-z][a-z0-9+.-]*:.")
_MAX_PRINCIPAL_CHARACTERS = 4096
# Decisions, and merged entries of principals, that a policy keeps.
_KEPT_DECISIONS = 4096
_KEPT_PRINCIPALS = 1024


class PolicyError(InvalidFileError):
    """A policy is invalid. The message names the entry, its line and its field."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a policy.

    Attributes:
        principals: patterns of identities.
        namespaces: patterns of namespaces.
        verbs: what each of these principals may do in each of these namespaces.

    """

    principals: tuple[str, ...]
    namespaces: tuple[str, ...]
    verbs: frozenset[Verb]


class Policy:
    """A policy. It keeps its latest decisions.

    Args:
        entries: its entries.

    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self._by_principal: PatternMap[Entry] = PatternMap()
        for entry in self.entries:
            for pattern in entry.principals:
                self._by_principal.add(pattern, entry)
        self._rights = lru_cache(maxsize=_KEPT_PRINCIPALS)(self._merge)
        self.verbs_of = lru_cache(maxsize=_KEPT_DECISIONS)(self._decide)

    def is_admin(self, identities: tuple[str, ...]) -> bool:
        """Return whether a principal may do what concerns the whole server."""
        return any(
            Verb.ADMIN in entry.verbs for identity in identities for entry in self._by_principal.matching(identity)
        )

    def namespaces_of(self, identities: tuple[str, ...], verb: Verb) -> frozenset[str]:
        """Return the patterns of the namespaces in which a principal has a right."""
        return frozenset(
            pattern
            for identity in identities
            for entry in self._by_principal.matching(identity)
            if verb in entry.verbs
            for pattern in entry.namespaces
        )

    def _decide(self, identities: tuple[str, ...], namespace: str) -> frozenset[Verb]:
        """Return what a principal may do in a namespace.

        Args:
            identities: every identity of the principal.
            namespace: the namespace, exactly as it becomes a part of keys.

        """
        return frozenset().union(*self._rights(identities).matching(namespace))

    def _merge(self, identities: tuple[str, ...]) -> PatternMap[frozenset[Verb]]:
        """Return what all entries of a principal give, by the patterns of namespaces."""
        rights: PatternMap[frozenset[Verb]] = PatternMap()
        for identity in identities:
            for entry in self._by_principal.matching(identity):
                for pattern in entry.namespaces:
                    rights.add(pattern, entry.verbs)
        return rights


def parse(data: bytes) -> Policy:
    """Parse a policy file.

    Raises:
        PolicyError: it is not a policy.

    """
    try:
        text = text_of(data)
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"expected TOML: {error}") from None
    unknown = sorted(set(given) - {"policy"})
    if unknown:
        raise PolicyError(f"{unknown[0]}: unknown setting; expected [[policy]] entries only")
    entries = given.get("policy")
    # An empty file is more likely one that is being written than a policy that denies everything.
    if not isinstance(entries, list) or not entries:
        raise PolicyError("expected at least one [[policy]] entry, found none")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if _ENTRY.match(line)]
    parsed = []
    for number, each in enumerate(entries, 1):
        # Text of several lines may look like the beginning of an entry.
        line = f", line {lines[number - 1]}" if len(lines) == len(entries) else ""
        parsed.append(_entry(f"policy entry {number}{line}", each))
    return Policy(parsed)


def _entry(place: str, given: Any) -> Entry:
    if not isinstance(given, dict):
        raise PolicyError(f"{place}: expected a table, got {given!r}")
    unknown = sorted(set(given) - set(_FIELDS))
    if unknown:
        raise PolicyError(f"{place}: {unknown[0]}: unknown field; expected {', '.join(_FIELDS)}")
    texts = {field: _texts(f"{place}: {field}", given.get(field)) for field in _FIELDS}
    for field, problem_in in (("principals", _principal_problem), ("namespaces", _namespace_problem)):
        for index, text in enumerate(texts[field]):
            problem = problem_in(text)
            if problem:
                raise PolicyError(f"{place}: {field}[{index}]: {problem}, got {text[:200]!r}")
    for index, text in enumerate(texts["verbs"]):
        if text not in set(Verb):
            raise PolicyError(f"{place}: verbs[{index}]: expected one of {_VERBS}, got {text[:200]!r}")
    entry = Entry(texts["principals"], texts["namespaces"], frozenset(map(Verb, texts["verbs"])))
    if Verb.ADMIN in entry.verbs and ANYTHING not in entry.namespaces:
        raise PolicyError(f'{place}: verbs: admin concerns the whole server and needs the namespace "*" in its entry')
    return entry


def _texts(place: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
        got = "nothing" if given is None else repr(given)[:200]
        raise PolicyError(f"{place}: expected a list of one or more texts, got {got}")
    return tuple(given)


def _principal_problem(text: str) -> str:
    return next(_principal_problems(text), "")


def _principal_problems(text: str) -> Iterator[str]:
    if len(text) > _MAX_PRINCIPAL_CHARACTERS:
        yield f"expected at most {_MAX_PRINCIPAL_CHARACTERS} characters"
    if ANYTHING in text[:-1]:
        yield "expected * only at the end"
    if text not in (ANYTHING, "anonymous") and not _KIND.match(text):
        yield 'expected kind:name such as "token:ci", "anonymous" or "*"'


def _namespace_problem(text: str) -> str:
    # A namespace may contain stars. A pattern that ends in one matches it.
    if ANYTHING in text[:-1]:
        return "expected * only at the end"
    if not text:
        return "must not be empty"
    return problem_of(text.removesuffix(ANYTHING), MAX_NAMESPACE_BYTES)
