"""Verbs: the kinds of rights in a namespace, and those that each method of the API needs.

Every method is listed here, also one that needs no right: a method that is not listed fails for every caller.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any


class Verb(StrEnum):
    """A kind of right."""

    READ = "read"
    WRITE = "write"
    FENCE = "fence"
    DELETE = "delete"
    ADMIN = "admin"


# What a call needs, according to its request. The request of a stream is its first message.
Needs = Callable[[Any], tuple[Verb, ...]]

_NOTHING: tuple[Verb, ...] = ()
_READ = (Verb.READ,)
_WRITE = (Verb.WRITE,)
_WRITE_AND_DELETE = (Verb.WRITE, Verb.DELETE)


def _save(request: Any) -> tuple[Verb, ...]:
    """Return the verbs of a save. One that replaces a checkpoint deletes it; one with a ttl deletes its own later."""
    header = request.header
    return _WRITE_AND_DELETE if header.replace or header.HasField("ttl") else _WRITE


def _attach_records(request: Any) -> tuple[Verb, ...]:
    """Return the verbs of records. Those that replace others delete them."""
    return _WRITE_AND_DELETE if any(record.replace for record in request.records) else _WRITE


_NEEDS: Mapping[str, Needs] = {
    "Save": _save,
    "SaveStream": _save,
    # It ends the stream of the upload.
    "GetUpload": lambda _: _WRITE,
    "Load": lambda _: _READ,
    "LoadStream": lambda _: _READ,
    "List": lambda _: _READ,
    "ListWorkflows": lambda _: _READ,
    "Validate": lambda _: _READ,
    "Delete": lambda _: (Verb.DELETE,),
    "DeleteWorkflow": lambda _: (Verb.DELETE,),
    "DeleteWorkflows": lambda _: (Verb.DELETE,),
    "DeleteCheckpoints": lambda _: (Verb.DELETE,),
    "Prune": lambda _: (Verb.DELETE,),
    "AcquireWriter": lambda _: (Verb.FENCE,),
    # Source and target are in one namespace.
    "CopyWorkflow": lambda _: (Verb.READ, Verb.WRITE),
    "AttachRecords": _attach_records,
    "ListRecords": lambda _: _READ,
    "GetUsage": lambda _: _READ,
    # It is about the server, and the same for all callers.
    "GetCapabilities": lambda _: _NOTHING,
    # It returns the namespaces that the caller may read, and no others.
    "ListNamespaces": lambda _: _NOTHING,
    "GetStoreStatus": lambda _: (Verb.ADMIN,),
    # Each of its calls is decided alone.
    "Pipeline": lambda _: _NOTHING,
    "ListLog": lambda _: _READ,
    "WatchWorkflow": lambda _: _READ,
}


def needed(method: str, request: Any) -> tuple[Verb, ...]:
    """Return the verbs that a call needs in its namespace.

    Args:
        method: the method's name.
        request: the request.

    """
    return _NEEDS[method](request)
