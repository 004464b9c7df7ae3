"""Bytes that are not a request: the error that explains them, and how many of them are read for it."""

import pytest
from holdfast.v1.checkpoint_service_pb2 import SaveRequest
from holdfast_server.api import malformed, wire
from holdfast_server.api.malformed import explain

SAVE = SaveRequest.DESCRIPTOR


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x0a", b"\x0a\xff", b"\x80" * 20, b"\x0a\x05ab", b"\x0b\x0b\x0b", b"\x0d\x00", b"\xff\xff\xff\xff\xff"],
)
def test_bytes_that_are_truncated_or_not_fields_are_not_a_request(raw):
    assert explain(raw, SAVE) == ("request", "cannot be parsed as SaveRequest")


def test_text_that_is_not_utf8_is_found_after_fields_of_every_kind():
    known_and_unknown = b"\x78\x01" + b"\x79" + bytes(8) + b"\x7d" + bytes(4) + b"\x7a\x02\xff\xff"
    assert explain(known_and_unknown + b"\x0a\x03\x0a\x01\xff", SAVE) == ("namespace", "is not UTF-8")


def test_only_a_limited_number_of_fields_is_read(monkeypatch):
    read = []
    walk = wire.varint
    monkeypatch.setattr(wire, "varint", lambda raw, position: read.append(1) or walk(raw, position))
    for raw in (b"\x78\x01" * (2 << 20), b"\x12\x00" * (2 << 20)):
        read.clear()
        assert explain(raw, SAVE)[0] == "request"
        assert len(read) <= 2 * malformed._MAX_FIELDS + 2
