"""The members of an archive, which is a tar file in pax format, and the JSON of those that are no objects.

In their order:

    archive.json                    what the archive contains
    workflows/{number}.json         for each workflow: its names, and where its log begins and ends
    ns/…                            the objects of a block, except markers
    blocks/{number}.json            sizes and digests of all objects of the block, and the digest of the block before
    ns/…/log/…                      the markers of the block, the oldest first
    end.json                        the end mark, with the digest of the last block

A workflow has any number of blocks; only the last one has `ends`. The markers of a block follow its digests, so that a
restore knows before it commits anything that all bytes of the block are whole.
"""

import json
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, ClassVar, Self, get_origin

VERSION = 1


class ArchiveError(Exception):
    """An archive is damaged, was cut off, or was made by a newer version. The message is for operators."""


@dataclass(frozen=True, slots=True)
class _Json:
    """A member in JSON."""

    def encoded(self) -> bytes:
        """Return the member's bytes."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """Return the member with some bytes.

        Raises:
            ArchiveError: they are not those of such a member.

        """
        try:
            read = json.loads(data)
            # A later version may have more fields.
            known = {each.name: read[each.name] for each in fields(cls)}
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ArchiveError(f"{cls.__name__.lower()}: not readable: {error}") from None
        for each in fields(cls):
            if not isinstance(known[each.name], _JSON_TYPES[get_origin(each.type) or each.type]):
                raise ArchiveError(f"{cls.__name__.lower()}: {each.name} has another type than expected")
        return cls(**known)


_JSON_TYPES: dict[Any, Any] = {str: str, int: int, float: (int, float), bool: bool, dict: dict}


@dataclass(frozen=True, slots=True)
class Header(_Json):
    """What an archive contains.

    Attributes:
        version: the version of the format.
        layout: the layout of the keys.
        marker_version: the version of the markers of the store that it was made from.
        grace_seconds: the grace of that store.
        namespace: the only namespace in it; "" for all.
        workflow_id: the only workflow in it; "" for all.
        made_at: when it was begun, in seconds since the epoch.

    """

    NAME: ClassVar[str] = "archive.json"

    version: int
    layout: int
    marker_version: int
    grace_seconds: float
    namespace: str
    workflow_id: str
    made_at: float


@dataclass(frozen=True, slots=True)
class Workflow(_Json):
    """A workflow that follows.

    Attributes:
        prefix: what the keys of its objects begin with.
        namespace: its namespace.
        workflow_id: its id.
        first_revision: the first revision of its log that was there.
        first_digest: the digest of that entry in hexadecimal digits; "" if it could not be read.
        head_revision: the newest revision when it was begun. More may follow.
        head_digest: the digest of that entry.

    """

    prefix: str
    namespace: str
    workflow_id: str
    first_revision: int
    first_digest: str
    head_revision: int
    head_digest: str


@dataclass(frozen=True, slots=True)
class Block(_Json):
    """Some objects of a workflow.

    Attributes:
        previous: the digest of the block before in hexadecimal digits; "" for the first block of the archive.
        objects: the size in bytes and the SHA-256 of each object of the block, by its key.
        ends: whether it is the last one of its workflow.

    """

    previous: str
    objects: dict[str, list[Any]]
    ends: bool


@dataclass(frozen=True, slots=True)
class End(_Json):
    """The end mark.

    Attributes:
        previous: the digest of the last block in hexadecimal digits; "" if there is none.
        workflows: how many workflows the archive contains.
        objects: how many objects.
        bytes: their size in bytes.
        findings: how much damage was found in the store, and was left out.

    """

    NAME: ClassVar[str] = "end.json"

    previous: str
    workflows: int
    objects: int
    bytes: int
    findings: int


def workflow_name(number: int) -> str:
    """Return the name of the member of a workflow."""
    return f"workflows/{number}.json"


def block_name(number: int) -> str:
    """Return the name of the member of a block."""
    return f"blocks/{number}.json"


def digest_of(data: bytes) -> str:
    """Return the digest of an object or a block in hexadecimal digits."""
    return sha256(data).hexdigest()
