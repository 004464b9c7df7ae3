"""Defects of authorization to plant in the real code, with the check that notices each."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from holdfast_server.api import page_tokens
from holdfast_server.api.call import Call
from holdfast_server.api.handlers import namespaces, saving
from holdfast_server.api.running_streams import RunningStreams
from holdfast_server.trust import verbs
from holdfast_server.trust.authorization import Authorization
from holdfast_server.trust.patterns import PatternMap
from holdfast_server.trust.policy import Policy

from tests.support import planted, rights


@dataclass(frozen=True)
class Mutant(planted.Mutant):
    """A broken rule, and the check that notices it.

    Attributes:
        check: raises AssertionError while the rule is broken.

    """

    check: Callable[[], Awaitable[None]] = rights.check_groups


def _needed(needs: Callable[..., tuple[verbs.Verb, ...]], rule: str, old: str, new: str, case: int) -> Mutant:
    """Return a wrong need of the call of a case."""
    return Mutant(rule, needs, old, new, partial(rights.check_exact_verbs, *rights.CASES[case]))


def _case(method: str) -> int:
    return next(index for index, case in enumerate(rights.CASES) if case[0] == method)


def _with(method: str, field: str) -> int:
    """Return the case of a method whose request has a field, or whose records have it."""
    return next(
        index for index, (name, fields, _) in enumerate(rights.CASES) if name == method and field in str(fields)
    )


_METHODS = sorted({method for method, _, _ in rights.CASES})
_LOOKUP = "return _NEEDS[method](request)"
_DENIED = partial(rights.check_denied_elsewhere, *rights.CASES[_case("Load")][:2])

MUTANTS = (
    *(
        Mutant(
            f"{method} needs no right",
            verbs.needed,
            _LOOKUP,
            f'return () if method == "{method}" else _NEEDS[method](request)',
            partial(rights.check_denied_elsewhere, *rights.CASES[_case(method)][:2]),
        )
        for method in _METHODS
    ),
    _needed(
        verbs.needed,
        "a copy needs no right to read its source",
        _LOOKUP,
        'return _NEEDS[method](request)[method == "CopyWorkflow" :]',
        _case("CopyWorkflow"),
    ),
    _needed(
        verbs.needed,
        "a copy needs no right to write its target",
        _LOOKUP,
        'return _NEEDS[method](request)[: 1 if method == "CopyWorkflow" else 2]',
        _case("CopyWorkflow"),
    ),
    _needed(
        verbs._save,
        "a save that replaces needs no right to delete",
        "header.replace or ",
        "",
        _with("Save", "replace: true"),
    ),
    _needed(
        verbs._save,
        "a save with a ttl needs no right to delete",
        ' or header.HasField("ttl")',
        "",
        _with("SaveStream", "ttl {"),
    ),
    _needed(
        verbs._attach_records,
        "records that replace others need no right to delete",
        "if any(record.replace for record in request.records)",
        "if False",
        _with("AttachRecords", "'replace': True"),
    ),
    Mutant("no call is decided", Call.set_request, "self.require_right(self.principal)", "pass", _DENIED),
    Mutant(
        "a stream is not decided when its first message comes",
        saving.save_stream,
        "call.set_request(first)",
        "call._header = first.header",
        partial(rights.check_denied_elsewhere, *rights.CASES[_case("SaveStream")][:2]),
    ),
    Mutant(
        "a pipeline is decided once, for all of its calls",
        Call.require_right,
        "if not self._authorization.is_on or self._decided is None:",
        'if not self._authorization.is_on or "Save" not in self.method:',
        rights.check_each_call_of_a_pipeline_alone,
    ),
    Mutant(
        "a denied call uses what the namespace may have in flight",
        Call.set_request,
        "refuse_malformed(request)",
        'self.permit.enter_namespace(getattr(getattr(request, "header", request), "namespace", ""))',
        partial(rights.check_uses_nothing_when_denied, *rights.CASES[_case("Load")][:2]),
    ),
    Mutant(
        "the namespace of a save is not looked for in its header",
        Call.require_right,
        'getattr(self._header, "namespace", None)',
        'getattr(self._decided, "namespace", None)',
        partial(rights.check_exact_verbs, *rights.CASES[_case("Save")]),
    ),
    Mutant(
        "one verb of several is enough",
        Authorization.require,
        "if verb not in given:",
        "if not given & set(verbs):",
        partial(rights.check_exact_verbs, *rights.CASES[_case("CopyWorkflow")]),
    ),
    Mutant(
        "the policy of the start is kept",
        Authorization.require,
        "self._current.value.verbs_of",
        'self.__dict__.setdefault("_first", self._current.value).verbs_of',
        rights.check_a_changed_policy_counts_at_once,
    ),
    Mutant(
        "a running stream is not decided again",
        RunningStreams._check_all,
        "stream.refusal or self._refusal_of(stream)",
        "None",
        rights.check_streams,
    ),
    Mutant(
        "every running stream ends when the policy changes",
        RunningStreams._refusal_of,
        "call.require_right(principal)",
        'call.require_right(type(principal).named("nobody"))',
        rights.check_streams,
    ),
    Mutant(
        "groups do not count",
        Authorization.require,
        "principal.identities, namespace",
        "(principal.name,), namespace",
        rights.check_groups,
    ),
    Mutant(
        "a principal has the rights of every other one",
        Policy._merge,
        "self._by_principal.matching(identity)",
        "self.entries",
        partial(rights.check_principals_that_resemble, "anonymous"),
    ),
    Mutant(
        "rights count in every namespace",
        Policy._decide,
        "self._rights(identities).matching(namespace)",
        "(entry.verbs for identity in identities for entry in self._by_principal.matching(identity))",
        _DENIED,
    ),
    Mutant(
        "the beginning of a pattern without a star is enough",
        PatternMap.matching,
        "yield from self._exact.get(text, ())",
        "yield from (each for key in self._exact if text.startswith(key) for each in self._exact[key])",
        partial(rights.check_namespaces_that_resemble, "a", "a%2f"),
    ),
    Mutant(
        "letters that differ in case are the same",
        PatternMap.matching,
        "yield from self._exact.get(text, ())",
        "yield from self._exact.get(text.lower(), ())",
        partial(rights.check_namespaces_that_resemble, "team-a", "Team-a"),
    ),
    Mutant(
        "blanks around a name do not count",
        PatternMap.matching,
        "yield from self._exact.get(text, ())",
        "yield from self._exact.get(text.strip(), ())",
        partial(rights.check_principals_that_resemble, "token:b "),
    ),
    Mutant(
        "the namespace of a page token is not compared",
        page_tokens.unbind,
        "token[:_MARK_CHARACTERS] != _mark(namespace) or ",
        "",
        rights.check_page_tokens,
    ),
    Mutant(
        "the state of the store is for everybody",
        Authorization.require,
        "self.require_admin(principal)",
        "pass",
        rights.check_the_store_is_for_administrators,
    ),
    Mutant(
        "who has every other right is an administrator",
        Authorization.require_admin,
        ".is_admin(principal.identities)",
        '.verbs_of(principal.identities, "")',
        rights.check_the_store_is_for_administrators,
    ),
    Mutant(
        "every namespace is listed for everybody",
        Authorization.readable,
        "self._current is None",
        "True",
        rights.check_namespaces_listed,
    ),
    Mutant(
        "a namespace is listed if its caller has any right in it",
        Policy.namespaces_of,
        "if verb in entry.verbs",
        "if entry.verbs",
        rights.check_namespaces_listed,
    ),
    Mutant(
        "a namespace is listed if it begins like one that its caller may read",
        namespaces._visible,
        "each.endswith(ANYTHING)",
        "True",
        rights.check_namespaces_listed,
    ),
    Mutant(
        "groups do not count in the list of namespaces",
        Authorization.readable,
        "principal.identities",
        "(principal.name,)",
        rights.check_namespaces_listed,
    ),
    Mutant(
        "an upload belongs to everybody who knows its request id",
        saving.get_upload,
        "call.principal.name",
        '"token:a"',
        rights.check_uploads,
    ),
)
