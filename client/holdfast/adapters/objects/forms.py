"""The JSON forms of containers and of well-known scalar types, each as a pair of conversions."""

from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

# By default Python converts integers of at most 4300 digits from and to text; 2 ** 14283 has 4300.
LARGEST_INT = 1 << 14283

# Creates a container from its class and its content. The class may be a subclass, whose own methods are not called.
Make = Callable[[Any, Any], Any]


def _list(cls: Any, content: Any) -> Any:
    made = list.__new__(cls)
    list.extend(made, content)
    return made


def _set(cls: Any, content: Any) -> Any:
    made = set.__new__(cls)
    set.update(made, content)
    return made


def _dict(base: Any) -> Make:
    def make(cls: Any, content: Any) -> Any:
        made = base.__new__(cls)
        for key, value in content:
            base.__setitem__(made, key, value)
        return made

    return make


def _defaultdict(cls: Any, content: Any) -> Any:
    factory, pairs = content
    made = defaultdict.__new__(cls)
    defaultdict.__init__(made, factory, pairs)
    return made


def _deque(cls: Any, content: Any) -> Any:
    maxlen, items = content
    made = deque.__new__(cls)
    deque.__init__(made, items, maxlen)
    return made


def _moment(value: Any) -> Any:
    """Return a moment as ISO 8601 text, or that text with fold and zone if the text would lose them."""
    zone = value.tzinfo.key if type(value.tzinfo) is ZoneInfo else None
    if zone is None and not value.fold:
        return value.isoformat()
    plain = value.replace(fold=0) if zone is None else value.replace(fold=0, tzinfo=None)
    return [plain.isoformat(), value.fold, zone]


def _from_moment(cls: Any) -> Callable[[Any], Any]:
    def made(value: Any) -> Any:
        if isinstance(value, str):
            return cls.fromisoformat(value)
        text, fold, zone = value
        plain = cls.fromisoformat(text).replace(fold=fold)
        return plain if zone is None else plain.replace(tzinfo=ZoneInfo(zone))

    return made


def type_name(cls: type) -> str:
    """Return the name of a class: its module, a colon and its qualified name."""
    return f"{cls.__module__}:{cls.__qualname__}"


_MAKERS: dict[type, Make] = {
    list: _list,
    tuple: tuple.__new__,
    set: _set,
    frozenset: frozenset.__new__,
    deque: _deque,
    dict: _dict(dict),
    Counter: _dict(dict),
    OrderedDict: _dict(OrderedDict),
    defaultdict: _defaultdict,
}
# By class name: the class, and the function that creates an instance.
CONTAINERS: dict[str, tuple[type, Make]] = {type_name(cls): (cls, make) for cls, make in _MAKERS.items()}

# By class: a conversion to a JSON value or a list of them, and the reverse conversion.
_FORMS: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    # Only NaN and infinity: JSON supports all other floats.
    float: (repr, float),
    complex: (lambda value: [value.real, value.imag], lambda value: complex(*value)),
    bytes: (lambda value: b64encode(value).decode(), lambda value: b64decode(value, validate=True)),
    bytearray: (
        lambda value: b64encode(value).decode(),
        lambda value: bytearray(b64decode(value, validate=True)),
    ),
    range: (lambda value: [value.start, value.stop, value.step], lambda value: range(*value)),
    slice: (lambda value: [value.start, value.stop, value.step], lambda value: slice(*value)),
    datetime: (_moment, _from_moment(datetime)),
    date: (lambda value: value.isoformat(), date.fromisoformat),
    time: (_moment, _from_moment(time)),
    timedelta: (
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda value: timedelta(*value),
    ),
    timezone: (lambda value: list(value.__getinitargs__()), lambda value: timezone(*value)),
    ZoneInfo: (lambda value: value.key, ZoneInfo),
    Decimal: (str, Decimal),
    UUID: (str, UUID),
}
SCALARS = {type_name(cls): form for cls, form in _FORMS.items()}
