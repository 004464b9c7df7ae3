"""Parsers of single values on the command line.

Each raises `ArgumentTypeError`, to which argparse adds the name of the argument.
"""

import math
import os
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from datetime import timedelta

from holdfast._core.checkpoint import AcceptedFormat, Format
from holdfast._core.head import Head

_MAX_VERSION = 2**31 - 1
_MAX_TTL_SECONDS = 100 * 366 * 24 * 3600


def text(given: str) -> str:
    """Return a text as UTF-8, the encoding of ids, names and labels in the API."""
    try:
        # Python decoded the argument by the locale. In the locale C, the bytes of UTF-8 became surrogates.
        return os.fsencode(given).decode()
    except UnicodeError:
        raise ArgumentTypeError(f"{given!r} is not valid UTF-8") from None


def required(given: str) -> str:
    """Return a text. Reject an empty one, such as the value of a shell variable that was never set."""
    if not given:
        raise ArgumentTypeError("must not be empty")
    return text(given)


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `low` to `high`."""

    def parse(given: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,40}", given) or not low <= int(given) <= high:
            raise ArgumentTypeError(f"invalid number {given[:80]!r}: expected a whole number from {low} to {high}")
        return int(given)

    return parse


def seconds(given: str) -> float:
    """Return a timeout in seconds: above 0, at most a day."""
    return _number(given, 86_400)


def duration(given: str) -> timedelta:
    """Return a ttl, given in seconds: above 0, at most 100 years."""
    return timedelta(seconds=_number(given, _MAX_TTL_SECONDS))


def format_(given: str) -> Format:
    """Parse NAME:VERSION."""
    name, _, version = given.rpartition(":")
    if not name:
        raise ArgumentTypeError(f"invalid format {given!r}: expected NAME:VERSION")
    return Format(text(name), integer(1, _MAX_VERSION)(version))


def accepted(given: str) -> AcceptedFormat:
    """Parse NAME:MIN-MAX, or NAME:VERSION for a single version."""
    found = re.fullmatch(r"(.+):([0-9]+)(?:-([0-9]+))?", given, re.DOTALL)
    if found is None:
        raise ArgumentTypeError(f"invalid formats {given!r}: expected NAME:MIN-MAX")
    version = integer(1, _MAX_VERSION)
    low, high = version(found[2]), version(found[3] or found[2])
    if low > high:
        raise ArgumentTypeError(f"invalid formats {given!r}: MIN is above MAX")
    return AcceptedFormat(text(found[1]), low, high)


def head(given: str) -> Head:
    """Parse REVISION:DIGEST."""
    try:
        return Head.parse(given)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def pair(given: str) -> tuple[str, str]:
    """Parse KEY=VALUE. The value may be empty."""
    key, separator, value = given.partition("=")
    if not separator:
        raise ArgumentTypeError(f"invalid pair {given!r}: expected KEY=VALUE")
    return text(key), value


def label(given: str) -> tuple[str, str]:
    """Parse the KEY=VALUE of a label. The key must not be empty."""
    key, value = pair(given)
    return required(key), text(value)


def once(name: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return pairs as a mapping.

    Args:
        name: the option or argument that the pairs were given by, for the error.
        pairs: keys and values.

    Raises:
        ValueError: a key occurs twice.

    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{name} {repeated!r} is given twice")
    return found


def _number(given: str, limit: float) -> float:
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not 0 < value <= limit:
        raise ArgumentTypeError(f"invalid duration {given[:80]!r}: expected seconds above 0, at most {limit:.0f}")
    return value
