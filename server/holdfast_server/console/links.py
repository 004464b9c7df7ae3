"""The URLs of the pages. Each name in a path is encoded, so that ids with any characters work.

A browser resolves the segments "." and ".." whatever their encoding. They are no ids.
"""

from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes, urlencode

NAMESPACES = "/"
STORE = "/store"
SIGN_IN = "/sign-in"
SIGN_OUT = "/sign-out"


def segment(name: str) -> str:
    """Return a name as one segment of a path."""
    return quote(name, safe="")


def name_of(encoded: str) -> str:
    """Return the name that a segment of a path stands for.

    Raises:
        ValueError: it is not the encoding of a text.

    """
    return unquote_to_bytes(encoded).decode()


def namespace(name: str) -> str:
    """Return the path of a namespace: the page of its workflows."""
    return f"/n/{segment(name)}"


def workflow(namespace_name: str, workflow_id: str) -> str:
    """Return the path of a workflow."""
    return f"{namespace(namespace_name)}/w/{segment(workflow_id)}"


def checkpoint(namespace_name: str, workflow_id: str, checkpoint_id: str) -> str:
    """Return the path of a checkpoint."""
    return f"{workflow(namespace_name, workflow_id)}/c/{segment(checkpoint_id)}"


def diff(namespace_name: str, workflow_id: str, a: str, b: str) -> str:
    """Return the URL of the difference between two checkpoints."""
    return with_query(f"{workflow(namespace_name, workflow_id)}/diff", {"a": a, "b": b})


def with_query(path: str, query: Mapping[str, str | list[str]]) -> str:
    """Return a path with a query. Empty values are left out."""
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def is_local(url: str) -> bool:
    """Return whether a URL is the path of a page of this console, to which a sign-in may lead back."""
    # A browser reads a backslash as a slash, and leaves out tabs and line ends.
    return url.startswith("/") and not url.startswith("//") and url.isprintable() and "\\" not in url
