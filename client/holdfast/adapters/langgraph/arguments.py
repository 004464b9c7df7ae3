"""Check the arguments of LangGraph's methods and convert them to the saver's own values.

An id that has no exact counterpart in the store is refused before any call to the server. It is never converted to
another id, since a deletion would then delete other threads or runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from reprlib import repr  # noqa: A004 - bounded, unlike the built-in one
from typing import Any
from uuid import UUID

from langgraph.checkpoint.base import get_checkpoint_id

from holdfast.adapters.langgraph.names import Place

_STRATEGIES = ("keep_latest", "delete")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which checkpoints a list contains.

    Attributes:
        thread_id: only those of this thread; None for all threads.
        checkpoint_ns: only those of this checkpoint namespace; None for all.
        checkpoint_id: only this checkpoint; "" for all.
        metadata: only those whose metadata has these values.
        before: only those whose ids are smaller than this; "" for all.
        limit: at most so many; None for all.

    """

    thread_id: str | None
    checkpoint_ns: str | None
    checkpoint_id: str
    metadata: Mapping[str, Any]
    before: str
    limit: int | None


def thread_id(given: Any, name: str = "thread_id") -> str:
    """Return the text of a thread's id.

    Args:
        given: the id: text, an integer or a UUID.
        name: the argument's name, for the error.

    Raises:
        TypeError: it has another type.

    """
    if isinstance(given, str):
        # The text itself, whatever a subclass such as an enum prints.
        return str.__str__(given)
    if isinstance(given, UUID):
        return str(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return int.__repr__(given)
    raise TypeError(f"{name} must be text, an integer or a UUID, not {repr(given)}")


def thread_ids(given: Any) -> list[str]:
    """Return the texts of several threads' ids, after checking all of them.

    Raises:
        TypeError: an id has another type, or the argument is not a collection of ids.

    """
    return [thread_id(item, f"thread_ids[{index}]") for index, item in enumerate(_collection("thread_ids", given))]


def run_ids(given: Any) -> list[str]:
    """Return the texts of several runs' ids, after checking all of them.

    Raises:
        TypeError: an id is neither text nor a UUID, or the argument is not a collection of ids.
        ValueError: an id is empty.

    """
    found = []
    for index, item in enumerate(_collection("run_ids", given)):
        if not isinstance(item, str | UUID):
            raise TypeError(f"run_ids[{index}] must be text or a UUID, not {repr(item)}")
        text = str(item) if isinstance(item, UUID) else str.__str__(item)
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
        raise ValueError(f"invalid prune strategy {repr(given)}: expected {' or '.join(_STRATEGIES)}")
    return str(given)


def place(config: Any) -> Place:
    """Return the place that a config names.

    Raises:
        KeyError: the config names no thread.
        TypeError: the thread's id is neither text nor an integer nor a UUID.

    """
    configurable = config.get("configurable") or {}
    if "thread_id" not in configurable:
        raise KeyError('config["configurable"]["thread_id"] is missing: it names the thread')
    return Place(thread_id(configurable["thread_id"]), configurable.get("checkpoint_ns") or "")


def list_query(config: Any, metadata: Mapping[str, Any] | None, before: Any, limit: int | None) -> ListQuery:
    """Return the query of a list. Without a config it is for all threads.

    Raises:
        KeyError: a config is given, but names no thread.
        TypeError: the thread's id is neither text nor an integer nor a UUID.

    """
    return ListQuery(
        place(config).thread_id if config else None,
        config["configurable"].get("checkpoint_ns") if config else None,
        (get_checkpoint_id(config) or "") if config else "",
        metadata or {},
        (before and get_checkpoint_id(before)) or "",
        limit,
    )


def _collection(name: str, given: Any) -> Iterable[Any]:
    # A single id is a collection, too: of its characters.
    if isinstance(given, str | bytes | bytearray | memoryview) or not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a list of ids, not {repr(given)}")
    return list(given)
