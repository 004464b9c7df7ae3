"""Requests checked, field by field, and turned into the protocol's own values."""

import re
from collections.abc import Mapping, Sequence

from crc32c import crc32c
from google.protobuf.timestamp_pb2 import Timestamp
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api.errors import InvalidRequestError
from holdfast_server.protocol.entries import Request
from holdfast_server.protocol.errors import Reason
from holdfast_server.protocol.keys import MAX_REVISION, WorkflowKeys
from holdfast_server.protocol.leases import MAX_LEASE_SECONDS, Lease
from holdfast_server.protocol.load import AcceptedFormat
from holdfast_server.protocol.log import now
from holdfast_server.protocol.retries import LONG_AGO
from holdfast_server.protocol.save import SaveRequest
from holdfast_server.protocol.sense import is_time

UNARY_PAYLOAD_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
# Of the records of one call, and of those of one answer, which has a payload beside them.
RECORDS_BYTES = 3 << 20
RECORDS_ANSWER_BYTES = 2 << 20
# Of one page, all in all: clients read 4 MiB unless told otherwise.
PAGE_BYTES = 3 << 20
MAX_RECORDS = 1000
MAX_PARTS = 256
MAX_LABELS = 64
MAX_FORMATS = 64
MAX_RANGES = 1024
MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100

_MAX_KEY_BYTES = 512
# C0, DEL and C1; the separators of lines and paragraphs; what reorders the text around it (Unicode's Bidi_Control).
_UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")
_MAX_VERSION = 2**31 - 1
_MAX_TTL_SECONDS = 100 * 366 * 24 * 3600


def workflow(namespace: str, workflow_id: str) -> WorkflowKeys:
    """The workflow that a request names."""
    name("namespace", namespace, 128)
    name("workflow_id", workflow_id, 512)
    return WorkflowKeys(namespace, workflow_id)


def name(field: str, value: str, limit: int, *, required: bool = True) -> None:
    """Check an identifier.

    Raises:
        InvalidRequestError: it is empty though required, too long, or holds what no name may hold.

    """
    if required and not value:
        raise invalid(field, "must not be empty")
    if value in (".", ".."):
        raise invalid(field, 'must not be "." or ".."')
    name_prefix(field, value, limit)


def name_prefix(field: str, value: str, limit: int) -> None:
    """Check what an identifier may begin with; "" is anything.

    Raises:
        InvalidRequestError: it is too long, or holds what no name may hold.

    """
    # Characters first, so that a text of megabytes is not copied.
    if len(value) > limit or len(value.encode()) > limit:
        raise invalid(field, f"has {len(value)} characters, the limit is {limit} bytes of UTF-8")
    if "/" in value or "\\" in value:
        raise invalid(field, "must not hold a slash")
    if _UNPRINTABLE.search(value):
        raise invalid(field, "must not hold NUL, other control characters or those that change the direction of text")


def request(
    keys: WorkflowKeys, request_id: str, attempt: checkpoint_pb2.Attempt, epoch: int | None, trace_id: str
) -> Request:
    """What every appending request says of itself."""
    name("request_id", request_id, 128)
    if epoch is not None and epoch < 0:
        raise invalid("epoch", f"is {epoch}, must not be negative")
    if attempt.number < 0:
        raise invalid("attempt.number", f"is {attempt.number}, must not be negative")
    elapsed = attempt.elapsed.seconds + attempt.elapsed.nanos / 1e9
    if elapsed < 0:
        raise invalid("attempt.elapsed", "must not be negative")
    first_tried = None
    if elapsed or attempt.number > 1:
        first_tried = now() - elapsed if elapsed else LONG_AGO
    is_silent = not (elapsed or attempt.number)
    return Request(
        keys,
        request_id,
        epoch,
        None if attempt.number == 1 else first_tried,
        is_silent=is_silent,
        trace_id=trace_id,
    )


