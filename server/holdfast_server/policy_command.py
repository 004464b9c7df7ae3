"""The command `policy check`: checks a policy file, and explains what it allows."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from holdfast_server.trust.patterns import matches
from holdfast_server.trust.policy import Entry, parse
from holdfast_server.trust.verbs import Verb
from holdfast_server.trust.watched_file import naming, read


def run_policy_check(path: str, identities: Sequence[str], namespace: str | None) -> None:
    """Check a policy file, and print what it has as a line of JSON.

    Args:
        path: the file.
        identities: the identities of a principal whose entries are shown; none for those of all principals.
        namespace: a namespace whose entries are shown; None for those of all namespaces.

    Raises:
        InvalidFileError: the file cannot be read or is not a policy. The message names the file.

    """
    with naming(f"{path!r}: "):
        policy = parse(read(path))
    found: dict[str, Any] = {"file": path, "entries": len(policy.entries)}
    if identities or namespace is not None:
        found["applying"] = [
            _described(number, entry)
            for number, entry in enumerate(policy.entries, 1)
            if (not identities or _any_matches(entry.principals, identities))
            and (namespace is None or _any_matches(entry.namespaces, [namespace]))
        ]
    if identities and namespace is not None:
        may = policy.verbs_of(tuple(identities), namespace)
        found["may"] = [verb for verb in Verb if verb in may]
        found["may_not"] = [verb for verb in Verb if verb not in may]
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def _any_matches(patterns: Sequence[str], texts: Sequence[str]) -> bool:
    return any(matches(pattern, text) for pattern in patterns for text in texts)


def _described(number: int, entry: Entry) -> dict[str, Any]:
    return {
        "entry": number,
        "principals": entry.principals,
        "namespaces": entry.namespaces,
        "verbs": [verb for verb in Verb if verb in entry.verbs],
    }
