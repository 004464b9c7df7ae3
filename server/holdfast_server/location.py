"""The location of a store, parsed from its URL. A URL is used in full or refused: no part of it is ignored."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

# These begin a query or a fragment, which a store's URL does not have.
_DELIMITERS = re.compile(r"[?#]")
# URL parsers drop some of these.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_FOLDER_EXPECTED = "expected file:///path, whose path is absolute, without a host"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class FolderLocation:
    """A folder of this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class BucketLocation:
    """A bucket, and the prefix of all keys, without slashes around it."""

    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class ContainerLocation:
    """A container of Azure Blob Storage, and the prefix of all keys, without slashes around it."""

    container: str
    prefix: str


def parse(url: str) -> FolderLocation | BucketLocation | ContainerLocation:
    """Parse a store's URL.

    Args:
        url: `file:///path`, percent-encoded as usual, or `s3://bucket/prefix` or `az://container/prefix`, whose prefix
            is not decoded.

    Raises:
        ValueError: it is none of these, or a part of it would be ignored. The message says what is wrong, without the
            URL.

    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("file", "s3", "az"):
        raise ValueError("expected a path, file:///path, s3://bucket/prefix or az://container/prefix")
    unprintable = _UNPRINTABLE.search(url)
    if unprintable:
        raise ValueError(f"{unprintable[0]!r} must be written as %{ord(unprintable[0]):02X}")
    delimiter = _DELIMITERS.search(rest)
    if scheme == "file":
        if delimiter:
            raise ValueError(f"{delimiter[0]!r} must be written as %{ord(delimiter[0]):02X}")
        return _folder(rest)
    name, _, prefix = rest.partition("/")
    if scheme == "az":
        return _container(name, prefix, delimiter)
    if delimiter:
        raise ValueError(f"a bucket or prefix must not contain {delimiter[0]!r}")
    if not _BUCKET.fullmatch(name):
        raise ValueError(f"expected the name of a bucket, got {name!r}")
    return BucketLocation(name, prefix.strip("/"))


def _container(name: str, prefix: str, delimiter: re.Match[str] | None) -> ContainerLocation:
    if delimiter:
        raise ValueError(f"a container or prefix must not contain {delimiter[0]!r}")
    if "@" in name or "." in name:
        raise ValueError(
            f"expected a container without its account, which AZURE_STORAGE_ACCOUNT_NAME names, got {name!r}"
        )
    if not _CONTAINER.fullmatch(name):
        raise ValueError(
            f"expected a container's name of 3 to 63 lower-case letters, digits and single hyphens, got {name!r}"
        )
    return ContainerLocation(name, prefix.strip("/"))


def parse_folder(url: str) -> FolderLocation:
    """Parse the URL of a folder, by the same rules as `parse`.

    Raises:
        ValueError: it is not the URL of a folder, or a part of it would be ignored.

    """
    if not url.startswith("file://"):
        raise ValueError(_FOLDER_EXPECTED)
    parsed = parse(url)
    assert isinstance(parsed, FolderLocation)
    return parsed


def _folder(rest: str) -> FolderLocation:
    if not re.match(r"/[^/]", rest):
        raise ValueError(_FOLDER_EXPECTED)
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise ValueError("a path must not contain NUL")
    return FolderLocation(Path(path))