def save(header: checkpoint_pb2.SaveHeader, trace_id: str) -> SaveRequest:
    """The header of a save."""
    keys = workflow(header.namespace, header.workflow_id)
    epoch = header.epoch if header.HasField("epoch") else None
    name("checkpoint_id", header.checkpoint_id, 256, required=False)
    name("parent_id", header.parent_id, 256, required=False)
    if header.replace and not header.checkpoint_id:
        raise invalid("checkpoint_id", "must not be empty where replace is set")
    if header.needs_parent and not header.parent_id:
        raise invalid("parent_id", "must not be empty where needs_parent is set")
    name("format.name", header.format.name, 128)
    if header.format.version < 1:
        raise invalid("format.version", f"is {header.format.version}, must be 1 to {_MAX_VERSION}")
    name("producer.name", header.producer.name, 128, required=False)
    name("producer.version", header.producer.version, 128, required=False)
    return SaveRequest(
        request=request(keys, header.request_id, header.attempt, epoch, trace_id),
        format_name=header.format.name,
        format_version=header.format.version,
        checkpoint_id=header.checkpoint_id,
        parent_id=header.parent_id,
        producer_name=header.producer.name,
        producer_version=header.producer.version,
        labels=labels("labels", header.labels),
        expected_revision=expected_revision(header),
        ttl_seconds=_ttl(header),
        replace=header.replace,
        needs_parent=header.needs_parent,
        pinned=header.pinned,
    )


def expected_revision(given: checkpoint_pb2.SaveHeader | api.AcquireWriterRequest) -> int | None:
    """The revision that a request expects; None where it expects none."""
    if not given.HasField("expected_revision"):
        return None
    if not 0 <= given.expected_revision <= MAX_REVISION:
        raise invalid("expected_revision", f"is {given.expected_revision}, must be 0 to {MAX_REVISION}")
    return given.expected_revision


def lease(given: api.AcquireWriterRequest) -> Lease:
    """The lease that an acquisition asks for."""
    name("holder", given.holder, 128, required=False)
    if not given.HasField("lease"):
        if given.holder:
            raise invalid("holder", "needs a lease")
        return Lease(force=given.force)
    seconds = float(given.lease.seconds) + given.lease.nanos / 1e9
    if not 0 < seconds <= MAX_LEASE_SECONDS:
        raise invalid("lease", f"is {seconds} s, must be more than 0 and at most {MAX_LEASE_SECONDS:.0f} s")
    return Lease(seconds, given.holder, given.force)


def labels(field: str, given: Mapping[str, str]) -> dict[str, str]:
    """Labels, as a dictionary of their own."""
    if len(given) > MAX_LABELS:
        raise invalid(field, f"has {len(given)} labels, the limit is {MAX_LABELS}")
    checked = dict(given)
    for key, value in checked.items():
        name(f"{field} key {key[:40]!r}", key, 128)
        if len(value.encode()) > 1024:
            raise invalid(f"{field}[{key!r}]", f"has {len(value.encode())} bytes, the limit is 1024")
        if "\0" in value:
            raise invalid(f"{field}[{key!r}]", "must not hold NUL")
    return checked


def parts(given: Sequence[checkpoint_pb2.Part]) -> None:
    """Check the parts of a unary save."""
    if not given:
        raise invalid("parts", "must hold at least one part")
    if len(given) > MAX_PARTS:
        raise invalid("parts", f"has {len(given)} parts, the limit is {MAX_PARTS}")
    total = sum(len(part.data) for part in given)
    if total > UNARY_PAYLOAD_BYTES:
        what = f"hold {total} bytes, the limit of Save is {UNARY_PAYLOAD_BYTES}: use SaveStream"
        raise InvalidRequestError("parts", what, Reason.PAYLOAD_TOO_LARGE)
    seen: set[str] = set()
    for index, part in enumerate(given):
        part_name(f"parts[{index}].name", part.name, seen)
        if part.HasField("crc32c") and crc32c(part.data) != part.crc32c:
            raise invalid(f"parts[{index}].crc32c", "does not match the data")


