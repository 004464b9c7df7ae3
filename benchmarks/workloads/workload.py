"""A workload: calls of a store, which are the same for every store."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

# A call receives what `places.Place.opened` returned.
Call: TypeAlias = Callable[[Any], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Workload:
    """Calls of a store.

    Attributes:
        content_bytes: the size of what is new in each of them, together.
        states: how many states of an engine, or events, are saved.
        pieces: the calls, in order; a piece is what one turn of a chat, or one step, makes.
        load: loads the newest state.

    """

    content_bytes: int
    states: int
    pieces: Sequence[Sequence[Call]]
    load: Call
