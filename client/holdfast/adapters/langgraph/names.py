"""How threads are found in Holdfast: the ids of workflows and checkpoints that stand for LangGraph's own, of any text.

A thread's checkpoint namespace is one workflow. The id of the namespace "" is the thread's name; every other one begins
with that name and "#", which no name holds, so that all namespaces of a thread are found, and deleted, by this prefix
and no other thread's are. Names are percent-encoded. A digest stands for a name that is too long, and each checkpoint
of such a workflow holds the true names.
"""

import json
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, unquote

_PLAIN = "!$&'()*+,:;=@|^ "
_EMPTY = "%"
_DIGEST = "%!"
_SEPARATOR = "#"
# Letters of a thread and of a namespace as the server's store spells them. Together they stay below the length from
# which the store keeps a digest instead of an id: a search by prefix looks at every workflow that has one.
_THREAD_LETTERS = 80
_NAMESPACE_LETTERS = 117


class Place(NamedTuple):
    """A thread's checkpoint namespace."""

    thread_id: str
    checkpoint_ns: str

    @property
    def workflow_id(self) -> str:
        """The workflow that holds its checkpoints."""
        thread = _thread(self.thread_id)
        if not self.checkpoint_ns:
            return thread
        return f"{thread}{_SEPARATOR}{_short(encoded(self.checkpoint_ns), _NAMESPACE_LETTERS)}"

    @property
    def part(self) -> bytes | None:
        """The part of each checkpoint that tells the names; None if the workflow's id does."""
        return json.dumps(self).encode() if place_of(self.workflow_id) is None else None


def encoded(text: str) -> str:
    """Any text as an id; what is longer than ids may be is not cut."""
    if not text:
        return _EMPTY
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return quote(text, safe=_PLAIN, errors="surrogatepass")


def decoded(name: str) -> str:
    """The text of an encoded name."""
    return "" if name == _EMPTY else unquote(name, errors="surrogatepass")


def namespaces_of(thread_id: str) -> str:
    """The prefix of the workflows that hold a thread's namespaces, "" left out."""
    return f"{_thread(thread_id)}{_SEPARATOR}"


def place_of(workflow_id: str, part: bytes | None = None) -> Place | None:
    """Return the place of a workflow.

    Args:
        workflow_id: the workflow.
        part: the part of one of its checkpoints that tells the names, if there is one.

    Returns:
        The place; None if a digest stands for a name and no part is given.

    """
    found = [decoded(each) for each in workflow_id.partition(_SEPARATOR)[::2]]
    for index, name in enumerate(workflow_id.partition(_SEPARATOR)[::2]):
        if name.startswith(_DIGEST):
            if part is None:
                return None
            found[index] = json.loads(part)[index]
        elif not name:
            found[index] = ""
    return Place(*found)


def record_key(task_id: str, suffix: str) -> str:
    """The key of a task's record."""
    name = encoded(task_id)
    return f"{name if len(name) <= 400 else _digest(name)}#{suffix}"


def _thread(thread_id: str) -> str:
    return _short(encoded(thread_id), _THREAD_LETTERS)


def _short(name: str, limit: int) -> str:
    letters = len(quote(name, safe="")) + 2 * (name.count(".") + name.count("~"))
    return name if letters <= limit else _digest(name)


def _digest(name: str) -> str:
    return f"{_DIGEST}{sha256(name.encode()).hexdigest()}"
