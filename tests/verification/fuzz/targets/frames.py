"""Frames of version 2: a body that is read was framed for its key, and takes no more memory than its frame allows."""

from holdfast_server.layout.v1.marker_pb2 import Marker
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker
from holdfast_server.protocol.format.dictionary import DICTIONARY
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.zstd import ZstdDict, ZstdError, compress, decompress

from tests.support.frames import newest
from tests.support.markers import sound
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader
from tests.verification.fuzz.targets.marker import require_sense

_DICTIONARY = ZstdDict(DICTIONARY, is_raw=True)


def check(data: bytes) -> None:
    reader = Reader(data)
    keys = WorkflowKeys("n", "w" * reader.choice((1, 300)))
    revision = reader.below(8) + 1
    key = keys.marker(revision)
    body = _body(reader, revision)
    flags, is_zstd = reader.choice(((0, False), (1, True), (1, False), (2, False)))
    stored = compress(body, zstd_dict=_DICTIONARY) if is_zstd else body
    framed_for = keys.marker(revision + reader.below(2))
    raw = newest(stored, framed_for, flags=flags)
    try:
        found = marker.decode(raw, key)
    except HoldfastError as error:
        assert error.reason in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED)
        return
    assert framed_for == key
    assert flags < 2
    if flags and not is_zstd:
        body = _decompressed(stored)
    assert len(body) <= max(16 << 10, 16 * len(stored))
    require_sense(found)
    written = Marker.FromString(body)
    forms = written.short_id_forms
    assert len(written.short_ids) == 16 * sum(1 for place in range(16) if forms >> 2 * place & 3)
    assert not found.short_ids
    assert len(found.recent_digests) % 6 == 0


def _body(reader: Reader, revision: int) -> bytes:
    kind = reader.below(3)
    if kind == 0:
        return reader.raw()
    body = sound(revision, recent_digests=bytes(6))
    del body.recent[:]
    body.trace_id = body.parent_id = body.request_id = ""
    if kind == 1:
        body.labels["zeros"] = "0" * (reader.byte() << 8)
    return fill(body, reader).SerializeToString()


def _decompressed(stored: bytes) -> bytes:
    try:
        return decompress(stored, zstd_dict=_DICTIONARY)
    except ZstdError:
        raise AssertionError("a body was read that cannot be decompressed") from None
