"""Convert events to the parts of a checkpoint, and back.

Values in an event come back exactly, like those of a state. Objects of other classes in an event's content, output or
metadata become what ADK writes for them in JSON: a pydantic model becomes a dictionary.
"""

import json
from enum import Enum
from math import isfinite
from typing import Any

from google.adk.events import Event
from google.adk.sessions import State
from pydantic_core import to_jsonable_python

from holdfast._core.errors import HoldfastError
from holdfast.adapters.adk.chain import Link, Parts, dumped, readable
from holdfast.adapters.adk.values import (
    FAILURES,
    Json,
    Values,
    difference,
    innermost,
    require_bounded,
    shown,
    step,
    unstorable,
)
from holdfast.adapters.objects import encode

_STATE_DELTA = {"actions": {"state_delta"}}


class Events:
    """The codec of events.

    Args:
        values: the codec of values.

    """

    def __init__(self, values: Values) -> None:
        self._values = values

    def changes(self, delta: Any) -> Json:
        """Return the JSON forms of changes to state, without temporary state.

        Raises:
            InvalidRequestError: a value cannot be stored; `metadata["path"]` names it.

        """
        if not isinstance(delta, dict):
            raise unstorable("state", f"expected a dictionary, not {type(delta).__name__!r}")
        for key in delta:
            if not isinstance(key, str):
                raise unstorable(step("state", key), f"the key is of class {type(key).__name__!r}, expected a string")
        return self._values.dump(
            "state", {str(key): value for key, value in delta.items() if not key.startswith(State.TEMP_PREFIX)}
        )

    def dump(self, event: Event) -> Parts:
        """Return the parts of an event: the event, and its changes to state.

        Raises:
            InvalidRequestError: a value cannot be stored; `metadata["path"]` names it.

        """
        changes = self.changes(event.actions.state_delta or {})
        if not isinstance(event.timestamp, int | float) or not isfinite(event.timestamp):
            raise unstorable("event.timestamp", f"expected a number of seconds, not {shown(event.timestamp)}")
        rest = event.model_copy(update={"actions": event.actions.model_copy(update={"state_delta": {}})})
        require_bounded("event", rest)
        try:
            fields = _fields(rest)
            form = self._values.dump("event", fields)
            changed = difference("event", fields, _fields(self._validated(form)))
        except HoldfastError:
            raise
        except FAILURES as error:
            raise unstorable("event", str(error) or type(error).__name__) from None
        if changed is not None:
            raise unstorable(changed, "it would not be loaded as an equal value")
        return {"event": dumped(form), "changes": dumped(changes)}

    def load(self, link: Link) -> Event:
        """Return the event of a link that has one.

        Raises:
            CheckpointCorruptedError: this adapter did not write it.

        """
        with readable(link.checkpoint_id):
            if link.is_earlier:
                return Event.model_validate_json(link.event or b"")
            event = self._validated(json.loads(link.event or b""))
            # Set after validation, which would refuse some keys that states may have.
            event.actions.state_delta = self._values.load(link.changes)
            return event

    def _validated(self, form: Json) -> Event:
        return Event.model_validate(self._values.load(form))


def _fields(event: Event) -> Json:
    found = event.model_dump(exclude=_STATE_DELTA, exclude_none=True, warnings=False)
    try:
        fields: Json = _plain(found)
    except FAILURES:
        raise unstorable(*innermost("event", found, _failure)) from None
    return fields


def _failure(value: Any) -> str | None:
    try:
        _plain(value)
    except FAILURES as error:
        return str(error) or type(error).__name__
    return None


def _plain(value: Any) -> Any:
    """Return a value in which objects of classes are replaced by what ADK writes for them in JSON.

    Raises:
        ValueError: an object has no JSON form.

    """
    cls = type(value)
    if cls is dict:
        return {key: _plain(inner) for key, inner in value.items()}
    if cls is list:
        return [_plain(inner) for inner in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    try:
        encode(value, lambda _: False)
    except FAILURES:
        return to_jsonable_python(value)
    return value
