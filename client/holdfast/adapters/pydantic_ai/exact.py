"""The values in messages that JSON changes: tuples, sets, bytes, dates, NaN and the like come back as they were.

The engine types the arguments, results and metadata of tools as anything, and its JSON makes lists of tuples, text of
bytes and nothing of NaN. The places where that happens are kept beside the messages with the values' exact forms.
Objects of other classes (models, dataclasses, enumerations) stay in their JSON form, as with the engine's own stores.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from holdfast.adapters.objects import UnsupportedValueError, decode, encode

Steps = tuple[str | int, ...]


def forms(saved: Any, loaded: Any) -> list[list[Any]]:
    """Return the places where loaded messages differ from saved ones, with the exact form of what was saved there."""
    found = []
    for steps, value in differences(saved, loaded, ()):
        try:
            found.append([list(steps), encode(value, _no_class)])
        except UnsupportedValueError:
            # An object of a class of its own, for which its JSON form stands.
            continue
    return found


def restore(messages: Any, found: Any) -> Any:
    """Put exact values back into messages, at the places that `forms` found.

    Raises:
        TypeError, ValueError, LookupError, AttributeError: it did not find them.

    """
    for (*way, last), form in found:
        target = messages
        for step in way:
            target = _inside(target, step)
        _inside(target, last)
        value = decode(form, _no_class)
        if isinstance(target, list | dict):
            target[last] = value
        else:
            object.__setattr__(target, last, value)
    return messages


def differences(one: Any, other: Any, steps: Steps) -> Iterator[tuple[Steps, Any]]:
    """Iterate over the places where values differ, with what the first one has there."""
    if one is other:
        return
    # The engine reads a part as one of its class, or of a narrower one, or else as one of another kind altogether.
    if is_dataclass(one) and isinstance(other, type(one)):
        for each in fields(one):
            yield from differences(getattr(one, each.name), getattr(other, each.name), (*steps, each.name))
    elif type(one) is type(other) is list and len(one) == len(other):
        for index, each in enumerate(one):
            yield from differences(each, other[index], (*steps, index))
    elif type(one) is type(other) is dict and [*map(type, one)] == [*map(type, other)] and list(one) == list(other):
        for key, each in one.items():
            yield from differences(each, other[key], (*steps, key))
    elif not (
        type(other) in (str, int, float, bool, type(None), type(one)) and isinstance(one, type(other))
    ) or not _is_equal(one, other):
        yield steps, one


def _is_equal(one: Any, other: Any) -> bool:
    try:
        # NaN is equal to nothing, its form is.
        return bool(one == other) or encode(one, _no_class) == encode(other, _no_class)
    except Exception:  # noqa: BLE001 - what an object's own comparison raises says that it differs
        return False


def _inside(target: Any, step: Any) -> Any:
    if isinstance(target, list | dict):
        return target[step]
    if is_dataclass(target) and step in {each.name for each in fields(target)}:
        return getattr(target, step)
    raise LookupError(f"nothing is found at {step!r}")


def _no_class(name: str) -> bool:
    return False
