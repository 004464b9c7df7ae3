"""Answers of a server, checked before they reach the caller: a broken or hostile server must not hurt it.

An answer must name what was asked for, agree with itself, and be no larger than what it announces and what the caller
allows.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast._core import arguments
from holdfast._core.checkpoint import Record
from holdfast._core.errors import HoldfastError, of_reason
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

# What the records of one checkpoint may have together, where the caller sets no other limit.
RECORDS_BYTES = 512 << 20
_MOST_BYTES = 2**63 - 1


def answered(response: Any) -> Any:
    """Return a response. There is none where its bytes could not be read.

    Raises:
        InternalError: there is none.

    """
    if response is None:
        raise of_reason("INTERNAL", "the server's answer is not a message of the API, or of another version of it")
    return response


def require_named(
    found: checkpoint_pb2.Checkpoint, namespace: str, workflow_id: str = "", checkpoint_id: str = ""
) -> None:
    """Check that a checkpoint of an answer is one that was asked for.

    Args:
        found: the checkpoint.
        namespace: its namespace.
        workflow_id: its workflow; "" for any.
        checkpoint_id: its id; "" for any.

    Raises:
        InternalError: it is another one.

    """
    for name, wanted in (("namespace", namespace), ("workflow_id", workflow_id), ("checkpoint_id", checkpoint_id)):
        if wanted and getattr(found, name) != wanted:
            raise _wrong(f"{name} {getattr(found, name)[:200]!r} where {wanted!r} was asked for")
    if not found.checkpoint_id or not found.workflow_id or found.revision < 1:
        raise _wrong("a checkpoint without id, workflow or revision")


def require_loaded(answer: Any, request: Any) -> None:
    """Check that the answer to a load, or the header of its stream, is about the checkpoint that was asked for.

    Raises:
        InternalError: it is about another one.

    """
    if answer.fell_back and request.fallback != api.FALLBACK_LAST_GOOD:
        raise _wrong("an older checkpoint where none was asked for")
    checkpoint_id = "" if answer.fell_back else request.checkpoint_id
    require_named(answer.checkpoint, request.namespace, request.workflow_id, checkpoint_id)


def require_saved(
    found: checkpoint_pb2.Checkpoint, header: checkpoint_pb2.SaveHeader, sizes: Mapping[str, int]
) -> None:
    """Check that a checkpoint is the one that was saved.

    Args:
        found: the checkpoint.
        header: what was said of it.
        sizes: the bytes of each of its parts.

    Raises:
        InternalError: it is another one.

    """
    require_named(found, header.namespace, header.workflow_id, header.checkpoint_id)
    if found.format != header.format or {part.name: part.size_bytes for part in found.parts} != sizes:
        raise _wrong("a checkpoint with another format or other parts than were saved")


def require_listed(found: api.Workflow, request: api.ListWorkflowsRequest) -> None:
    """Check that a workflow of a list is one that was asked for.

    Raises:
        InternalError: it is another one.

    """
    if found.namespace != request.namespace or not found.workflow_id.startswith(request.workflow_id_prefix):
        raise _wrong(f"workflow {found.workflow_id[:200]!r} of namespace {found.namespace[:200]!r}, not asked for")


def require_writer(answer: api.AcquireWriterResponse) -> None:
    """Check that a writer has an epoch, without which its saves would not be fenced.

    Raises:
        InternalError: it has none.

    """
    if answer.epoch < 1 or answer.revision < 1:
        raise _wrong(f"a writer with epoch {answer.epoch} and revision {answer.revision}")


def paired(page: api.ListResponse) -> Iterable[tuple[checkpoint_pb2.Checkpoint, api.Content]]:
    """Return the checkpoints of a page with their contents.

    Raises:
        InternalError: there are more of these than of those.

    """
    if len(page.checkpoints) != len(page.contents):
        raise _wrong(f"{len(page.checkpoints)} checkpoints with {len(page.contents)} contents")
    return zip(page.checkpoints, page.contents, strict=True)


def require_sizes(found: checkpoint_pb2.Checkpoint, max_bytes: int | None) -> None:
    """Check what a checkpoint announces of its payload.

    Args:
        found: the checkpoint.
        max_bytes: the most that the caller takes; None for what this machine's memory could hold.

    Raises:
        CheckpointCorruptedError: it contradicts itself.
        PayloadTooLargeError: it is too much.

    """
    sizes = [part.size_bytes for part in found.parts]
    if len({part.name for part in found.parts}) != len(sizes) or any(size < 0 for size in sizes):
        raise of_reason("CHECKPOINT_CORRUPTED", "two parts of the checkpoint have one name, or one a negative size")
    if sum(sizes) != found.size_bytes:
        problem = f"the checkpoint announces {found.size_bytes} bytes, its parts {sum(sizes)}"
        raise of_reason("CHECKPOINT_CORRUPTED", problem)
    limit = _memory_bytes() if max_bytes is None else max_bytes
    if found.size_bytes > limit:
        what = "max_bytes" if max_bytes is not None else "this machine's memory"
        raise of_reason(
            "PAYLOAD_TOO_LARGE",
            f"the checkpoint has {found.size_bytes} bytes, {what} allows {limit}",
            metadata={"checkpoint_id": found.checkpoint_id, "size_bytes": str(found.size_bytes)},
            advice="Raise max_bytes, or load where there is more memory.",
        )


def limit_of(max_bytes: int | None) -> int | None:
    """Return the argument `max_bytes` of a call, a whole number of at least 0, or None."""
    return None if max_bytes is None else arguments.integer("max_bytes", max_bytes, 0, _MOST_BYTES)


class Collected:
    """The records of a checkpoint, over all pages.

    Args:
        max_bytes: how many bytes their keys and data may have together; None for 512 MiB.

    """

    def __init__(self, max_bytes: int | None) -> None:
        self._limit = RECORDS_BYTES if max_bytes is None else max_bytes
        self._size_bytes = 0
        self.records: list[Record] = []

    def add(self, records: Sequence[checkpoint_pb2.Record]) -> None:
        """Take a page.

        Raises:
            InternalError: its keys are not in order.
            PayloadTooLargeError: there are too many.

        """
        for each in records:
            data = each.data
            if self.records and each.key <= self.records[-1].key:
                raise _wrong(f"the record {each.key[:200]!r} out of order")
            self._size_bytes += len(each.key.encode()) + len(data)
            if self._size_bytes > self._limit:
                raise of_reason(
                    "PAYLOAD_TOO_LARGE",
                    f"the records of the checkpoint have more than {self._limit} bytes",
                    advice="Raise max_bytes.",
                )
            self.records.append(Record(each.key, data))


class Tokens:
    """The tokens of a list's pages, which must never come back. Any cycle is found, in no memory to speak of."""

    def __init__(self) -> None:
        self._remembered = ""
        self._steps = 0
        self._renewed_after = 1

    def require_new(self, token: str) -> None:
        """Check a token against one before it; the distance doubles, until it is a multiple of any cycle.

        Raises:
            InternalError: it was given before.

        """
        if token == self._remembered:
            raise _wrong("a page token for the second time, so that its list would never end")
        self._steps += 1
        if self._steps == self._renewed_after:
            self._remembered, self._steps, self._renewed_after = token, 0, self._renewed_after * 2


def _wrong(what: str) -> HoldfastError:
    return of_reason(
        "INTERNAL", f"the server gave {what}", advice="Check that the target is a server of Holdfast, and upgrade it."
    )


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _MOST_BYTES
