"""Keep the exact form of values in messages that JSON changes: tuples, sets, bytes, dates, NaN and others.

The arguments, results and metadata of tools may be of any type. The engine's JSON turns tuples into lists, bytes into
text and NaN into null. So the exact forms of such values are stored beside the messages, each with its path. Objects of
other classes (models, dataclasses, enumerations) are loaded in their JSON form, as with the engine's own stores.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from holdfast.adapters.objects import UnsupportedValueError, decode, encode

Steps = tuple[str | int, ...]


def forms(saved: Any, loaded: Any) -> list[list[Any]]:
    """Return the exact form of each value in which loaded messages differ from saved ones, with its path."""
    found = []
    for steps, value in differences(saved, loaded, ()):
        try:
            found.append([list(steps), encode(value, _no_class)])
        except UnsupportedValueError:
            # An object of another class, which is loaded in its JSON form.
            continue
    return found


def restore(messages: Any, exact_forms: Any) -> Any:
    """Set the values whose exact forms `forms` returned in messages, and return the messages.

    Raises:
        TypeError, ValueError, LookupError, AttributeError: `forms` did not return them for such messages.

    """
    for (*path, last), form in exact_forms:
        target = messages
        for step in path:
            target = _inside(target, step)
        _inside(target, last)
        value = decode(form, _no_class)
        if isinstance(target, list | dict):
            target[last] = value
        else:
            object.__setattr__(target, last, value)
    return messages


def differences(one: Any, other: Any, steps: Steps) -> Iterator[tuple[Steps, Any]]:
    """Iterate over the paths of the differences between two values, with the first value's part at each path."""
    if one is other:
        return
    # The engine loads a part as its class or a subclass of it, or as another kind of part, which is a difference.
    if is_dataclass(one) and isinstance(other, type(one)):
        for field in fields(one):
            yield from differences(getattr(one, field.name), getattr(other, field.name), (*steps, field.name))
    elif type(one) is type(other) is list and len(one) == len(other):
        for index, inner in enumerate(one):
            yield from differences(inner, other[index], (*steps, index))
    elif type(one) is type(other) is dict and [*map(type, one)] == [*map(type, other)] and list(one) == list(other):
        for key, inner in one.items():
            yield from differences(inner, other[key], (*steps, key))
    elif not (
        type(other) in (str, int, float, bool, type(None), type(one)) and isinstance(one, type(other))
    ) or not _is_equal(one, other):
        yield steps, one


def _is_equal(one: Any, other: Any) -> bool:
    try:
        # NaN does not equal itself, but its encoded form does.
        return bool(one == other) or encode(one, _no_class) == encode(other, _no_class)
    except Exception:  # noqa: BLE001 - an object whose own comparison raises counts as different
        return False


def _inside(target: Any, step: Any) -> Any:
    if isinstance(target, list | dict):
        return target[step]
    if is_dataclass(target) and step in {field.name for field in fields(target)}:
        return getattr(target, step)
    raise LookupError(f"no value exists at {step!r}")


def _no_class(name: str) -> bool:
    return False
