"""Arguments of callers, checked before they become requests.

Each error names the argument, what it may be, and the value. A value of a wrong type is a TypeError, as in Python
itself; one that is out of range is an `InvalidRequestError`, which is a ValueError. Limits that a server may change are
left to the server.
"""

import operator
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from numbers import Real
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from holdfast._core import request_ids
from holdfast._core.errors import HoldfastError, of_reason

_Message = TypeVar("_Message", bound=Message)

LONGEST_SECONDS = 366 * 24 * 3600.0
# What a Duration of the API holds, about.
_LONGEST_DURATION = timedelta(days=3_650_000)

_LIMITS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}
# Arguments that have another name in the API.
_ARGUMENTS = {"before_checkpoint_id": "before", "workflow_id_prefix": "prefix"}
_SINGLE_BYTES = ("B", "b", "c")


def request(kind: type[_Message], **fields: Any) -> _Message:
    """Make a message of the API from arguments.

    Args:
        kind: the message's class.
        fields: its fields. None leaves out those that may be left out, and draws a new request id.

    Raises:
        TypeError: one has a wrong type.
        InvalidRequestError: one has a value that the message cannot hold.

    """
    checked: dict[str, Any] = {}
    for name, value in fields.items():
        field = kind.DESCRIPTOR.fields_by_name[name]
        argument = _ARGUMENTS.get(name, name)
        if value is None and field.has_presence:
            continue
        if value is None and name == "request_id":
            checked[name] = request_ids.new()
        elif name == "labels":
            checked[name] = labels(value)
        elif field.is_repeated or field.type == FieldDescriptor.TYPE_MESSAGE:
            checked[name] = value
        elif field.type == FieldDescriptor.TYPE_STRING:
            checked[name] = text(argument, value)
        elif field.type == FieldDescriptor.TYPE_BOOL:
            checked[name] = flag(argument, value)
        elif field.type in _LIMITS:
            checked[name] = integer(argument, value, *_LIMITS[field.type])
        else:
            checked[name] = value
    return kind(**checked)


def text(name: str, value: object) -> str:
    """Return an argument that is text which UTF-8 can hold."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text (str), not {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(name, f"must be text that UTF-8 can hold, not {repr(value)}") from None
    return value


def flag(name: str, value: object) -> bool:
    """Return an argument that is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {_shown(value)}")
    return value


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return an argument that is a whole number within limits."""
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
    """Return an argument that is a time in seconds, more than 0 and at most 366 days."""
    number = _number(name, value, "seconds as a number")
    # NaN is not more than anything.
    if not 0 < number <= LONGEST_SECONDS:
        raise invalid(name, f"must be more than 0 and at most {LONGEST_SECONDS:.0f} seconds, not {_shown(value)}")
    return float(number)


def amount(name: str, value: object, low: float, high: float) -> float:
    """Return an argument that is a number within limits."""
    number = _number(name, value, "a number")
    if not low <= number <= high:
        raise invalid(name, f"must be {low:g} to {high:g}, not {_shown(value)}")
    return float(number)


def duration(name: str, value: object) -> timedelta:
    """Return an argument that is a timedelta of more than nothing."""
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {_shown(value)}")
    if value <= timedelta():
        raise invalid(name, f"must be more than 0, not {value}")
    if value > _LONGEST_DURATION:
        raise invalid(name, f"must be at most {_LONGEST_DURATION.days} days, not {value}")
    return value


def moment(name: str, value: object) -> datetime:
    """Return an argument that is a datetime with a time zone, in UTC."""
    found: datetime = instance(name, value, datetime)
    if found.utcoffset() is None:
        # Taken for UTC, the local time of a caller would mean other checkpoints, for a deletion more of them.
        raise invalid(name, f"must have a time zone, such as datetime.now(UTC), not {found.isoformat()}")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise invalid(name, f"must be in the years 1 to 9999 of UTC, not {found.isoformat()}") from None


def labels(value: object) -> Mapping[str, str]:
    """Return an argument that maps text to text; None is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"labels must be a mapping of text to text, not {_shown(value)}")
    return {text("a key of labels", key): text(f"labels[{repr(key)}]", each) for key, each in value.items()}


def items(name: str, value: object, kind: type) -> Iterable[Any]:
    """Return an argument that is an iterable of values of a class, each checked when it is its turn."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be an iterable of {kind.__name__}, not {_shown(value)}")
    return (instance(f"{name}[{index}]", each, kind) for index, each in enumerate(value))


def instance(name: str, value: Any, kind: type) -> Any:
    """Return an argument that is an instance of a class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}, not {_shown(value)}")
    return value


def octets(name: str, value: object) -> bytes:
    """Return the bytes of an argument that is bytes-like: a buffer of single bytes in one dimension.

    Buffers of wider items, such as arrays of integers and of NumPy, are refused: their bytes mean nothing without the
    type and the byte order.
    """
    if type(value) is bytes:
        return value
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except (TypeError, BufferError, ValueError):
        raise TypeError(f"{name} must be bytes-like, not {_shown(value)}") from None
    with view:
        if view.ndim != 1 or view.itemsize != 1 or view.format.lstrip("@=<>!") not in _SINGLE_BYTES:
            raise TypeError(
                f"{name} must be bytes-like, not a buffer of {view.ndim} dimensions and format {view.format!r}: "
                f"convert it to bytes ({_shown(value)})"
            )
        return view.tobytes()


def invalid(name: str, problem: str) -> HoldfastError:
    """The error of an argument whose value is out of range."""
    return of_reason("INVALID_REQUEST", f"{name} {problem}", field_violations=[(name, problem)])


def _number(name: str, value: object, wanted: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {wanted}, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return f"{repr(value)} ({type(value).__name__})"
