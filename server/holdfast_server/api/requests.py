"""Checks the fields of requests and turns them into the protocol's values.

Every function raises InvalidRequestError, which names the field, if a value is not allowed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from crc32c import crc32c
from google.protobuf.timestamp_pb2 import Timestamp
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import limits
from holdfast_server.api.errors import InvalidRequestError
from holdfast_server.protocol.checkpoints.load import AcceptedFormat
from holdfast_server.protocol.checkpoints.save import CheckpointSpec
from holdfast_server.protocol.errors import Reason
from holdfast_server.protocol.format import names
from holdfast_server.protocol.format.invariants import is_time
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.log.append_once import Origin, Request
from holdfast_server.protocol.log.leases import MAX_LEASE_SECONDS, Lease
from holdfast_server.protocol.log.log import now
from holdfast_server.protocol.log.replays import LONG_AGO

_MAX_RECORD_KEY_BYTES = 512
_MAX_LABEL_VALUE_BYTES = 1024
_MAX_VERSION = 2**31 - 1
_MAX_TTL_SECONDS = 100 * 366 * 24 * 3600
# Workflows whose keys are kept, about 1 kB each.
_KEPT_WORKFLOWS = 1024

_WithEpoch = (
    api.AttachRecordsRequest
    | api.DeleteRequest
    | api.DeleteCheckpointsRequest
    | api.DeleteWorkflowRequest
    | api.PruneRequest
)


def invalid(field: str, problem: str) -> InvalidRequestError:
    """Return the error of a field."""
    return InvalidRequestError(field, problem)


@lru_cache(maxsize=_KEPT_WORKFLOWS)
def workflow(in_namespace: str, workflow_id: str) -> WorkflowKeys:
    """Check the ids of a workflow and return its keys. They are kept, since most calls are to the same workflows."""
    namespace(in_namespace)
    name("workflow_id", workflow_id, names.MAX_WORKFLOW_ID_BYTES)
    return WorkflowKeys(in_namespace, workflow_id)


def namespace(given: str) -> None:
    """Check a namespace."""
    name("namespace", given, names.MAX_NAMESPACE_BYTES)


def name(field: str, value: str, limit_bytes: int, *, required: bool = True) -> None:
    """Check an identifier. An empty one is allowed only if it is not required."""
    if not value:
        if required:
            raise invalid(field, "must not be empty")
        return
    if value in (".", ".."):
        raise invalid(field, 'must not be "." or ".."')
    name_prefix(field, value, limit_bytes)


def name_prefix(field: str, value: str, limit_bytes: int) -> None:
    """Check the beginning of an identifier, which may be empty."""
    problem = names.problem_of(value, limit_bytes)
    if problem:
        raise invalid(field, problem)


def append(
    keys: WorkflowKeys, request_id: str, attempt: checkpoint_pb2.Attempt, epoch: int | None, origin: Origin
) -> Request:
    """Check the fields that every appending request has."""
    name("request_id", request_id, 128)
    if epoch is not None and epoch < 0:
        raise invalid("epoch", f"expected 0 or more, got {epoch}")
    if attempt.number < 0:
        raise invalid("attempt.number", f"expected 0 or more, got {attempt.number}")
    elapsed = attempt.elapsed.seconds + attempt.elapsed.nanos / 1e9 if attempt.HasField("elapsed") else 0.0
    if elapsed < 0:
        raise invalid("attempt.elapsed", f"expected 0 or more, got {elapsed} s")
    first_attempt_at = None
    if elapsed or attempt.number > 1:
        first_attempt_at = now() - elapsed if elapsed else LONG_AGO
    is_silent = not (elapsed or attempt.number)
    return Request(
        keys,
        request_id,
        epoch,
        None if attempt.number == 1 else first_attempt_at,
        is_silent=is_silent,
        origin=origin,
    )


def append_with_epoch(request: _WithEpoch, origin: Origin) -> Request:
    """Check the workflow, the epoch and the other fields of an appending request that has an epoch."""
    keys = workflow(request.namespace, request.workflow_id)
    epoch = request.epoch if request.HasField("epoch") else None
    return append(keys, request.request_id, request.attempt, epoch, origin)


def save(header: checkpoint_pb2.SaveHeader, origin: Origin) -> CheckpointSpec:
    """Check the header of a save."""
    keys = workflow(header.namespace, header.workflow_id)
    epoch = header.epoch if header.HasField("epoch") else None
    name("checkpoint_id", header.checkpoint_id, 256, required=False)
    name("parent_id", header.parent_id, 256, required=False)
    if header.replace and not header.checkpoint_id:
        raise invalid("checkpoint_id", "must not be empty if replace is set")
    if header.fresh_id and not header.checkpoint_id:
        raise invalid("checkpoint_id", "must not be empty if fresh_id is set")
    if header.needs_parent and not header.parent_id:
        raise invalid("parent_id", "must not be empty if needs_parent is set")
    format_name, format_version = header.format.name, header.format.version
    name("format.name", format_name, 128)
    if format_version < 1:
        raise invalid("format.version", f"expected 1 to {_MAX_VERSION}, got {format_version}")
    producer_name, producer_version = header.producer.name, header.producer.version
    name("producer.name", producer_name, 128, required=False)
    name("producer.version", producer_version, 128, required=False)
    return CheckpointSpec(
        request=append(keys, header.request_id, header.attempt, epoch, origin),
        format_name=format_name,
        format_version=format_version,
        checkpoint_id=header.checkpoint_id,
        parent_id=header.parent_id,
        producer_name=producer_name,
        producer_version=producer_version,
        labels=labels("labels", header.labels),
        expected_revision=expected_revision(header),
        ttl_seconds=_ttl(header),
        replace=header.replace,
        needs_parent=header.needs_parent,
        pinned=header.pinned,
        fresh_id=header.fresh_id,
    )


def expected_revision(given: checkpoint_pb2.SaveHeader | api.AcquireWriterRequest) -> int | None:
    """Check the expected revision and return it; None if the request expects none."""
    if not given.HasField("expected_revision"):
        return None
    if not 0 <= given.expected_revision <= MAX_REVISION:
        raise invalid("expected_revision", f"expected 0 to {MAX_REVISION}, got {given.expected_revision}")
    return given.expected_revision


def lease(given: api.AcquireWriterRequest) -> Lease:
    """Check the lease that an acquisition requests."""
    name("holder", given.holder, 128, required=False)
    if not given.HasField("lease"):
        if given.holder:
            raise invalid("holder", "needs a lease")
        return Lease(force=given.force)
    seconds = float(given.lease.seconds) + given.lease.nanos / 1e9
    if not 0 < seconds <= MAX_LEASE_SECONDS:
        raise invalid("lease", f"expected more than 0 and at most {MAX_LEASE_SECONDS:.0f} s, got {seconds} s")
    return Lease(seconds, given.holder, given.force)


def labels(field: str, given: Mapping[str, str]) -> dict[str, str]:
    """Check labels and return them as a new dictionary."""
    if not given:
        return {}
    if len(given) > limits.MAX_LABELS:
        raise invalid(field, f"expected at most {limits.MAX_LABELS} labels, got {len(given)}")
    checked = dict(given)
    for key, value in checked.items():
        name(f"{field} key {key[:40]!r}", key, 128)
        size = len(value.encode())
        if size > _MAX_LABEL_VALUE_BYTES:
            raise invalid(f"{field}[{key!r}]", f"expected at most {_MAX_LABEL_VALUE_BYTES} bytes, got {size}")
        if "\0" in value:
            raise invalid(f"{field}[{key!r}]", "must not contain NUL")
    return checked


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part of a unary save.

    Attributes:
        name: its name.
        data: its bytes.
        crc32c: their CRC-32C, if the caller sent it; it was checked.

    """

    name: str
    data: bytes
    crc32c: int | None


