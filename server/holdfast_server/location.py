"""Where a store lies, as its URL says it: read in one place, whole or not at all."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

# In a URL these begin what is not part of the place. Nothing may be cut off in silence.
_CUTS = re.compile(r"[?#]")
# Parsers of URLs drop some of these.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class FolderLocation:
    """A folder of this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class BucketLocation:
    """A bucket, and the prefix of every key in it, without slashes around it."""

    bucket: str
    prefix: str


def parse(url: str) -> FolderLocation | BucketLocation:
    """Read a store's URL.

    Args:
        url: `file:///path`, percent-encoded as usual, or `s3://bucket/prefix`, whose prefix is taken as it stands.

    Raises:
        ValueError: it names no place, or a part of it would be cut off. The message says what is wrong.

    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("file", "s3"):
        raise ValueError("is neither a path nor file:///path nor s3://bucket/prefix")
    found = _UNPRINTABLE.search(url)
    if found:
        raise ValueError(f"holds {found[0]!r}, which must be written as %{ord(found[0]):02X}")
    cut = _CUTS.search(rest)
    if scheme == "file":
        if cut:
            raise ValueError(f"holds {cut[0]!r}, which must be written as %{ord(cut[0]):02X} in a URL")
        return _folder(rest)
    if cut:
        raise ValueError(f"holds {cut[0]!r}, which no bucket or prefix of a store may hold")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"has {bucket!r} where the name of a bucket is expected")
    return BucketLocation(bucket, prefix.strip("/"))


def _folder(rest: str) -> FolderLocation:
    if not re.match(r"/[^/]", rest):
        raise ValueError("is not file:///path: the path must be absolute, without a host before it")
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise ValueError("holds NUL, which no path may hold")
    return FolderLocation(Path(path))
