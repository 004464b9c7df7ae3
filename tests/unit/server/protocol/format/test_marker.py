import struct

import pytest
from crc32c import crc32c
from google.protobuf.json_format import MessageToDict
from holdfast_server.layout.v1.marker_pb2 import Claim, IdIndex, Marker, MarkerKind, RecordBatch, StoreManifest
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import marker
from holdfast_server.protocol.format.bounded_read import MAX_MARKER_BYTES, read_whole
from holdfast_server.stores.memory import MemoryStore
from hypothesis import given
from hypothesis import strategies as st

FIELDS = {"kind": MarkerKind.MARKER_KIND_DATA, "namespace": "n", "workflow_id": "w", "revision": 7, "request_id": "r"}
FRAME = marker.encode(Marker(**FIELDS), "key")
BLOB = "blob/000/000/006-" + "a" * 32


def refused(frame):
    with pytest.raises(HoldfastError) as caught:
        marker.decode(frame, "key")
    return caught.value


def test_a_marker_reads_back_as_it_was_written():
    assert marker.decode(FRAME, "key").revision == 7


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_always_detected_and_never_taken_for_a_newer_version(position, flip):
    damaged = bytearray(FRAME)
    damaged[position] ^= flip
    assert refused(bytes(damaged)).reason is Reason.CHECKPOINT_CORRUPTED


def test_reserved_bytes_that_are_set_are_damage():
    assert "its reserved bytes are set" in refused(FRAME[:7] + b"\1" + FRAME[8:]).message


@given(st.integers(0, len(FRAME) - 1))
def test_a_truncated_frame_is_always_detected(length):
    assert refused(FRAME[:length]).reason is Reason.CHECKPOINT_CORRUPTED


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(raw):
    refused(raw)


@given(st.integers(marker.MARKER_VERSION + 1, 2**16 - 1), st.binary(max_size=100))
def test_a_marker_of_a_newer_version_is_refused_as_such_whatever_its_body_is(version, body):
    head = struct.pack(">4sHH", b"HFMK", version, 0)
    frame = head + struct.pack(">II", len(body), crc32c(head + body)) + body
    assert refused(frame).reason is Reason.LAYOUT_UNSUPPORTED


def test_a_marker_of_a_newer_version_with_another_frame_is_refused_as_such():
    assert refused(b"HFMK\0\3" + b"x" * 50).reason is Reason.LAYOUT_UNSUPPORTED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", MarkerKind.MARKER_KIND_UNSPECIFIED),
        ("revision", 0),
        ("revision", -1),
        ("revision", 16**9),
        ("epoch", -1),
        ("epoch", 2**63 - 1),
        ("floor", 7),
        ("floor", -1),
        ("low_water_mark", 8),
        ("claim_generation", 8),
        ("last_data_revision", 8),
        ("previous_data_revision", 7),
        ("create_time", {"nanos": 10**9}),
        ("expire_time", {"seconds": 253_402_300_800}),
        ("recent", [{"revision": 8}]),
        ("recent", [{"revision": 6}, {"revision": 7}]),
        ("recent", [{"revision": 0}]),
        ("deleted", [{"first": 3, "last": 2}]),
        ("deleted", [{"first": 1, "last": 2}, {"first": 2, "last": 3}]),
        ("deleted", [{"first": 0, "last": 2}]),
        ("deleted", [{"first": 5, "last": 7}]),
        ("parts", [{"name": "a", "size_bytes": 1}]),
        ("parts", [{"name": "a", "inline": b""}, {"name": "a", "inline": b""}]),
        ("parts", [{"size_bytes": -1, "inline": b""}]),
        ("parts", [{"blob": "../../x"}]),
        ("parts", [{"blob": "blob/000/000/006-../../../../x"}]),
        ("parts", [{"blob": BLOB.upper()}]),
        ("parts", [{"name": "a", "size_bytes": 2**62, "blob": BLOB}, {"name": "b", "size_bytes": 2**62, "blob": BLOB}]),
    ],
)
def test_a_marker_with_a_value_that_no_server_writes_is_damaged_and_its_field_is_named(field, value):
    error = refused(marker.encode(Marker(**{**FIELDS, field: value}), "key"))
    assert error.reason is Reason.CHECKPOINT_CORRUPTED
    assert f"its field {field} is invalid" in error.message


