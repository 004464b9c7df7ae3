from os import urandom

import pytest
from holdfast_server.layout.v1.marker_pb2 import Marker, RecordBatch, StoredRecord
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import frame, marker
from holdfast_server.protocol.format.dictionary import DICTIONARY
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.zstd import ZstdDict, compress
from hypothesis import given
from hypothesis import strategies as st

from tests.support import frames
from tests.support.markers import sound

KEYS = WorkflowKeys("n", "w")
KEY = KEYS.marker(7)
TEXT = b"a marker that is long enough to be compressed " * 5


def refused(data, key=KEY):
    with pytest.raises(HoldfastError) as caught:
        frame.unpack(data, key, "commit marker")
    return caught.value


def newest(**fields):
    made = sound(7, recent_digests=bytes(6), **fields)
    del made.recent[:]
    return made


@given(st.binary(max_size=200) | st.binary(max_size=20).map(lambda data: data * 100), st.booleans())
def test_a_body_reads_back_as_it_was_written(body, compresses):
    assert frame.unpack(frame.pack(body, KEY, 2, compresses=compresses), KEY, "x") == (body, 2)


@given(st.integers(0, 80), st.integers(1, 255))
def test_a_flipped_byte_of_a_frame_is_damage_and_never_taken_for_a_newer_version(position, flip):
    data = bytearray(frame.pack(TEXT, KEY, 2))
    data[position % len(data)] ^= flip
    assert refused(bytes(data)).reason is Reason.CHECKPOINT_CORRUPTED


def test_a_frame_under_another_key_is_damage():
    assert refused(frame.pack(TEXT, KEY, 2), KEYS.marker(8)).reason is Reason.CHECKPOINT_CORRUPTED


def test_a_frame_is_what_the_layout_describes():
    assert frame.pack(b"body", KEY, 2) == frames.newest(b"body", KEY)
    assert len(frame.pack(TEXT, KEY, 2)) < len(TEXT) / 2


@given(st.binary(max_size=100))
def test_an_older_server_takes_a_frame_for_one_of_a_newer_server(body):
    data = frame.pack(body, KEY, 2)
    # By the rules of version 1 it is not whole, which a server of that version takes for a newer frame.
    assert data[4:6] == b"\0\2"
    assert not frames.is_whole(data[:4] + b"\0\1" + data[6:])


def test_a_flag_that_is_not_known_is_one_of_a_newer_server():
    assert refused(frames.newest(b"body", KEY, flags=2)).reason is Reason.LAYOUT_UNSUPPORTED


@pytest.mark.parametrize(
    "stored",
    [
        b"no zstd",
        compress(bytes(64 << 10)),
        compress(b"two") + compress(b"frames"),
        compress(b"cut off" * 10)[:-4],
        # Made with another dictionary.
        compress(TEXT, zstd_dict=ZstdDict(TEXT, is_raw=True))[:-1] + b"x",
    ],
    ids=["garbage", "bomb", "frames", "cut", "dictionary"],
)
def test_a_compressed_body_that_no_server_writes_is_damage(stored):
    assert refused(frames.newest(stored, KEY, flags=1)).reason is Reason.CHECKPOINT_CORRUPTED


def test_a_body_that_would_grow_too_much_is_stored_as_it_is():
    assert frame.unpack(frame.pack(bytes(1 << 20), KEY, 2), KEY, "x")[0] == bytes(1 << 20)
    assert len(frame.pack(bytes(1 << 20), KEY, 2)) > 1 << 20
    assert len(frame.pack(bytes(16 << 10), KEY, 2)) < 100


def test_the_dictionary_never_changes():
    # A store may hold frames that were made with it. A better one needs a flag of its own.
    assert frames.crc32c(DICTIONARY) == 776_712_975


@given(
    *[st.sampled_from(["", "x", "0" * 31, "a" * 32, "A" * 32, "0f" * 16, "12345678-1234-1234-1234-123456789abc"])] * 4,
    st.sampled_from([("n", "w"), ("n~", "w." * 3), ("n" * 300, "w"), ("n", "ü" * 100)]),
)
def test_ids_and_names_of_any_form_read_back_as_they_were(request_id, trace_id, checkpoint_id, parent_id, names):
    given_ids = {"request_id": request_id, "trace_id": trace_id, "checkpoint_id": checkpoint_id, "parent_id": parent_id}
    written = newest(trace_id=trace_id, parent_id=parent_id)
    written.request_id, written.checkpoint_id = request_id, checkpoint_id
    written.namespace, written.workflow_id = names
    before = written.SerializeToString(deterministic=True)
    key = WorkflowKeys(*names).marker(7)
    data = marker.encode(written, key)
    assert written.SerializeToString(deterministic=True) == before
    found = marker.decode(data, key)
    assert found == written
    assert {name: getattr(found, name) for name in given_ids} == given_ids


@pytest.mark.parametrize(
    ("ids", "forms"), [(b"", 1), (bytes(15), 1), (bytes(17), 1), (bytes(16), 0), (bytes(16), 3), (bytes(16), 1 << 8)]
)
def test_short_ids_that_no_server_writes_are_damage(ids, forms):
    body = newest(short_ids=ids, short_id_forms=forms)
    body.request_id = ""
    with pytest.raises(HoldfastError, match="short_ids"):
        marker.decode(frames.newest(body.SerializeToString(), KEY), KEY)


@pytest.mark.parametrize("name", ["token:ci", "x" * 256, "\u00fc" * 128])
def test_the_name_of_a_caller_reads_back_and_counts_as_its_bytes(name):
    written, bare = newest(principal=name), newest()
    assert marker.decode(marker.encode(written, KEY), KEY).principal == name
    assert len(written.SerializeToString()) - len(bare.SerializeToString()) <= len(name.encode()) + 4


def test_a_name_of_a_caller_that_no_server_writes_is_damage():
    with pytest.raises(HoldfastError, match="principal"):
        marker.decode(marker.encode(newest(principal="x" * 1025), KEY), KEY)


def test_digests_in_a_frame_of_version_1_are_damage():
    # An older server would not see them.
    with pytest.raises(HoldfastError, match="recent_digests"):
        marker.decode(frames.frame(newest().SerializeToString()), KEY)


@pytest.mark.parametrize("digests", [b"12345", b"123456" * 8])
def test_digests_of_recent_entries_that_no_server_writes_are_damage(digests):
    body = Marker()
    body.CopyFrom(newest())
    body.recent_digests = digests
    with pytest.raises(HoldfastError, match="recent"):
        marker.decode(marker.encode(body, KEY), KEY)


def test_a_batch_of_the_newest_version_holds_only_its_records():
    batch = RecordBatch(checkpoint_id="c", request_id="r", stamp=9, records=[StoredRecord(key="k", data=urandom(9))])
    found, version = marker.decode_batch(marker.encode_batch(batch, KEY, 2), KEY)
    assert (found, version) == (RecordBatch(records=batch.records), 2)
    assert marker.decode_batch(marker.encode_batch(batch, KEY, 1), KEY) == (batch, 1)
