"""Checks of callers' arguments before they become requests.

Each error names the argument, what is allowed, and the value. A wrong type is a TypeError, as in Python itself; a value
out of range is an `InvalidRequestError`, which is a ValueError. Limits that a server may change are left to the server.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache, partial
from numbers import Real
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from holdfast._core import request_ids
from holdfast._core.errors import HoldfastError, of_reason

_Message = TypeVar("_Message", bound=Message)
_Value = TypeVar("_Value")

LONGEST_SECONDS = 366 * 24 * 3600.0
# About what a protobuf Duration can hold.
_LONGEST_DURATION = timedelta(days=3_650_000)

_LIMITS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}
# Fields whose argument has another name.
_ARGUMENTS = {"before_checkpoint_id": "before", "workflow_id_prefix": "prefix"}
_SINGLE_BYTES = ("B", "b", "c")


def request(kind: type[_Message], **fields: Any) -> _Message:
    """Make a message of the API from arguments.

    Args:
        kind: the message's class.
        fields: its fields. None leaves an optional field unset, and draws a new request id.

    Raises:
        TypeError: a field has a wrong type.
        InvalidRequestError: a field has a value that the message cannot hold.

    """
    checked: dict[str, Any] = {}
    for name, value in fields.items():
        is_optional, check = _field(kind.DESCRIPTOR, name)
        if value is not None or not is_optional:
            checked[name] = check(value)
    return kind(**checked)


def text(name: str, value: object, *item: object) -> str:
    """Check an argument that must be a str that UTF-8 can encode, and return it.

    Args:
        name: the argument's name. For an item of a collection it has a `%s` for the item's key or index.
        value: the argument.
        item: the item's key or index. Most items are valid, and need no name.

    """
    if not isinstance(value, str):
        raise TypeError(f"{_named(name, item)} must be text (str), not {_shown(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise invalid(_named(name, item), f"must be text that UTF-8 can hold, not {repr(value)}") from None
    return value


def flag(name: str, value: object, *item: object) -> bool:
    """Check an argument that must be True or False, and return it. `name` is as of `text`."""
    if not isinstance(value, bool):
        raise TypeError(f"{_named(name, item)} must be True or False, not {_shown(value)}")
    return value


def integer(name: str, value: object, low: int, high: int) -> int:
    """Convert an argument that must be an integer within limits. Rejects booleans and floats."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number (int), not {_shown(value)}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number (int), not {_shown(value)}") from None
    if not low <= number <= high:
        raise invalid(name, f"must be {low} to {high}, not {repr(number)}")
    return number


def seconds(name: str, value: object) -> float:
    """Convert an argument that must be a number of seconds, more than 0 and at most 366 days."""
    number = _number(name, value, "seconds as a number")
    # This comparison also rejects NaN.
    if not 0 < number <= LONGEST_SECONDS:
        raise invalid(name, f"must be more than 0 and at most {LONGEST_SECONDS:.0f} seconds, not {_shown(value)}")
    return float(number)


def amount(name: str, value: object, low: float, high: float) -> float:
    """Convert an argument that must be a number within limits. Rejects NaN."""
    number = _number(name, value, "a number")
    if not low <= number <= high:
        raise invalid(name, f"must be {low:g} to {high:g}, not {_shown(value)}")
    return float(number)


def duration(name: str, value: object) -> timedelta:
    """Check an argument that must be a positive timedelta, and return it."""
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {_shown(value)}")
    if value <= timedelta():
        raise invalid(name, f"must be more than 0, not {value}")
    if value > _LONGEST_DURATION:
        raise invalid(name, f"must be at most {_LONGEST_DURATION.days} days, not {value}")
    return value


def moment(name: str, value: object) -> datetime:
    """Convert an argument that must be a datetime with a time zone to UTC."""
    found: datetime = instance(name, value, datetime)
    if found.utcoffset() is None:
        # Read as UTC, a caller's local time would select other checkpoints; a deletion could delete more of them.
        raise invalid(name, f"must have a time zone, such as datetime.now(UTC), not {found.isoformat()}")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise invalid(name, f"must be in the years 1 to 9999 of UTC, not {found.isoformat()}") from None


