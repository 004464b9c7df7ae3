"""The short form of markers in frames of version 2: without what their keys and their own bytes show.

These are the names in the key, and the digests of small parts that lie in the marker as they are: like everything else
in it, they are protected by the checksum of the frame and by the next marker's digest of it. Ids are bytes. A
marker in memory is always in its long form, whichever version it was read from, but for the end of its fingerprint.
"""

import re
from hashlib import sha256
from typing import Literal

from crc32c import crc32c

from holdfast_server.layout.v1.marker_pb2 import Marker, PartEncoding, StoredPart
from holdfast_server.protocol.format.keys import WorkflowKeys, workflow_of, workflow_prefix

_Id = Literal["request_id", "trace_id", "checkpoint_id", "parent_id"]
_IDS: tuple[_Id, ...] = ("request_id", "trace_id", "checkpoint_id", "parent_id")
_ID_BYTES = 16
# The forms of an id; 0 for one that is kept as it is.
_PLAIN, _UUID = 1, 2
# How much of a request's fingerprint is kept: enough to recognise a reused request id.
FINGERPRINT_BYTES = 16
# The digests of a larger part cost little beside it.
_LARGEST_SHORT_PART_BYTES = 256
_ID = re.compile("[0-9a-f]{32}|([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")


class LongFormError(Exception):
    """A message cannot be in short form: no server writes such a one."""


def short_form(marker: Marker, key: str) -> bytes:
    """Return the short form of a marker, serialized.

    Args:
        marker: the marker. It changes and is restored, so that its parts need not be copied. No other task may use it.
        key: its key.

    """
    names = (marker.namespace, marker.workflow_id) if _shows_names(key) else None
    replaced: list[tuple[_Id, str]] = []
    fingerprint = marker.request_fingerprint
    ids, forms = b"", 0
    for index, name in enumerate(_IDS):
        text = getattr(marker, name)
        found = _ID.fullmatch(text)
        if found is not None:
            ids += bytes.fromhex(text.replace("-", ""))
            forms |= (_UUID if found[1] else _PLAIN) << 2 * index
            replaced.append((name, text))
    parts = [part for part in marker.parts if _is_small(part) and _digests(part) == (part.sha256, part.crc32c)]
    try:
        for name, _ in replaced:
            setattr(marker, name, "")
        for part in parts:
            part.sha256, part.crc32c = b"", 0
        if names is not None:
            marker.namespace = marker.workflow_id = ""
        marker.short_ids, marker.short_id_forms = ids, forms
        marker.request_fingerprint = fingerprint[:FINGERPRINT_BYTES]
        return marker.SerializeToString(deterministic=True)
    finally:
        marker.short_ids, marker.short_id_forms = b"", 0
        marker.request_fingerprint = fingerprint
        if names is not None:
            marker.namespace, marker.workflow_id = names
        for name, text in replaced:
            setattr(marker, name, text)
        for part in parts:
            part.sha256, part.crc32c = _digests(part)


def lengthen(marker: Marker, key: str) -> None:
    """Restore the long form of a marker.

    Raises:
        LongFormError: it is not a short form.

    """
    ids, forms = marker.short_ids, marker.short_id_forms
    for index, name in enumerate(_IDS):
        form = forms >> 2 * index & 3
        if form:
            text, ids = ids[:_ID_BYTES].hex(), ids[_ID_BYTES:]
            if len(text) != 2 * _ID_BYTES or form > _UUID or getattr(marker, name):
                raise LongFormError("short_ids")
            if form == _UUID:
                text = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
            setattr(marker, name, text)
    if ids or forms >> 2 * len(_IDS):
        raise LongFormError("short_ids")
    marker.ClearField("short_ids")
    marker.ClearField("short_id_forms")
    for part in marker.parts:
        if _is_small(part) and not part.sha256 and not part.crc32c:
            part.sha256, part.crc32c = _digests(part)
    keys = _workflow(key)
    if keys is not None and not marker.namespace and not marker.workflow_id:
        marker.namespace, marker.workflow_id = keys.namespace, keys.workflow_id


def _shows_names(key: str) -> bool:
    """Return whether all names in a key are whole, not digests. A name that contains a tilde shows it encoded."""
    return "~" not in key


def _is_small(part: StoredPart) -> bool:
    """Return whether a part is short and its bytes are in the marker as they are."""
    is_plain = part.encoding in (PartEncoding.PART_ENCODING_UNSPECIFIED, PartEncoding.PART_ENCODING_IDENTITY)
    return is_plain and part.HasField("inline") and len(part.inline) <= _LARGEST_SHORT_PART_BYTES


def _digests(part: StoredPart) -> tuple[bytes, int]:
    return sha256(part.inline).digest(), crc32c(part.inline)


def _workflow(key: str) -> WorkflowKeys | None:
    prefix = workflow_prefix(key)
    return workflow_of(prefix) if prefix is not None else None
