"""The members of an archive, which is a tar file in pax format, and the JSON of those that are no objects.

In their order:

    archive.json                    what the archive contains
    workflows/{number}.json         for each workflow: its names, and where its log begins and ends
    ns/…                            the objects of a block, except markers
    blocks/{number}.json            sizes and digests of all objects of the block, and the digest of the block before
    ns/…/log/…                      the markers of the block, the oldest first
    end.json                        the end mark, with the digest of the last block

A workflow has any number of blocks; only the last one has `ends`. The markers of a block follow its digests, so that a
restore knows before it commits anything that all bytes of the block are whole. A member in JSON has its own digest, as
the field `sha256`: that of its bytes with zeros in place of the digest.
"""

import json
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, ClassVar, Self, get_origin

VERSION = 1

_SEAL = "sha256"
_NO_DIGEST = "0" * 64


class ArchiveError(Exception):
    """An archive is damaged, was cut off, or was made by a newer version. The message is for operators."""


@dataclass(frozen=True, slots=True)
class _Json:
    """A member in JSON."""

    def encoded(self) -> bytes:
        """Return the member's bytes."""
        return sealed(asdict(self))

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """Return the member with some bytes.

        Raises:
            ArchiveError: they are not those of such a member.

        """
        name = cls.__name__.lower()
        try:
            read = json.loads(data)
            cls._require_known(read)
            if _sealed_digest(data, str(read[_SEAL])) != read[_SEAL]:
                raise ArchiveError(f"{name}: does not match its digest")
            # A later version may have more fields.
            known = {each.name: read[each.name] for each in fields(cls)}
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ArchiveError(f"{name}: not readable: {error}") from None
        for each in fields(cls):
            if not isinstance(known[each.name], _JSON_TYPES[get_origin(each.type) or each.type]):
                raise ArchiveError(f"{name}: {each.name} has another type than expected")
        return cls(**known)

    @classmethod
    def _require_known(cls, read: Any) -> None:
        """Refuse a member of a version that this program does not know."""


def sealed(given: dict[str, Any]) -> bytes:
    """Return the bytes of a member in JSON, with its digest."""
    without = json.dumps(given | {_SEAL: _NO_DIGEST}, indent=1)
    digest = digest_of(without.encode())
    return without.replace(f'"{_SEAL}": "{_NO_DIGEST}"', f'"{_SEAL}": "{digest}"').encode()


def _sealed_digest(data: bytes, stated: str) -> str:
    """Return the digest that a member must state, with the one that it states."""
    return digest_of(data.replace(stated.encode(), _NO_DIGEST.encode(), 1))


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
        store_id: the id of the store that it was made from; "" for an old store, which has none.

    """

    NAME: ClassVar[str] = "archive.json"

    version: int
    layout: int
    marker_version: int
    grace_seconds: float
    namespace: str
    workflow_id: str
    made_at: float
    store_id: str

    @classmethod
    def _require_known(cls, read: Any) -> None:
        version = read["version"]
        if isinstance(version, int) and version > VERSION:
            raise ArchiveError(f"the archive has version {version}, this program reads up to {VERSION}")


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
        previous: the digest of the block before in hexadecimal digits; for the first block, that of the header.
        objects: the size in bytes and the SHA-256 of each object of the block, by its key.
        ends: whether it is the last one of its workflow.
        findings: how much damage was found in the store so far, and was left out.

    """

    previous: str
    objects: dict[str, list[Any]]
    ends: bool
    findings: int


@dataclass(frozen=True, slots=True)
class End(_Json):
    """The end mark.

    Attributes:
        previous: the digest of the last block in hexadecimal digits; that of the header if there is none.
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