def parts(given: Sequence[checkpoint_pb2.Part]) -> Sequence[UploadedPart]:
    """Check the parts of a unary save and return them."""
    if not given:
        raise invalid("parts", "must hold at least one part")
    if len(given) > limits.MAX_PARTS:
        raise invalid("parts", f"expected at most {limits.MAX_PARTS} parts, got {len(given)}")
    # Each access to a field of bytes copies it.
    uploaded = [UploadedPart(part.name, part.data, part.crc32c if part.HasField("crc32c") else None) for part in given]
    total = sum(len(part.data) for part in uploaded)
    if total > limits.UNARY_PAYLOAD_BYTES:
        problem = f"expected at most {limits.UNARY_PAYLOAD_BYTES} bytes, got {total}: use SaveStream"
        raise InvalidRequestError("parts", problem, Reason.PAYLOAD_TOO_LARGE)
    seen: set[str] = set()
    for index, part in enumerate(uploaded):
        part_name(f"parts[{index}].name", part.name, seen)
        if part.crc32c is not None and crc32c(part.data) != part.crc32c:
            raise invalid(f"parts[{index}].crc32c", "does not match the data")
    return uploaded


def part_name(field: str, value: str, seen: set[str]) -> None:
    """Check a part's name, which must not be in `seen`, and add it there."""
    name(field, value, 256, required=False)
    if value in seen:
        raise invalid(field, f"{value!r} names two parts")
    seen.add(value)


