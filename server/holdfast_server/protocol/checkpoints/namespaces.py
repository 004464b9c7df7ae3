"""The namespaces of the store, found by skipping from one to the next in key order.

A namespace costs one listing of one object, however many workflows it has. If a caller may see only some namespaces,
the keys of these alone are looked up: the others cost nothing, and page tokens do not name them. Namespaces that have a
digest in place of their name are the exception: their keys do not show which of them the caller may see.
"""

import base64
import binascii
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from holdfast_server.protocol.checkpoints import workflows
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import (
    AFTER_ALL,
    DIGEST,
    namespace_named,
    namespace_step,
    place_of_namespace,
    places_of_namespaces,
)
from holdfast_server.protocol.format.names import MAX_NAMESPACE_BYTES, problem_of
from holdfast_server.protocol.log.log import Log

_PAGE_ENTRIES = 1000
# Look-ups of one page beyond its size: those that find no namespace, or one that the caller may not see.
_MORE_LOOKUPS = 100
# Workflows whose markers may give the name of a namespace that has a digest in place of it.
_MAX_WITNESSES = 10
# A step of a key and a slash have at most 201 letters; base64 makes 4 of 3.
_LONGEST_TOKEN = 280
_POSITION = re.compile(r"[A-Za-z0-9_%~-]*/?~")


@dataclass(frozen=True, slots=True)
class Visible:
    """The namespaces that a caller may see.

    Attributes:
        names: these namespaces.
        beginnings: and those that begin with one of these texts.

    """

    names: frozenset[str]
    beginnings: frozenset[str]

    @classmethod
    def everything(cls) -> "Visible":
        """Return what shows every namespace."""
        return cls(frozenset(), frozenset({""}))

    def within(self, prefix: str) -> "Visible":
        """Return what of it begins with a prefix."""
        longer = {each for each in self.beginnings if each.startswith(prefix)}
        is_inside = any(prefix.startswith(each) for each in self.beginnings)
        return Visible(
            frozenset(each for each in self.names if each.startswith(prefix)),
            frozenset({prefix} if is_inside else longer),
        )

    def includes(self, namespace: str) -> bool:
        """Return whether it shows a namespace."""
        return namespace in self.names or any(namespace.startswith(each) for each in self.beginnings)

    def places(self) -> Sequence[str]:
        """Return the beginnings of keys that cover it, in key order. None begins with another one."""
        found = {place_of_namespace(each) for each in self.names}
        for each in self.beginnings:
            found.update(places_of_namespaces(each))
        places: list[str] = []
        for place in sorted(found):
            if not places or not place.startswith(places[-1]):
                places.append(place)
        return places


@dataclass(frozen=True, slots=True)
class Page:
    """Some namespaces.

    Attributes:
        namespaces: their names.
        next_token: the token of the next page; "" if there is none.

    """

    namespaces: tuple[str, ...]
    next_token: str


async def page(log: Log, visible: Visible, token: str, size: int) -> Page:
    """Return a page of the namespaces that have an object in the store.

    A namespace that has a digest in place of its name is named by a marker of one of its workflows. If none of the
    first ones can be read, it is left out.

    Args:
        log: the log.
        visible: what the caller may see.
        token: the token of the page; "" for the first one.
        size: how many namespaces at most; fewer if many look-ups found none.

    Raises:
        HoldfastError: INVALID_REQUEST: the token was not issued by a server.

    """
    names: list[str] = []
    lookups = 0
    async with aclosing(_steps(log, visible.places(), _decoded(token) if token else "")) as found:
        async for position, step in found:
            lookups += 1
            name = await _name_of(log, step) if step else None
            if name is not None and visible.includes(name):
                names.append(name)
            if len(names) == size or lookups == size + _MORE_LOOKUPS:
                return Page(tuple(names), _encoded(position))
    return Page(tuple(names), "")


async def _steps(log: Log, places: Sequence[str], after: str) -> AsyncGenerator[tuple[str, str]]:
    """Look up namespaces, each by one listing. Yield where to go on after each, and its step in the keys.

    The step is "" after a place that has no further namespace.
    """
    for number, place in enumerate(places, 1):
        position = after if after > place else ""
        # The whole place is before the position.
        if position and not position.startswith(place):
            continue
        limit = 1
        while listed := await workflows.listed(log.store, place, position, limit):
            # A foreign object is mostly not the only one.
            limit = _PAGE_ENTRIES
            for each in listed:
                position = each.key
                step = namespace_step(each.key)
                if step:
                    position, limit = f"ns/{step}/{AFTER_ALL}", 1
                    yield position, step
                    break
        if number < len(places):
            yield f"{place}{AFTER_ALL}", ""


async def _name_of(log: Log, step: str) -> str | None:
    """Return the namespace of a step; None if its name is not known."""
    if not step.startswith(DIGEST):
        name = namespace_named(step)
        is_valid = name is not None and name not in (".", "..") and not problem_of(name, MAX_NAMESPACE_BYTES)
        return name if is_valid else None
    witnesses = 0
    async with aclosing(workflows.prefixes(log.store, f"ns/{step}/")) as found:
        async for prefix in found:
            head = await workflows.newest_readable(log, prefix)
            if head is not None:
                return head.keys.namespace
            witnesses += 1
            if witnesses == _MAX_WITNESSES:
                break
    return None


def _encoded(position: str) -> str:
    return base64.urlsafe_b64encode(position.removeprefix("ns/").encode()).decode()


def _decoded(token: str) -> str:
    """Return the position of a token: no key of an earlier page sorts after it."""
    try:
        position = base64.b64decode(token[: _LONGEST_TOKEN + 1].encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        position = ""
    if len(token) > _LONGEST_TOKEN or _POSITION.fullmatch(position) is None:
        raise HoldfastError(Reason.INVALID_REQUEST, "page_token: not issued by this server", field="page_token")
    return f"ns/{position}"
