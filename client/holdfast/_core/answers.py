"""Checks of a server's answers before they reach the caller: a broken or hostile server must not hurt it.

An answer must name what was requested, must not contradict itself, and must not be larger than it announces or than the
caller allows.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from holdfast._core import arguments
from holdfast._core.checkpoint import AcceptedFormat, Checkpoint, Record, Validation
from holdfast._core.errors import HoldfastError, of_reason
from holdfast._core.messages import to_checkpoint, to_head, to_skipped
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

# The most bytes that the records of one checkpoint may have together, if the caller sets no other limit.
RECORDS_BYTES = 512 << 20
# More bytes than any payload has.
MAX_BYTES = 2**63 - 1


def answered(response: Any) -> Any:
    """Return a response. gRPC returns None if it could not parse the response's bytes.

    Raises:
        InternalError: it is None.

    """
    if response is None:
        raise of_reason("INTERNAL", "the server's answer is not a message of the API, or of another version of it")
    return response


def require_named(
    found: checkpoint_pb2.Checkpoint, namespace: str, workflow_id: str = "", checkpoint_id: str = ""
) -> None:
    """Check that a checkpoint of an answer is one that was requested.

    Args:
        found: the checkpoint.
        namespace: its namespace.
        workflow_id: its workflow; "" for any.
        checkpoint_id: its id; "" for any.

    Raises:
        InternalError: it is another one.

    """
    expected = {"namespace": namespace, "workflow_id": workflow_id, "checkpoint_id": checkpoint_id}
    for name, value in expected.items():
        if value and getattr(found, name) != value:
            raise wrong(f"{name} {getattr(found, name)[:200]!r}, but {value!r} was requested")
    if not found.checkpoint_id or not found.workflow_id or found.revision < 1:
        raise wrong("a checkpoint without id, workflow or revision")


def require_loaded(answer: Any, request: Any) -> None:
    """Check that the answer to a load, or the header of its stream, is about the requested checkpoint.

    Raises:
        InternalError: it is about another one.

    """
    if answer.fell_back and request.fallback != api.FALLBACK_LAST_GOOD:
        raise wrong("an older checkpoint, but no fallback was requested")
    checkpoint_id = "" if answer.fell_back else request.checkpoint_id
    require_named(answer.checkpoint, request.namespace, request.workflow_id, checkpoint_id)


def require_saved(
    found: checkpoint_pb2.Checkpoint, header: checkpoint_pb2.SaveHeader, sizes: Mapping[str, int]
) -> None:
    """Check that a checkpoint is the one that was saved.

    Args:
        found: the checkpoint.
        header: the header of the save.
        sizes: the bytes of each saved part.

    Raises:
        InternalError: it is another one.

    """
    require_named(found, header.namespace, header.workflow_id, header.checkpoint_id)
    if found.format != header.format or {part.name: part.size_bytes for part in found.parts} != sizes:
        raise wrong("a checkpoint with another format or other parts than were saved")


def require_listed(found: api.Workflow, request: api.ListWorkflowsRequest) -> None:
    """Check that a workflow of a list is one that was requested.

    Raises:
        InternalError: it is another one.

    """
    if found.namespace != request.namespace or not found.workflow_id.startswith(request.workflow_id_prefix):
        raise wrong(
            f"workflow {found.workflow_id[:200]!r} of namespace {found.namespace[:200]!r}, which was not requested"
        )


def require_entry(found: checkpoint_pb2.LogEntry, namespace: str, workflow_id: str) -> None:
    """Check that an entry of a log has possible revisions, and that its checkpoint is of the requested workflow.

    Raises:
        InternalError: it is not.

    """
    if not 1 <= found.first_revision <= found.revision:
        raise wrong(f"an entry of a log with revisions {found.first_revision} to {found.revision}")
    if found.kind == checkpoint_pb2.LOG_ENTRY_KIND_CHECKPOINT:
        require_named(found.checkpoint, namespace, workflow_id)
        if found.checkpoint.revision != found.revision:
            raise wrong(f"checkpoint revision {found.checkpoint.revision} in the entry of revision {found.revision}")


def required_entries(page: api.ListLogResponse, request: api.ListLogRequest) -> Iterator[checkpoint_pb2.LogEntry]:
    """Yield the entries of a page of a log, which must come newest first.

    Raises:
        InternalError: they do not, or one is not of the requested workflow.

    """
    below = None
    for entry in page.entries:
        require_entry(entry, request.namespace, request.workflow_id)
        if below is not None and entry.revision >= below:
            raise wrong(f"revision {entry.revision} of a log after revision {below}")
        below = entry.first_revision
        yield entry


def require_namespace(found: str, request: api.ListNamespacesRequest) -> None:
    """Check that a namespace of a list is one that was requested.

    Raises:
        InternalError: it is another one.

    """
    if not found or not found.startswith(request.namespace_prefix):
        raise wrong(f"namespace {found[:200]!r}, which was not requested")


def require_writer(answer: api.AcquireWriterResponse) -> None:
    """Check that a writer has an epoch, without which its saves would not be fenced.

    Raises:
        InternalError: it has none.

    """
    if answer.epoch < 1 or answer.revision < 1:
        raise wrong(f"a writer with epoch {answer.epoch} and revision {answer.revision}")


def require_all_deleted(
    failed: Sequence[api.FailedDeletion], deleted: int, request: api.DeleteWorkflowsRequest
) -> None:
    """Raise the first failure of a deletion of many workflows, and count the others.

    Raises:
        HoldfastError: at least one workflow could not be deleted.

    """
    if not failed:
        return
    first = failed[0]
    raise of_reason(
        first.reason,
        f"{len(failed)} workflows could not be deleted, {deleted} were; the first is {first.workflow_id!r}: "
        f"{first.message}",
        request_id=request.request_id,
        metadata={"workflow_id": first.workflow_id, "failed": str(len(failed)), "deleted": str(deleted)},
    )


def require_accepted(found: Checkpoint, accepted: Sequence[AcceptedFormat]) -> None:
    """Refuse a checkpoint of another format, as a server does in a load.

    Raises:
        FormatIncompatibleError: it has none of the formats. An empty sequence means any format.

    """
    name, version = found.format.name, found.format.version
    if accepted and not any(one.name == name and one.min_version <= version <= one.max_version for one in accepted):
        understood = ", ".join(f"{one.name} {one.min_version} to {one.max_version}" for one in accepted)
        raise of_reason(
            "FORMAT_INCOMPATIBLE",
            f"the checkpoint has format {name} version {version}, the caller accepts {understood}",
            metadata={"checkpoint_id": found.checkpoint_id, "revision": str(found.revision)},
        )


def validated(response: api.ValidateResponse, request: api.ValidateRequest) -> Validation:
    """Return the result of a validation.

    Raises:
        InternalError: it is about another checkpoint.

    """
    if response.HasField("checkpoint"):
        require_named(response.checkpoint, request.namespace, request.workflow_id, request.checkpoint_id)
    if response.HasField("last_good"):
        require_named(response.last_good, request.namespace, request.workflow_id)
    return Validation(
        resumable=response.resumable,
        findings=tuple(to_skipped(finding) for finding in response.findings),
        checkpoint=to_checkpoint(response.checkpoint) if response.HasField("checkpoint") else None,
        last_good=to_checkpoint(response.last_good) if response.HasField("last_good") else None,
        head=to_head(response),
    )


def paired(page: api.ListResponse) -> Iterable[tuple[checkpoint_pb2.Checkpoint, api.Content]]:
    """Return the checkpoints of a page with their contents.

    Raises:
        InternalError: their numbers differ.

    """
    if len(page.checkpoints) != len(page.contents):
        raise wrong(f"{len(page.checkpoints)} checkpoints with {len(page.contents)} contents")
    return zip(page.checkpoints, page.contents, strict=True)


def require_sizes(found: checkpoint_pb2.Checkpoint, max_bytes: int | None) -> None:
    """Check the sizes that a checkpoint announces.

    Args:
        found: the checkpoint.
        max_bytes: the most bytes that the caller accepts; None for what this machine's memory could hold.

    Raises:
        CheckpointCorruptedError: the sizes contradict each other.
        PayloadTooLargeError: the payload is too large.

    """
    sizes = [part.size_bytes for part in found.parts]
    if len({part.name for part in found.parts}) != len(sizes) or any(size < 0 for size in sizes):
        raise of_reason(
            "CHECKPOINT_CORRUPTED", "two parts of the checkpoint have the same name, or a part has a negative size"
        )
    if sum(sizes) != found.size_bytes:
        problem = f"the checkpoint announces {found.size_bytes} bytes, its parts {sum(sizes)}"
        raise of_reason("CHECKPOINT_CORRUPTED", problem)
    limit = memory_bytes() if max_bytes is None else max_bytes
    if found.size_bytes > limit:
        source = "max_bytes" if max_bytes is not None else "this machine's memory"
        raise of_reason(
            "PAYLOAD_TOO_LARGE",
            f"the checkpoint has {found.size_bytes} bytes, {source} allows {limit}",
            metadata={"checkpoint_id": found.checkpoint_id, "size_bytes": str(found.size_bytes)},
            advice="Raise max_bytes, or load where there is more memory.",
        )


def limit_of(max_bytes: int | None) -> int | None:
    """Return the argument `max_bytes` of a call: an integer of at least 0, or None."""
    return None if max_bytes is None else arguments.integer("max_bytes", max_bytes, 0, MAX_BYTES)


class Collected:
    """The records of a checkpoint, collected over all pages.

    Args:
        max_bytes: the most bytes that keys and data may have together; None for 512 MiB.

    """

    def __init__(self, max_bytes: int | None) -> None:
        self._limit = RECORDS_BYTES if max_bytes is None else max_bytes
        self._size_bytes = 0
        self.records: list[Record] = []

    def add(self, records: Sequence[checkpoint_pb2.Record]) -> None:
        """Add the records of a page.

        Raises:
            InternalError: the keys are not in order.
            PayloadTooLargeError: there are too many bytes.

        """
        for record in records:
            data = record.data
            if self.records and record.key <= self.records[-1].key:
                raise wrong(f"the record {record.key[:200]!r} out of order")
            self._size_bytes += len(record.key.encode()) + len(data)
            if self._size_bytes > self._limit:
                raise of_reason(
                    "PAYLOAD_TOO_LARGE",
                    f"the records of the checkpoint have more than {self._limit} bytes",
                    advice="Raise max_bytes.",
                )
            self.records.append(Record(record.key, data))


class Tokens:
    """The page tokens of one list, which must never repeat. Finds a cycle of any length in constant memory."""

    def __init__(self) -> None:
        self._remembered = ""
        self._steps = 0
        self._renewed_after = 1

    def require_new(self, token: str) -> None:
        """Compare a token with an earlier one. The distance doubles until it is a multiple of any cycle's length.

        Raises:
            InternalError: the server gave this token before.

        """
        if token == self._remembered:
            raise wrong("the same page token twice, so that its list would never end")
        self._steps += 1
        if self._steps == self._renewed_after:
            self._remembered, self._steps, self._renewed_after = token, 0, self._renewed_after * 2


def wrong(answer: str) -> HoldfastError:
    """Return the error for an answer that no server of Holdfast gives."""
    return of_reason(
        "INTERNAL", f"the server sent {answer}", advice="Check that the target is a Holdfast server, and upgrade it."
    )


def memory_bytes() -> int:
    """Return the size of this machine's memory; `MAX_BYTES` if it is not known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return MAX_BYTES
