"""Entries that a workflow's log must have, and their comparison with checkpoints that it has."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast._core.checkpoint import Checkpoint, Format, LoadedCheckpoint


@dataclass(frozen=True, slots=True)
class Entry:
    """A checkpoint that the log must have next.

    Attributes:
        name: its name in errors, such as "step 3".
        parts: the parts of its payload; the unnamed one has the name "".
        format: the payload's format.
        labels: its labels.
        checkpoint_id: its id; "" lets the server choose.
        parent_id: its parent; "" for none.
        options: other arguments of `AsyncClient.save`.
        compared: the parts whose content must be equal in a checkpoint that exists; None for all.

    """

    name: str
    parts: Mapping[str, bytes]
    format: Format
    labels: Mapping[str, str] = field(default_factory=dict)
    checkpoint_id: str = ""
    parent_id: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    compared: frozenset[str] | None = None


class Expected:
    """The content of an entry, as digests."""

    def __init__(self, entry: Entry) -> None:
        self.name = entry.name
        self._format = entry.format
        self._labels = entry.labels
        self._compared = entry.compared
        self._digests = dict(_digests(entry))

    def is_content_of(self, loaded: LoadedCheckpoint) -> bool:
        """Return whether a checkpoint has it. The checkpoint may have further labels."""
        labels = loaded.info.labels
        if loaded.info.format != self._format or any(labels.get(name) != text for name, text in self._labels.items()):
            return False
        return self._digests == {
            name: hashlib.sha256(data).digest()
            for name, data in loaded.parts.items()
            if self._compared is None or name in self._compared
        }


def _digests(entry: Entry) -> Iterable[tuple[str, bytes]]:
    for name, data in entry.parts.items():
        if entry.compared is None or name in entry.compared:
            yield name, hashlib.sha256(data).digest()


def fingerprint_of_entry(entry: Entry) -> bytes:
    """Return a digest of all that makes an entry's content."""
    return _fingerprint(entry.format, entry.labels, _digests(entry))


def fingerprint_of(info: Checkpoint, compared: frozenset[str] | None) -> bytes:
    """Return the same of a checkpoint, if its parts are not encrypted.

    Args:
        info: the checkpoint.
        compared: as in the entry.

    """
    digests = [(part.name, part.sha256) for part in info.parts if compared is None or part.name in compared]
    return _fingerprint(info.format, info.labels, digests)


def _fingerprint(format_: Format, labels: Mapping[str, str], digests: Iterable[tuple[str, bytes]]) -> bytes:
    described = (format_.name, format_.version, sorted(labels.items()), sorted(digests))
    return hashlib.sha256(repr(described).encode()).digest()