class Omitted(Enum):
    """The default of a condition of a deletion. None would also be the value of one that was lost on its way here."""

    OMITTED = "omitted"


OMITTED = Omitted.OMITTED


def condition(name: str, value: _Value | Omitted) -> _Value | None:
    """Return a condition of a deletion; None if it was omitted. Reject None, which would delete more."""
    if value is None:
        raise TypeError(f"{name} must have a value or be omitted, not {_shown(value)}")
    return None if value is OMITTED else value


def labels(value: object) -> Mapping[str, str]:
    """Check an argument that must map str to str, and return it. None means no labels."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"labels must be a mapping of text to text, not {_shown(value)}")
    return {text("a key of labels", key): text("labels[%s]", each, key) for key, each in value.items()}


def items(name: str, value: object, kind: type) -> Iterable[Any]:
    """Check an argument that must be an iterable, and iterate over it. Each item must be an instance of a class."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be an iterable of {kind.__name__}, not {_shown(value)}")
    named = f"{name}[%s]"
    return (instance(named, each, kind, index) for index, each in enumerate(value))


def instance(name: str, value: Any, kind: type, *item: object) -> Any:
    """Check an argument that must be an instance of a class, and return it. `name` is as of `text`."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{_named(name, item)} must be {article} {kind.__name__}, not {_shown(value)}")
    return value


def octets(name: str, value: object, *item: object) -> bytes:
    """Convert an argument that must be bytes-like: a one-dimensional buffer of single bytes. `name` is as of `text`."""
    if type(value) is bytes:
        return value
    with octets_view(_named(name, item), value) as view:
        return view.tobytes()


def octets_view(name: str, value: object) -> memoryview:
    """Return a view of an argument that must be bytes-like: a one-dimensional buffer of single bytes.

    Rejects buffers of wider items, such as arrays of integers: their bytes have no meaning without type and byte order.
    """
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except (TypeError, BufferError, ValueError):
        raise TypeError(f"{name} must be bytes-like, not {_shown(value)}") from None
    if view.ndim != 1 or view.itemsize != 1 or view.format.lstrip("@=<>!") not in _SINGLE_BYTES:
        problem = f"not a buffer of {view.ndim} dimensions and format {view.format!r}"
        view.release()
        raise TypeError(f"{name} must be bytes-like, {problem}: convert it to bytes ({_shown(value)})")
    return view


def invalid(name: str, problem: str) -> HoldfastError:
    """Return the error for an argument whose value is not allowed."""
    return of_reason("INVALID_REQUEST", f"{name} {problem}", field_violations=[(name, problem)])


@cache
def _field(kind: Descriptor, name: str) -> tuple[bool, Callable[[Any], Any]]:
    """Return whether a field of a message is optional, and what checks its argument."""
    field = kind.fields_by_name[name]
    argument = _ARGUMENTS.get(name, name)
    check: Callable[[Any], Any] = _unchecked
    if name == "request_id":
        check = _request_id
    elif name == "labels":
        check = labels
    elif field.is_repeated:
        pass
    elif field.type == FieldDescriptor.TYPE_STRING:
        check = partial(text, argument)
    elif field.type == FieldDescriptor.TYPE_BOOL:
        check = partial(flag, argument)
    elif field.type in _LIMITS:
        low, high = _LIMITS[field.type]
        check = partial(integer, argument, low=low, high=high)
    return field.has_presence, check


def _request_id(value: object) -> str:
    return request_ids.new() if value is None else text("request_id", value)


def _unchecked(value: object) -> object:
    return value


def _named(name: str, item: tuple[object, ...]) -> str:
    """Return the name of an argument, or of an item in one."""
    return name % tuple(map(repr, item)) if item else name


def _number(name: str, value: object, expected: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {expected}, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return f"{repr(value)} ({type(value).__name__})"
