"""Comparison of what happened with what a case expects.

A mapping matches if each of its fields does; a sequence if it has the same length and each item matches; bytes in the
notation of a command match their size and digest in an answer. These mappings are conditions: `at_least`, `at_most`,
`one_of`, `not_one_of`, `matches` (a regular expression), `length`, `present` (whether there is a value that is neither
empty nor false).
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.content import decoded, digest

_CONDITIONS = frozenset({"at_least", "at_most", "one_of", "not_one_of", "matches", "length", "present"})


def differences(expected: Any, found: Any, where: str = "") -> Iterator[str]:
    """Iterate over what does not match, in words."""
    name = where or "it"
    if isinstance(expected, Mapping):
        if expected and expected.keys() <= _CONDITIONS:
            yield from _unmet(expected, found, name)
        elif _is_bytes(expected):
            if not isinstance(found, Mapping) or (found.get("size"), found.get("sha256")) != _size_and_digest(expected):
                yield f"{name} is {_shown(found)}, not the bytes {dict(expected)}"
        elif not isinstance(found, Mapping):
            yield f"{name} is {_shown(found)}, not {_shown(expected)}"
        else:
            for key, value in expected.items():
                yield from differences(value, found.get(key), f"{where}.{key}" if where else key)
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != len(expected):
            count = f" ({len(found)} instead of {len(expected)})" if isinstance(found, Sequence) else ""
            yield f"{name} is {_shown(found)}{count}, not {_shown(expected)}"
        else:
            for index, value in enumerate(expected):
                yield from differences(value, found[index], f"{where}[{index}]")
    elif expected != found or isinstance(expected, bool) != isinstance(found, bool):
        yield f"{name} is {_shown(found)}, not {_shown(expected)}"


def _unmet(conditions: Mapping[str, Any], found: Any, name: str) -> Iterator[str]:
    for condition, value in conditions.items():
        match condition:
            case "present":
                met = bool(found) == value
            case "one_of":
                met = found in value
            case "not_one_of":
                met = found not in value
            case "length":
                met = isinstance(found, Sequence) and len(found) == value
            case "matches":
                met = isinstance(found, str) and re.search(value, found) is not None
            case "at_least":
                met = found is not None and float(found) >= float(value)
            case _:
                met = found is not None and float(found) <= float(value)
        if not met:
            yield f"{name} is {_shown(found)}: not {condition} {value!r}"


def _is_bytes(value: Mapping[str, Any]) -> bool:
    return value.keys() in ({"text"}, {"base64"}, {"seed", "size"})


def _size_and_digest(value: Mapping[str, Any]) -> tuple[str, str]:
    if "seed" in value:
        return value["size"], digest(value["seed"], int(value["size"]))
    data = decoded(value)
    return str(len(data)), hashlib.sha256(data).hexdigest()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]}…"
