"""A MAC is valid for one frame, in one place of one store, under a key that the server knows."""

import pytest
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format import frame as frames
from holdfast_server.protocol.format.keys import MANIFEST_KEY, REPORTS, WorkflowKeys, has_mac
from holdfast_server.protocol.format.macs import OVERHEAD_BYTES, MacKey, Macs
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mac_keys import KEY, OTHER_KEY, STORE_ID, key_id, namespace_key, with_mac

MACS = Macs([KEY], STORE_ID)
PATH = WorkflowKeys("n", "w").marker(1)


def flaw_of(macs, path, data):
    with pytest.raises(HoldfastError) as caught:
        macs.opened(path, data)
    error = caught.value
    assert error.reason is Reason.CHECKPOINT_CORRUPTED
    assert error.metadata["key"] == path
    return error.metadata["mac"], error.metadata.get("mac_key_id", "")


@given(st.binary(max_size=100), st.sampled_from(["n", "a b/c", "é", "x" * 128]))
def test_an_object_has_the_bytes_that_the_documentation_says(frame, namespace):
    path = WorkflowKeys(namespace, "w").marker(7)
    encoded = path.split("/")[1]
    data = MACS.keyed(path, frame)
    assert data == with_mac(path, frame, namespace_key(encoded))
    assert len(data) == len(frame) + OVERHEAD_BYTES
    assert MACS.opened(path, data) == (frame, KEY.key_id)
    assert key_id(KEY.secret).hex() == KEY.key_id


@given(st.binary(max_size=60), st.integers(0, 10**6), st.integers(0, 7))
def test_a_changed_bit_is_noticed_wherever_it_is(frame, place, bit):
    data = bytearray(MACS.keyed(PATH, frame))
    place %= len(data)
    data[place] ^= 1 << bit
    flaw, _ = flaw_of(MACS, PATH, bytes(data))
    assert flaw == ("missing" if place < 8 else "unknown_key" if place < 12 else "wrong")


@given(st.binary(max_size=60), st.integers(0, 200))
def test_a_cut_object_is_refused(frame, length):
    data = MACS.keyed(PATH, frame)
    flaw, _ = flaw_of(MACS, PATH, data[: length % len(data)])
    assert flaw in ("missing", "wrong")


@pytest.mark.parametrize(
    "path",
    [
        WorkflowKeys("n", "w").marker(2),
        WorkflowKeys("n", "v").marker(1),
        WorkflowKeys("m", "w").marker(1),
        WorkflowKeys("n", "w").claim(0, "x"),
        WorkflowKeys("n", "w").index(1, 64),
        MANIFEST_KEY,
    ],
)
def test_an_object_in_another_place_is_refused(path):
    assert flaw_of(MACS, path, MACS.keyed(PATH, b"frame")) == ("wrong", KEY.key_id)


def test_the_key_of_one_namespace_makes_no_macs_in_another():
    assert MACS.opened(PATH, with_mac(PATH, b"frame", namespace_key("n")))
    assert flaw_of(MACS, PATH, with_mac(PATH, b"frame", namespace_key("m"))) == ("wrong", KEY.key_id)


def test_an_object_of_another_store_with_the_same_secret_is_refused():
    assert flaw_of(MACS, PATH, Macs([KEY], "t").keyed(PATH, b"frame")) == ("wrong", KEY.key_id)


def test_the_error_says_whether_the_mac_is_missing_wrong_or_of_an_unknown_key():
    assert flaw_of(MACS, PATH, frames.pack(b"body", PATH, 2)) == ("missing", "")
    assert flaw_of(MACS, PATH, b"") == ("missing", "")
    assert flaw_of(MACS, PATH, Macs([OTHER_KEY], STORE_ID).keyed(PATH, b"x")) == ("unknown_key", OTHER_KEY.key_id)
    named = with_mac(PATH, b"x", namespace_key("n", OTHER_KEY.secret), KEY.secret)
    assert flaw_of(MACS, PATH, named) == ("wrong", KEY.key_id)


def test_the_first_key_makes_macs_and_all_keys_check_them():
    older = Macs([KEY], STORE_ID).keyed(PATH, b"x")
    both = Macs([OTHER_KEY, KEY], STORE_ID)
    assert both.opened(PATH, older) == (b"x", KEY.key_id)
    assert both.opened(PATH, both.keyed(PATH, b"x")) == (b"x", OTHER_KEY.key_id)


def test_a_key_never_shows_its_secret():
    assert KEY.secret.hex() not in repr([KEY])
    assert MacKey(bytes(32)).key_id in repr(MacKey(bytes(32)))


def test_a_server_without_keys_refuses_an_object_with_a_mac_as_one_of_a_newer_server():
    with pytest.raises(HoldfastError, match="this server needs mac_keys_file") as caught:
        frames.unpack(MACS.keyed(PATH, frames.pack(b"body", PATH, 2)), PATH, "commit marker")
    assert caught.value.reason is Reason.LAYOUT_UNSUPPORTED


def test_reports_and_all_objects_of_a_workflow_but_its_blobs_have_a_mac():
    keys = WorkflowKeys("n", "w")
    with_macs = (keys.marker(1), keys.claim(0, "x"), keys.index(1, 64), keys.batch("x", 1, "0" * 32), f"{keys.prefix}y")
    assert all(map(has_mac, (*with_macs, *REPORTS)))
    assert not any(map(has_mac, (keys.blob("blob/000/000/000-" + "0" * 32), "clock/x", MANIFEST_KEY)))