@pytest.mark.parametrize("newer", [{"kind": 99}, {"parts": [{"encoding": 99, "inline": b""}]}])
def test_values_that_only_a_newer_server_can_have_written_are_not_damage(newer):
    assert refused(marker.encode(Marker(**{**FIELDS, **newer}), "key")).reason is Reason.LAYOUT_UNSUPPORTED


def test_a_claim_with_a_negative_base_revision_is_damaged():
    with pytest.raises(HoldfastError, match="base_revision"):
        marker.decode_claim(marker.encode_claim(Claim(base_revision=-1), "key"), "key")


INDEX = IdIndex(first_revision=3, digests=b"abcdefgh")


def test_an_index_of_ids_reads_back_as_it_was_written():
    assert marker.decode_index(marker.encode_index(INDEX, "key"), "key", (2, 4)) == INDEX


@pytest.mark.parametrize(
    ("revisions", "digests"), [((4, 4), b"abcd"), ((1, 5), b"abcdefgh"), ((1, 3), b"abcdefgh"), ((3, 4), b"abcdefg")]
)
def test_an_index_of_ids_that_does_not_cover_its_range_is_damaged(revisions, digests):
    frame = marker.encode_index(IdIndex(first_revision=3, digests=digests), "key")
    with pytest.raises(HoldfastError, match="index of ids is damaged") as caught:
        marker.decode_index(frame, "key", revisions)
    assert caught.value.reason is Reason.CHECKPOINT_CORRUPTED


MARKER_OF_0_1 = bytes.fromhex(
    "080112016e1a017720072802320272373a020102420263374a02633652050a016610015a060a017012013262060a016b1201766a080880e2cfaa"
    "061005720608e4e2cfaa067a140a016110031a010325040000002801320378797a7a210a016210091a010525060000003a06626c6f622f314008"
    "4a080700000008000000800103880101900107980106a2010a0807120272371a026337aa010408021003b2010109ba010174c80102d00103d801"
    "06e00105e80101f00107f801028002048802039002019a020608c8e3cfaa06a20202081eaa020168c2020408021002ca02010a"
)


def test_messages_stored_by_earlier_releases_are_read_and_written_byte_for_byte():
    body = Marker.FromString(MARKER_OF_0_1)
    assert {field.number for field, _ in body.ListFields()} == {
        field.number for field in Marker.DESCRIPTOR.fields if field.number <= 41
    }
    assert (body.workflow_id, body.parts[1].block_crc32c, body.purged[0].last) == ("w", [7, 8], 2)
    assert body.SerializeToString(deterministic=True) == MARKER_OF_0_1

    claim = Claim(checkpoint_id="c7", request_id="r7", base_revision=6)
    assert claim.SerializeToString() == bytes.fromhex("0a026337120272371806")

    batch = RecordBatch(
        checkpoint_id="c7", request_id="r8", stamp=9, records=[{"key": "k", "data": b"d", "replace": True}]
    )
    assert batch.SerializeToString() == bytes.fromhex("0a02633712027238180922080a016b1201641801")

    manifest = StoreManifest(layout_version=1, grace_seconds=3600, store_id="s")
    assert MessageToDict(manifest) == {"layoutVersion": 1, "graceSeconds": 3600.0, "storeId": "s"}


def test_a_marker_that_would_be_too_large_to_read_is_not_written():
    with pytest.raises(HoldfastError) as caught:
        marker.encode(Marker(previous_digest=bytes(MAX_MARKER_BYTES)), "key")
    assert caught.value.reason is Reason.LOG_FULL


@pytest.mark.parametrize("size", [0, 1, 256 << 10, (256 << 10) + 1, 1 << 20])
async def test_a_marker_of_any_size_is_read_whole(size):
    store = MemoryStore()
    await store.put_if_absent("key", bytes(size))
    assert await read_whole(store, "key") == bytes(size)


class HugeStore(MemoryStore):
    """A store whose one object is larger than memory. It counts the bytes that were requested."""

    asked = 0

    async def get(self, key, *, offset=0, length=None):
        self.asked += length
        return (await super().get(key, length=length)).__class__(bytes(length), 1 << 50)


async def test_only_the_beginning_of_an_object_larger_than_any_marker_is_read():
    store = HugeStore()
    await store.put_if_absent("key", b"")
    with pytest.raises(HoldfastError) as caught:
        await read_whole(store, "key")
    assert caught.value.reason is Reason.CHECKPOINT_CORRUPTED
    assert store.asked <= 256 << 10