def part_name(field: str, value: str, seen: set[str]) -> None:
    """Check a part's name, which must be new, and enter it in `seen`."""
    name(field, value, 256, required=False)
    if value in seen:
        raise invalid(field, f"{value!r} names two parts")
    seen.add(value)


def records(given: Sequence[checkpoint_pb2.Record]) -> None:
    """Check the records of a call."""
    if not 1 <= len(given) <= MAX_RECORDS:
        raise invalid("records", f"holds {len(given)} records, must hold 1 to {MAX_RECORDS}")
    seen: set[str] = set()
    total = 0
    for index, record in enumerate(given):
        size = len(record.key.encode())
        if not 1 <= size <= _MAX_KEY_BYTES:
            raise invalid(f"records[{index}].key", f"has {size} bytes, must have 1 to {_MAX_KEY_BYTES}")
        if record.key in seen:
            raise invalid(f"records[{index}].key", f"{record.key[:40]!r} names two records")
        seen.add(record.key)
        total += size + len(record.data)
    if total > RECORDS_BYTES:
        what = f"hold {total} bytes, the limit of one call is {RECORDS_BYTES}"
        raise InvalidRequestError("records", what, Reason.PAYLOAD_TOO_LARGE)


def chunk(given: checkpoint_pb2.Chunk, offset: int) -> bytes:
    """The data of a chunk of a streamed save, which must begin at `offset` of its part."""
    # Each look at the field copies it.
    data = given.data
    if len(data) > CHUNK_BYTES:
        raise invalid("chunk.data", f"has {len(data)} bytes, the limit is {CHUNK_BYTES}")
    if given.offset != offset:
        raise invalid("chunk.offset", f"is {given.offset}, part {given.part!r} has {offset} bytes so far")
    if crc32c(data) != given.crc32c:
        raise invalid("chunk.crc32c", f"does not match the data at offset {given.offset} of part {given.part!r}")
    return data


def formats(field: str, given: Sequence[checkpoint_pb2.AcceptedFormat]) -> tuple[AcceptedFormat, ...]:
    """The formats that a caller accepts."""
    if len(given) > MAX_FORMATS:
        raise invalid(field, f"has {len(given)} formats, the limit is {MAX_FORMATS}")
    accepted = []
    for index, each in enumerate(given):
        name(f"{field}[{index}].name", each.name, 128)
        if not 1 <= each.min_version <= each.max_version:
            raise invalid(f"{field}[{index}]", "versions must hold: 1 <= min_version <= max_version")
        accepted.append(AcceptedFormat(each.name, each.min_version, each.max_version))
    return tuple(accepted)


def times(given: api.ListFilter) -> None:
    """Check the times of a filter."""
    for field in ("created_after", "created_before"):
        each: Timestamp = getattr(given, field)
        if not is_time(each):
            raise invalid(f"filter.{field}", f"is no time: {each.seconds} s, {each.nanos} ns")


def page_size(given: int) -> int:
    """The size of a page."""
    if not 0 <= given <= MAX_PAGE_SIZE:
        raise invalid("page_size", f"is {given}, must be 0 to {MAX_PAGE_SIZE}")
    return given or DEFAULT_PAGE_SIZE


def revision_token(token: str) -> int | None:
    """The revision that a page of List begins below."""
    if not token:
        return None
    if not (token.isascii() and token.isdigit() and len(token) <= 12):
        raise invalid("page_token", "is none that this server gave")
    return int(token)


def _ttl(header: checkpoint_pb2.SaveHeader) -> float | None:
    if not header.HasField("ttl"):
        return None
    seconds = float(header.ttl.seconds) + header.ttl.nanos / 1e9
    if not 0 < seconds <= _MAX_TTL_SECONDS:
        raise invalid("ttl", f"is {seconds} s, must be more than 0 and at most {_MAX_TTL_SECONDS} s")
    return seconds


def invalid(field: str, what: str) -> InvalidRequestError:
    """The error of one wrong field."""
    return InvalidRequestError(field, what)
