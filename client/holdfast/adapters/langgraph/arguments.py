"""Arguments of LangGraph's methods, checked and turned into the saver's own values.

An id that has no exact counterpart in the store is refused before anything is asked of the server. It is never turned
into another one, since a deletion would then mean other threads or runs.
"""

from collections.abc import Iterable, Mapping
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one
from typing import Any
from uuid import UUID

from langgraph.checkpoint.base import get_checkpoint_id

from holdfast.adapters.langgraph.contents import Wanted
from holdfast.adapters.langgraph.names import Place

_STRATEGIES = ("keep_latest", "delete")


def thread_id(given: Any, what: str = "thread_id") -> str:
    """Return the text of a thread's id.

    Args:
        given: the id: text, an integer or a UUID.
        what: the argument's name, for the error.

    Raises:
        TypeError: it is of another type.

    """
    if isinstance(given, str):
        # The text itself, whatever a subclass such as an enum prints.
        return str.__str__(given)
    if isinstance(given, UUID):
        return str(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return int.__repr__(given)
    raise TypeError(f"{what} must be text, an integer or a UUID, not {repr(given)}")


def thread_ids(given: Any) -> list[str]:
    """Return the texts of several threads' ids, once all of them are known to be ids.

    Raises:
        TypeError: one of them is of another type, or they are no collection.

    """
    return [thread_id(each, f"thread_ids[{index}]") for index, each in enumerate(_several("thread_ids", given))]


def run_ids(given: Any) -> list[str]:
    """Return the texts of several runs' ids, once all of them are known to be ids.

    Raises:
        TypeError: one of them is neither text nor a UUID, or they are no collection.
        ValueError: one of them is empty.

    """
    found = []
    for index, each in enumerate(_several("run_ids", given)):
        if not isinstance(each, str | UUID):
            raise TypeError(f"run_ids[{index}] must be text or a UUID, not {repr(each)}")
        text = str(each) if isinstance(each, UUID) else str.__str__(each)
        if not text:
            raise ValueError(f"run_ids[{index}] must not be empty")
        found.append(text)
    return found


def strategy(given: Any) -> str:
    """Return the strategy of a prune.

    Raises:
        ValueError: there is no such strategy.

    """
    if given not in _STRATEGIES:
        raise ValueError(f"prune strategy {repr(given)} is none of {', '.join(_STRATEGIES)}")
    return str(given)


def place(config: Any) -> Place:
    """Return the place that a config names.

    Raises:
        KeyError: it names no thread.
        TypeError: the thread's id is of another type.

    """
    configurable = config.get("configurable") or {}
    if "thread_id" not in configurable:
        raise KeyError('config["configurable"]["thread_id"] is missing: it names the thread')
    return Place(thread_id(configurable["thread_id"]), configurable.get("checkpoint_ns") or "")


def wanted(config: Any, metadata: Mapping[str, Any] | None, before: Any, limit: int | None) -> Wanted:
    """Return which checkpoints a list holds. No config means all threads; one that names none is an error.

    Raises:
        KeyError: the config names no thread.
        TypeError: the thread's id is of another type.

    """
    return Wanted(
        place(config).thread_id if config else None,
        config["configurable"].get("checkpoint_ns") if config else None,
        (get_checkpoint_id(config) or "") if config else "",
        metadata or {},
        (before and get_checkpoint_id(before)) or "",
        limit,
    )


def _several(what: str, given: Any) -> Iterable[Any]:
    # A single id is a collection, too: of its characters.
    if isinstance(given, str | bytes | bytearray | memoryview) or not isinstance(given, Iterable):
        raise TypeError(f"{what} must be a list of ids, not {repr(given)}")
    return list(given)
