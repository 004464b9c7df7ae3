"""How threads are found in Holdfast: the ids of workflows and checkpoints that stand for LangGraph's own, of any text.

A thread's checkpoint namespace is one workflow. Names are percent-encoded; where they are too long for an id, their
digest stands for them, and a workflow beside it tells what they are. A thread's namespaces other than "" are told by
an index workflow of the thread, so that they are found without a look at any other thread.
"""

from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, unquote

_MAX_BYTES = 512
_PLAIN = "!$&'()*+,:;=@|^ "
_EMPTY = "%"
_DIGEST = "%!"


class Place(NamedTuple):
    """A thread's checkpoint namespace."""

    thread_id: str
    checkpoint_ns: str

    @property
    def workflow_id(self) -> str:
        """The workflow that holds its checkpoints."""
        thread = encoded(self.thread_id)
        return _short(f"{thread}#{encoded(self.checkpoint_ns)}" if self.checkpoint_ns else thread)

    @property
    def index_id(self) -> str:
        """The id of its namespace in the thread's index."""
        return sha256(_bytes(self.checkpoint_ns)).hexdigest()


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


def index_of(thread_id: str) -> str:
    """The workflow that tells a thread's namespaces."""
    return _short(f"{encoded(thread_id)}#")


def names_of(workflow_id: str) -> str | None:
    """The workflow that tells what a digest stands for; None where the id itself tells."""
    return f"%={workflow_id.removeprefix(_DIGEST)}" if workflow_id.startswith(_DIGEST) else None


def place_of(workflow_id: str) -> Place:
    """The place of a workflow whose id is no digest."""
    thread, _, namespace = workflow_id.partition("#")
    return Place(decoded(thread), decoded(namespace))


def record_key(task_id: str, suffix: str) -> str:
    """The key of a task's record."""
    return f"{_short(encoded(task_id), 400)}#{suffix}"


def _short(name: str, limit: int = _MAX_BYTES) -> str:
    return name if len(name) <= limit else f"{_DIGEST}{sha256(name.encode()).hexdigest()}"


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