def records(given: Sequence[checkpoint_pb2.Record]) -> None:
    """Check the records of a call."""
    if not 1 <= len(given) <= limits.MAX_RECORDS:
        raise invalid("records", f"expected 1 to {limits.MAX_RECORDS} records, got {len(given)}")
    seen: set[str] = set()
    total = 0
    for index, record in enumerate(given):
        size = len(record.key.encode())
        if not 1 <= size <= _MAX_RECORD_KEY_BYTES:
            raise invalid(f"records[{index}].key", f"expected 1 to {_MAX_RECORD_KEY_BYTES} bytes, got {size}")
        if record.key in seen:
            raise invalid(f"records[{index}].key", f"{record.key[:40]!r} names two records")
        seen.add(record.key)
        total += size + len(record.data)
    if total > limits.RECORDS_BYTES:
        problem = f"expected at most {limits.RECORDS_BYTES} bytes of keys and data, got {total}"
        raise InvalidRequestError("records", problem, Reason.PAYLOAD_TOO_LARGE)


def chunk(given: checkpoint_pb2.Chunk, offset: int) -> bytes:
    """Check a chunk of a streamed save, which must begin at `offset` of its part, and return its data."""
    # Each access to the field copies it.
    data = given.data
    if len(data) > limits.CHUNK_BYTES:
        raise invalid("chunk.data", f"expected at most {limits.CHUNK_BYTES} bytes, got {len(data)}")
    if given.offset != offset:
        raise invalid("chunk.offset", f"expected {offset}, the next byte of part {given.part!r}, got {given.offset}")
    if crc32c(data) != given.crc32c:
        raise invalid("chunk.crc32c", f"does not match the data at offset {given.offset} of part {given.part!r}")
    return data


def formats(field: str, given: Sequence[checkpoint_pb2.AcceptedFormat]) -> tuple[AcceptedFormat, ...]:
    """Check the formats that a caller accepts."""
    if len(given) > limits.MAX_FORMATS:
        raise invalid(field, f"expected at most {limits.MAX_FORMATS} formats, got {len(given)}")
    accepted = []
    for index, each in enumerate(given):
        name(f"{field}[{index}].name", each.name, 128)
        if not 1 <= each.min_version <= each.max_version:
            raise invalid(
                f"{field}[{index}]",
                f"expected 1 <= min_version <= max_version, got {each.min_version} and {each.max_version}",
            )
        accepted.append(AcceptedFormat(each.name, each.min_version, each.max_version))
    return tuple(accepted)


def times(given: api.ListFilter) -> None:
    """Check the times of a filter."""
    for field in ("created_after", "created_before"):
        each: Timestamp = getattr(given, field)
        if not is_time(each):
            raise invalid(f"filter.{field}", f"invalid time: {each.seconds} s, {each.nanos} ns")


def page_size(given: int) -> int:
    """Check the size of a page and return it, or the default for 0."""
    return max_records(given) or limits.DEFAULT_PAGE_SIZE


def max_records(given: int) -> int | None:
    """Check the size of a page of records and return it; None for 0, which means as many as fit."""
    if not 0 <= given <= limits.MAX_PAGE_SIZE:
        raise invalid("page_size", f"expected 0 to {limits.MAX_PAGE_SIZE}, got {given}")
    return given or None


def revision(field: str, given: api.ListLogRequest | api.WatchWorkflowRequest, highest: int) -> int | None:
    """Check an optional revision of a request and return it; None if the request has none."""
    if not given.HasField(field):  # type: ignore[arg-type]
        return None
    found: int = getattr(given, field)
    if not 0 <= found <= highest:
        raise invalid(field, f"expected 0 to {highest}, got {found}")
    return found


def revision_token(token: str) -> int | None:
    """Return the revision of a page token of List; None for an empty token."""
    if not token:
        return None
    if not (token.isascii() and token.isdigit() and len(token) <= 12):
        raise foreign_page_token()
    return int(token)


def foreign_page_token() -> InvalidRequestError:
    """Return the error of a page token that this service did not issue."""
    return invalid("page_token", "not issued by this service")


def _ttl(header: checkpoint_pb2.SaveHeader) -> float | None:
    if not header.HasField("ttl"):
        return None
    seconds = float(header.ttl.seconds) + header.ttl.nanos / 1e9
    if not 0 < seconds <= _MAX_TTL_SECONDS:
        raise invalid("ttl", f"expected more than 0 and at most {_MAX_TTL_SECONDS} s, got {seconds} s")
    return seconds
