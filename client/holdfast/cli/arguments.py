"""Texts of the command line as values. All raise argparse's own error, which names the argument."""

import math
import os
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from datetime import timedelta

from holdfast._core.checkpoint import AcceptedFormat, Format

_MAX_VERSION = 2**31 - 1
_MAX_TTL_SECONDS = 100 * 366 * 24 * 3600


def text(given: str) -> str:
    """Return an id, a name or a label's value, which the API takes as UTF-8."""
    try:
        # Bytes that the locale's encoding has no character for, such as UTF-8 in the locale C.
        return os.fsencode(given).decode()
    except UnicodeError:
        raise ArgumentTypeError(f"{given!r} is not valid UTF-8") from None


def required(given: str) -> str:
    """Return a text that is not empty, such as one of a shell variable that was never set."""
    if not given:
        raise ArgumentTypeError("must not be empty")
    return text(given)


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers within limits."""

    def parse(given: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,40}", given) or not low <= int(given) <= high:
            raise ArgumentTypeError(f"{given[:80]!r} is not a whole number from {low} to {high}")
        return int(given)

    return parse


def seconds(given: str) -> float:
    """Return a timeout: above 0, at most a day."""
    return _number(given, 86_400)


def duration(given: str) -> timedelta:
    """Return a time to live: above 0, at most 100 years."""
    return timedelta(seconds=_number(given, _MAX_TTL_SECONDS))


def format_(given: str) -> Format:
    """Return the format that NAME:VERSION names."""
    name, _, version = given.rpartition(":")
    if not name:
        raise ArgumentTypeError(f"{given!r} is not of the form NAME:VERSION")
    return Format(text(name), integer(1, _MAX_VERSION)(version))


def accepted(given: str) -> AcceptedFormat:
    """Return the formats that NAME:VERSION or NAME:MIN-MAX names."""
    found = re.fullmatch(r"(.+):([0-9]+)(?:-([0-9]+))?", given, re.DOTALL)
    if found is None:
        raise ArgumentTypeError(f"{given!r} is not of the form NAME:MIN-MAX")
    version = integer(1, _MAX_VERSION)
    low, high = version(found[2]), version(found[3] or found[2])
    if low > high:
        raise ArgumentTypeError(f"{given!r} has a MIN above its MAX")
    return AcceptedFormat(text(found[1]), low, high)


def pair(given: str) -> tuple[str, str]:
    """Return the key and the value of KEY=VALUE."""
    key, separator, value = given.partition("=")
    if not separator:
        raise ArgumentTypeError(f"{given!r} is not of the form KEY=VALUE")
    return text(key), value


def label(given: str) -> tuple[str, str]:
    """Return the key and the value of a label."""
    key, value = pair(given)
    return required(key), text(value)


def once(name: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return pairs as a mapping.

    Raises:
        ValueError: a key is given twice.

    """
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key in found if [each for each, _ in pairs].count(key) > 1)
        raise ValueError(f"{name} {twice!r} is given twice")
    return found


def _number(given: str, limit: float) -> float:
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not 0 < value <= limit:
        raise ArgumentTypeError(f"{given[:80]!r} is not a number of seconds above 0, at most {limit:.0f}")
    return value
