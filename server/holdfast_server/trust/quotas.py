"""Quotas: how much each namespace may use, according to a TOML file.

The table of defaults counts for every namespace. The first entry whose patterns match a namespace replaces what it
names; `inf` lifts a default:

    [default]
    calls_per_second = 500
    stored_bytes = 100_000_000_000

    [[quota]]
    namespaces = ["batch", "batch-*"]
    calls_per_second = 50
    stored_bytes = inf

A `*` at the end of a pattern stands for any characters.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from math import inf
from typing import Any

from holdfast_server.trust.patterns import matches
from holdfast_server.trust.watched_file import InvalidFileError, text_of

_KEPT_NAMESPACES = 4096
_MOST = 1e18


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one namespace may use; infinity for no limit.

    Attributes:
        calls_per_second: calls, of one process; as many may come at once as in a second.
        bytes_per_second: bytes of requests and responses, of one process.
        calls_in_flight: calls at once, of one process, without watches.
        bytes_in_flight: bytes of payload that they hold in memory.
        streams_in_flight: streams and watches at once, of one process.
        stored_bytes: bytes of all objects in the store.
        workflows: workflows that have checkpoints.
        checkpoint_record_bytes: bytes of the records of one checkpoint.

    """

    calls_per_second: float = inf
    bytes_per_second: float = inf
    calls_in_flight: float = inf
    bytes_in_flight: float = inf
    streams_in_flight: float = inf
    stored_bytes: float = inf
    workflows: float = inf
    checkpoint_record_bytes: float = inf

    @property
    def limits_stored(self) -> bool:
        """Whether it limits what is in the store."""
        return min(self.stored_bytes, self.workflows) < inf


UNLIMITED = Quota()
# The least value of each; below it no call would succeed, or only some would.
_LEAST = {
    "calls_per_second": 0.001,
    "bytes_per_second": 1.0,
    "calls_in_flight": 1.0,
    "bytes_in_flight": 1.0,
    "streams_in_flight": 1.0,
}
_NAMES = tuple(each.name for each in fields(Quota))


@dataclass(frozen=True, slots=True)
class _Entry:
    patterns: tuple[str, ...]
    quota: Quota

    def matches(self, namespace: str) -> bool:
        return any(matches(pattern, namespace) for pattern in self.patterns)


class Quotas:
    """The quotas of all namespaces.

    Args:
        default: the quota of a namespace that no entry matches.
        entries: patterns of namespaces with their quotas, in order.

    """

    def __init__(self, default: Quota = UNLIMITED, entries: Sequence[tuple[tuple[str, ...], Quota]] = ()) -> None:
        self._default = default
        self._entries = [_Entry(patterns, quota) for patterns, quota in entries]
        self.of: Callable[[str], Quota] = lru_cache(maxsize=_KEPT_NAMESPACES)(self._of)

    @property
    def limit_stored(self) -> bool:
        """Whether any of them limits what is in the store."""
        return self._default.limits_stored or any(each.quota.limits_stored for each in self._entries)

    def _of(self, namespace: str) -> Quota:
        return next((each.quota for each in self._entries if each.matches(namespace)), self._default)


def parse(data: bytes) -> Quotas:
    """Parse a file of quotas.

    Raises:
        InvalidFileError: the content is invalid. The message names the entry and the field.

    """
    try:
        given = tomllib.loads(text_of(data))
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"expected TOML: {error}") from None
    unknown = sorted(set(given) - {"default", "quota"})
    if unknown:
        raise InvalidFileError(f"{unknown[0]}: expected [default] and [[quota]] only")
    default = _quota("default", given.get("default", {}), UNLIMITED)
    entries = given.get("quota", [])
    if not isinstance(entries, list):
        raise InvalidFileError("quota: expected entries that begin with [[quota]]")
    return Quotas(default, [_entry(f"quota {number}", each, default) for number, each in enumerate(entries, 1)])


def _entry(place: str, given: Any, default: Quota) -> tuple[tuple[str, ...], Quota]:
    patterns = given.pop("namespaces", None) if isinstance(given, dict) else None
    if not isinstance(patterns, list) or not patterns or not all(isinstance(each, str) and each for each in patterns):
        raise InvalidFileError(f"{place}: namespaces: expected a list of patterns, got {patterns!r}")
    for pattern in patterns:
        if "*" in pattern[:-1]:
            raise InvalidFileError(f"{place}: namespaces: expected * at the end of a pattern only, got {pattern!r}")
    return tuple(patterns), _quota(place, given, default)


def _quota(place: str, given: Any, default: Quota) -> Quota:
    if not isinstance(given, Mapping):
        raise InvalidFileError(f"{place}: expected a table, got {given!r}")
    for name, value in given.items():
        if name not in _NAMES:
            raise InvalidFileError(f"{place}: {name}: unknown; expected one of {', '.join(_NAMES)}")
        least = _LEAST.get(name, 0)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # The comparison rejects NaN as well.
        if not is_number or not (least <= value <= _MOST or value == inf):
            raise InvalidFileError(f"{place}: {name}: expected {least:g} or more, or inf, got {value!r}")
    return replace(default, **{name: float(value) for name, value in given.items()})
