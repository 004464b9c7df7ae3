"""The values of the public API: formats, checkpoints, and what calls return. The messages of the API stay inside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from holdfast._core.head import Head

MAX_FORMAT_VERSION = 2**31 - 1

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Format:
    """The format of a payload: a name and a version, at least 1."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class AcceptedFormat:
    """A format name, and the versions that are accepted, both bounds included."""

    name: str
    min_version: int
    max_version: int


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A part of a payload, without its bytes."""

    name: str
    size_bytes: int
    sha256: bytes
    crc32c: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A committed checkpoint, without its payload.

    Attributes:
        namespace: the namespace.
        workflow_id: the workflow.
        checkpoint_id: the id, unique in the workflow.
        revision: its revision in the workflow's log.
        parent_id: the checkpoint that it was made from; "" for none.
        format: the format of its payload.
        labels: its labels.
        parts: the parts of its payload.
        size_bytes: the bytes of all parts.
        created: when it was committed.
        expires: when its time to live ends; None for never.
        epoch: the epoch of the writer that saved it; 0 for none.
        request_id: the idempotency key of its save.
        trace_id: the trace of its save, 32 hex digits.
        replayed: whether an earlier attempt of the same save had committed it.
        pinned: whether retention and prunes keep it.
        stored_bytes: the bytes of all parts as the server stores them, without what they rest on; 0 from a server that
            does not report it.
        principal: the name of the caller that saved it, such as "token:ci"; "" if the server did not authenticate
            callers.
        producer: the name and version of the program that saved it; "" for each that it did not give.
        head: the head of the log when it was committed, which is its own entry; only of a checkpoint that `save`
            returns.
        base_revisions: the revisions of the earlier checkpoints that its bytes rest on in the store, ascending; empty
            if none, or from an older server.

    """

    namespace: str
    workflow_id: str
    checkpoint_id: str
    revision: int
    parent_id: str
    format: Format
    labels: Mapping[str, str]
    parts: tuple[PartInfo, ...]
    size_bytes: int
    created: datetime
    expires: datetime | None
    epoch: int
    request_id: str
    trace_id: str
    replayed: bool = False
    pinned: bool = False
    stored_bytes: int = 0
    principal: str = ""
    producer: tuple[str, str] = ("", "")
    head: Head | None = field(default=None, compare=False)
    base_revisions: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of a workflow's log, or a range of entries that were collected or are missing.

    Attributes:
        revision: its revision; the last one of a range.
        kind: "checkpoint", "fence", "deletion" (of checkpoints), "workflow_deletion", "collection" (a garbage
            collection), "collected" (entries that a collection or a deletion of the workflow has passed), "damaged",
            or "unknown" from a newer server.
        first_revision: the first revision of a range; the same as `revision` of a single entry.
        created: when it was committed; None for "collected" and "damaged", which have no further attributes but
            `reason` and `message`.
        epoch: the highest epoch that any writer was given up to this entry.
        request_id: the idempotency key of its call.
        trace_id: the trace of its call, 32 hex digits.
        principal: the name of its caller; "" if the server did not authenticate callers.
        holder: of a fence: the name of the lease's holder.
        lease_expires: of a fence: when its lease ends if nothing renews it; None without a lease.
        checkpoint: of a checkpoint: its metadata; without labels if the keyring cannot open them, and its ids only if
            it was purged.
        deleted: of a checkpoint: whether it was deleted since.
        deletion_revision: of a deleted checkpoint: the entry that deleted it; 0 if that was not found with few
            requests.
        purged: of a checkpoint: whether its content was purged.
        affected: the revisions that this entry deleted, as pairs of first and last, at most 100.
        more_affected: how many further pairs were left out.
        affected_checkpoint_id: of the deletion of one checkpoint: its id.
        reason: of a damaged entry: the reason, such as "CHECKPOINT_CORRUPTED".
        message: of a damaged entry: what is wrong with it.

    """

    revision: int
    kind: str
    first_revision: int
    created: datetime | None
    epoch: int = 0
    request_id: str = ""
    trace_id: str = ""
    principal: str = ""
    holder: str = ""
    lease_expires: datetime | None = None
    checkpoint: Checkpoint | None = None
    deleted: bool = False
    deletion_revision: int = 0
    purged: bool = False
    affected: tuple[tuple[int, int], ...] = ()
    more_affected: int = 0
    affected_checkpoint_id: str = ""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """A workflow, according to the head of its log.

    Attributes:
        namespace: the namespace.
        workflow_id: the workflow.
        head_revision: the revision of the head.
        checkpoint_revision: the newest revision that holds a checkpoint; 0 for none.
        epoch: the epoch of its newest writer.
        updated: when the head was written.
        head: the head; None if the newest marker is damaged, or from an older server.

    """

    namespace: str
    workflow_id: str
    head_revision: int
    checkpoint_revision: int
    epoch: int
    updated: datetime
    head: Head | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list.

    Attributes:
        items: the items, in the order of the list. A page may have fewer than were requested, and even none.
        next_page_token: the `page_token` of the next page; "" on the last page.

    """

    items: tuple[Item, ...]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that was skipped, or a finding against one."""

    checkpoint_id: str
    revision: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """Small data that is attached to a checkpoint id.

    Attributes:
        key: unique for the checkpoint id, 1 to 512 bytes.
        data: the bytes.
        replace: whether to replace the record that has the same key; only for records to attach.

    """

    key: str
    data: bytes
    replace: bool = False


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint with its payload.

    Attributes:
        info: its metadata.
        parts: its bytes by part name.
        format: the format of these bytes.
        fell_back: whether it is older than the checkpoint that was requested.
        skipped: the checkpoints that a fallback skipped, newest first.
        migrated_from: the format that it was stored in, if `resume` migrated it.
        head_revision: the revision of the head, which may be a fence or a deletion; 0 if the head is damaged.
        records: its records in the order of their keys, if they were requested.
        head: the head of the log; None if it is damaged, or from an older server. `history` does not set it.

    """

    info: Checkpoint
    parts: Mapping[str, bytes]
    format: Format
    fell_back: bool = False
    skipped: tuple[Skipped, ...] = ()
    migrated_from: Format | None = None
    head_revision: int = 0
    records: tuple[Record, ...] = ()
    head: Head | None = field(default=None, compare=False)

    @property
    def data(self) -> bytes:
        """The default part, or the only part if there is no default part.

        Raises:
            KeyError: there are several parts and none is the default.

        """
        if "" not in self.parts and len(self.parts) == 1:
            return next(iter(self.parts.values()))
        return self.parts[""]

    @property
    def revision(self) -> int:
        """Its revision."""
        return self.info.revision

    @property
    def checkpoint_id(self) -> str:
        """Its id."""
        return self.info.checkpoint_id


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A checkpoint of which one part was written to a file.

    Attributes:
        info: its metadata.
        part: the part that was written.
        fell_back: whether it is older than the checkpoint that was requested.
        skipped: the checkpoints that a fallback skipped, newest first.
        head_revision: the revision of the head, which may be a fence or a deletion; 0 if the head is damaged.
        head: the head of the log; None if it is damaged, or from an older server.

    """

    info: Checkpoint
    part: PartInfo
    fell_back: bool = False
    skipped: tuple[Skipped, ...] = ()
    head_revision: int = 0
    head: Head | None = field(default=None, compare=False)

    @property
    def format(self) -> Format:
        """The format of its payload."""
        return self.info.format

    @property
    def revision(self) -> int:
        """Its revision."""
        return self.info.revision

    @property
    def checkpoint_id(self) -> str:
        """Its id."""
        return self.info.checkpoint_id


@dataclass(frozen=True, slots=True)
class Validation:
    """Whether a checkpoint can be resumed from.

    Attributes:
        resumable: whether it can.
        findings: the findings against it.
        checkpoint: the checkpoint; None if it could not be read.
        last_good: the newest checkpoint that can be resumed from; None if there is none.
        head: the head of the log; None if there is none, if it is damaged, or from an older server.

    """

    resumable: bool
    findings: tuple[Skipped, ...]
    checkpoint: Checkpoint | None
    last_good: Checkpoint | None
    head: Head | None = None


@dataclass(frozen=True, slots=True)
class Writer:
    """The ownership of a workflow.

    Attributes:
        epoch: the writer's epoch, for its calls.
        revision: the revision of the fence.
        lease_expires: when the lease ends if no save renews it; None without a lease.
        head: the head of the log when the epoch was given, which is the fence; None from an older server.

    """

    epoch: int
    revision: int
    lease_expires: datetime | None = None
    head: Head | None = None


@dataclass(frozen=True, slots=True)
class RewrapFailure:
    """A checkpoint whose data keys could not all be wrapped again.

    Attributes:
        workflow_id: its workflow.
        checkpoint_id: the checkpoint; "" if it is not known.
        reason: the reason, such as "ENCRYPTION_KEY_MISSING".
        message: the message of the first problem.

    """

    workflow_id: str
    checkpoint_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What `rewrap_keys` has done.

    Attributes:
        workflows: the workflows that were looked at.
        checkpoints: the checkpoints that were looked at.
        data_keys: the data keys that were wrapped again. Those that had been before do not count.
        failed: how many failures there were.
        failures: the first 100 of them.

    """

    workflows: int = 0
    checkpoints: int = 0
    data_keys: int = 0
    failed: int = 0
    failures: tuple[RewrapFailure, ...] = ()


RewrapProgress = Callable[[Rewrapped], object]
