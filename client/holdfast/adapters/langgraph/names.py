"""Convert LangGraph's ids, which may be any text, to ids of workflows and checkpoints, and back.

Each checkpoint namespace of a thread is one workflow. The workflow of the namespace "" has the thread's name as its id.
The id of every other one is that name, "#" and the namespace's name. No name contains "#", so a list or deletion by the
prefix of name and "#" finds all namespaces of a thread and of no other. Names are percent-encoded. A name that is too
long is replaced by a digest, and each checkpoint of such a workflow contains the true names.
"""

import json
import re
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, unquote

_PLAIN = "!$&'()*+,:;=@|^ "
# Most ids have nothing else, and need no encoding.
_LETTERS = re.compile("[A-Za-z0-9_-]+")
_EMPTY = "%"
_DIGEST = "%!"
_SEPARATOR = "#"
# The maximum length of both names as the server's store encodes them. Together they stay below the length at which the
# store uses a digest instead of an id, because a list by prefix has to look at every workflow that has a digest.
_THREAD_LETTERS = 80
_NAMESPACE_LETTERS = 117


class Place(NamedTuple):
    """A thread's checkpoint namespace."""

    thread_id: str
    checkpoint_ns: str

    @property
    def workflow_id(self) -> str:
        """The workflow that contains its checkpoints."""
        return _workflow_id(self)

    @property
    def part(self) -> bytes | None:
        """The part of each checkpoint that contains the names; None if the workflow's id contains them."""
        return json.dumps(self).encode() if _DIGEST in self.workflow_id else None


def encoded(text: str) -> str:
    """Return a text encoded as an id. The length is not limited."""
    if _LETTERS.fullmatch(text):
        return text
    if not text:
        return _EMPTY
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return quote(text, safe=_PLAIN, errors="surrogatepass")


def decoded(name: str) -> str:
    """Return the text of an encoded name."""
    return "" if name == _EMPTY else unquote(name, errors="surrogatepass")


def namespaces_prefix(thread_id: str) -> str:
    """Return the prefix of the workflows of a thread's namespaces, except ""."""
    return f"{_thread(thread_id)}{_SEPARATOR}"


def place_of(workflow_id: str, part: bytes | None = None) -> Place | None:
    """Return the place of a workflow.

    Args:
        workflow_id: the workflow.
        part: the part of one of its checkpoints that contains the names; None if unknown.

    Returns:
        The place; None if the id contains a digest and no part is given.

    """
    names = workflow_id.partition(_SEPARATOR)[::2]
    found = [decoded(name) for name in names]
    for index, name in enumerate(names):
        if name.startswith(_DIGEST):
            if part is None:
                return None
            found[index] = json.loads(part)[index]
        elif not name:
            found[index] = ""
    return Place(*found)


def record_key(task_id: str, suffix: str) -> str:
    """Return the key of a task's record."""
    name = encoded(task_id)
    return f"{name if len(name) <= 400 else _digest(name)}#{suffix}"


@lru_cache(maxsize=1024)
def _workflow_id(place: Place) -> str:
    """Return the workflow of a place. A run asks for it several times in each step."""
    thread = _thread(place.thread_id)
    if not place.checkpoint_ns:
        return thread
    return f"{thread}{_SEPARATOR}{_short(encoded(place.checkpoint_ns), _NAMESPACE_LETTERS)}"


def _thread(thread_id: str) -> str:
    return _short(encoded(thread_id), _THREAD_LETTERS)


def _short(name: str, limit: int) -> str:
    if _LETTERS.fullmatch(name):
        letters = len(name)
    else:
        letters = len(quote(name, safe="")) + 2 * (name.count(".") + name.count("~"))
    return name if letters <= limit else _digest(name)


def _digest(name: str) -> str:
    return f"{_DIGEST}{sha256(name.encode()).hexdigest()}"
