"""Previews: bounded trees of JSON and msgpack, text, and bytes; and nothing of them is ever run."""

import gzip
import json
import pickle
import random
import struct

import pytest
from holdfast._core import sealed
from holdfast._encryption.layout import Header
from holdfast_server import zstd
from holdfast_server.console.preview import READ_BYTES, Node, preview_of
from holdfast_server.console.preview import sealed as console_sealed
from holdfast_server.console.preview.json_text import NotJsonError, read_json
from holdfast_server.console.preview.msgpack import NotMsgpackError, read_msgpack
from holdfast_server.console.preview.tree import MAX_DEPTH, Limits
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)
MSGPACK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=40,
)


def value_of(node: Node):
    """Return the Python value of a tree."""
    match node.kind:
        case "map":
            return {label: value_of(child) for label, child in node.children}
        case "list":
            return [value_of(child) for _, child in node.children]
        case "bytes":
            return bytes.fromhex(node.text)
        case "text":
            return node.text
        case "object":
            return {"$type": node.text} | {label: value_of(child) for label, child in node.children}
    return json.loads(node.text)


def size_of(node: Node) -> int:
    return 1 + sum(size_of(child) for _, child in node.children)


def depth_of(node: Node) -> int:
    return 1 + max((depth_of(child) for _, child in node.children), default=0)


def packed(value) -> bytes:
    """Return the msgpack of a value, by the specification's simplest forms."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            if -32 <= value <= 127:
                return struct.pack(">b", value)
            return b"\xd3" + struct.pack(">q", value) if value < 2**63 else b"\xcf" + struct.pack(">Q", value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            data = value.encode()
            return (bytes([0xA0 | len(data)]) if len(data) < 32 else b"\xdb" + len(data).to_bytes(4)) + data
        case bytes():
            return b"\xc6" + len(value).to_bytes(4) + value
        case list():
            head = bytes([0x90 | len(value)]) if len(value) < 16 else b"\xdd" + len(value).to_bytes(4)
            return head + b"".join(map(packed, value))
        case dict():
            head = bytes([0x80 | len(value)]) if len(value) < 16 else b"\xdf" + len(value).to_bytes(4)
            return head + b"".join(packed(key) + packed(inner) for key, inner in value.items())
    raise AssertionError(value)


def zipped(data: bytes) -> bytes:
    # Without the time, so that the names of tests are the same in all workers.
    return gzip.compress(data, mtime=0)


def extension(code: int, *values) -> bytes:
    data = b"".join(values)
    return b"\xc9" + len(data).to_bytes(4) + struct.pack(">b", code) + data


@given(JSON)
def test_json_is_read_as_python_reads_it(value):
    tree = read_json(json.dumps(value), is_cut=False, limits=Limits(10**6))
    assert value_of(tree) == (value if not isinstance(value, dict) else dict(value))


@given(st.text(alphabet='{}[]",:\\u0123 eE+-.tfnrulasINy\n', max_size=30))
def test_json_is_what_python_accepts_and_nothing_else(text):
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(NotJsonError):
            read_json(text, is_cut=False, limits=Limits())
    else:
        tree = read_json(text, is_cut=False, limits=Limits())
        assert repr(value_of(tree)) == repr(expected) or "$type" in text or "Infinity" in text or len(text) > 10


@given(JSON, st.data())
def test_json_that_is_cut_anywhere_is_shown_up_to_there(value, data):
    text = json.dumps([value, value])
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    limits = Limits(10**6)
    tree = read_json(cut, is_cut=True, limits=limits)
    assert limits.cut or cut == text
    assert tree.kind == "list"
    with pytest.raises(NotJsonError):
        read_json(cut, is_cut=False, limits=Limits(10**6))


@given(MSGPACK)
def test_msgpack_is_read_as_it_was_written(value):
    assert value_of(read_msgpack(packed(value), is_cut=False, limits=Limits(10**6))) == value


@given(MSGPACK, st.data())
def test_msgpack_that_is_cut_anywhere_is_shown_up_to_there(value, data):
    whole = packed([value, value])
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    limits = Limits(10**6)
    assert read_msgpack(cut, is_cut=True, limits=limits).kind == "list"
    assert limits.cut
    with pytest.raises(NotMsgpackError):
        read_msgpack(cut, is_cut=False, limits=Limits(10**6))


@given(st.binary(max_size=300), st.booleans(), st.sampled_from(["langgraph-checkpoint", "temporal-payload", "other"]))
def test_any_bytes_have_a_preview(data, is_cut, format_name):
    for part in ("", "checkpoint.msgpack", "metadata.json", "checkpoint.pickle"):
        found = preview_of(data, len(data) + is_cut, format_name=format_name, part=part)
        assert found.title
        assert found.size_bytes == len(data) + is_cut
        assert bool(found.tree) + bool(found.text) + bool(found.hex_rows) == bool(data)


@pytest.mark.parametrize("make", [json.dumps, packed])
def test_a_tree_has_a_bounded_number_of_values(make):
    made = make([0] * 100_000)
    data = made.encode() if isinstance(made, str) else made
    found = preview_of(data, len(data))
    assert size_of(found.tree) < 2_010
    assert any("values after the first 2000" in note for note in found.notes)


@pytest.mark.parametrize("data", [b"[" * 200_000, b"\x91" * 200_000, b'{"a":' * 40_000])
@pytest.mark.parametrize("more", [0, 1])
def test_deep_nesting_is_cut_and_does_not_overflow_a_stack(data, more):
    found = preview_of(data, len(data) + more)
    if found.tree is not None:
        assert depth_of(found.tree) <= MAX_DEPTH + 2
        assert any("nested deeper" in note for note in found.notes)
        assert len(found.tree_rows) < 500


@pytest.mark.parametrize("code", [0, 5, 7])
def test_objects_inside_objects_are_cut_and_do_not_overflow_a_stack(code):
    data = packed(None)
    for _ in range(1_000):
        data = b"\xc9" + len(data).to_bytes(4) + bytes([code]) + data
    found = preview_of(data, len(data), format_name="langgraph-checkpoint", part="checkpoint.msgpack")
    assert found.title
    if found.tree is not None:
        assert depth_of(found.tree) <= MAX_DEPTH + 2


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_what_is_missing_of_compressed_data_is_said(compress):
    # Of zstd nothing can be unpacked before the end of a block, which has 128 KiB.
    whole = compress(random.Random(1).randbytes(100_000).hex().encode())
    assert not any("unpacked" in note for note in preview_of(whole, len(whole)).notes)
    cut = whole[:-1000]
    assert any("incomplete" in note for note in preview_of(cut, len(cut)).notes)
    two = whole + compress(b"second")
    assert any("More bytes follow" in note for note in preview_of(two, len(two)).notes)
    long = compress(b"ab " * READ_BYTES)
    assert any(f"first {READ_BYTES:,} unpacked" in note for note in preview_of(long, len(long)).notes)


def test_a_number_of_any_length_is_shown_exactly():
    found = preview_of(b"[" + b"9" * 10_000 + b"]", 10_002)
    assert found.tree.children[0][1].text == "9" * 10_000
    assert found.tree.children[0][1].note == "10000 characters"


def test_a_part_larger_than_what_was_read_says_so():
    data = json.dumps({"messages": ["x" * 100] * 5_000}).encode()
    found = preview_of(data[:READ_BYTES], len(data))
    assert found.title == "JSON"
    assert found.notes[0] == f"Only the first 262,144 of {len(data):,} bytes were read."
    assert len(found.notes) == 2


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (b"", "empty"),
        (b'{"a": 1}', "JSON"),
        (b"\xef\xbb\xbf[1]", "JSON"),
        (b"plain words", "text"),
        ("Grüße\n".encode(), "text"),
        (b"\x82\xa1a\x01\xa1b\x02", "msgpack"),
        (b"\x00\x01\x02", "bytes"),
        (b"\xff\xfe\xfd", "bytes"),
        (pickle.dumps({"a": 1}), "pickle"),
        (zipped(b'{"a": 1}'), "JSON, compressed with gzip"),
        (zstd.compress(b'{"a": 1}'), "JSON, compressed with zstd"),
        (zstd.compress(bytes(100)), "bytes, compressed with zstd"),
        (zipped(zipped(b'{"a": 1}')), "bytes, compressed with gzip"),
        (zipped(b""), "bytes"),
        (b"\x28\xb5\x2f\xfd broken", "bytes"),
    ],
)
def test_the_kind_of_bytes_is_recognised(data, title):
    assert preview_of(data, len(data)).title == title


def test_a_small_archive_that_unpacks_to_megabytes_is_not_unpacked():
    bomb = zstd.compress(bytes(1 << 26))
    found = preview_of(bomb, len(bomb))
    assert len(found.hex_rows) * 16 == 4096


def test_a_pickle_is_never_opened(tmp_path):
    class Opens:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    data = pickle.dumps(Opens())
    for options in ({}, {"format_name": "langgraph-checkpoint", "part": "checkpoint.pickle"}):
        found = preview_of(data, len(data), **options)
        assert (found.title, list(tmp_path.iterdir())) == ("pickle", [])


def test_an_encrypted_part_names_its_key():
    data = Header(1, "tenant-7", b"w" * 60, b"s" * 32, b"c" * 32).encoded() + bytes(100)
    found = preview_of(data, len(data), format_name="langgraph-checkpoint", part="checkpoint.msgpack")
    assert found.title == "encrypted"
    assert "'tenant-7'" in found.notes[0]
    assert preview_of(data[:12], 1000).title == "encrypted"


def test_encrypted_data_is_recognised_as_clients_do():
    assert console_sealed.MAGIC == sealed.MAGIC
    assert console_sealed.KEYS_MAGIC == sealed.KEYS_MAGIC
    assert console_sealed.COVER_LABEL == sealed.COVER_LABEL


def test_langgraphs_objects_are_shown_with_their_classes_and_fields():
    message = extension(5, packed(["langchain_core.messages.human", "HumanMessage", {"content": "hi"}, "m"]))
    identifier = extension(0, packed(["uuid", "UUID", "ab12"]))
    send = extension(1, packed(["langgraph.types", "Send", ["node", 1]]))
    delta = extension(7, packed([1, 2]))
    array = extension(6, packed(["<f8", [2], "C", bytes(16)]))
    odd = extension(0, b"\xc1")
    other = extension(99, b"ab")
    data = b"\x97" + message + identifier + send + delta + array + odd + other
    found = preview_of(data, len(data), format_name="langgraph-checkpoint", part="checkpoint.msgpack")
    assert found.title == "msgpack of LangGraph"
    assert value_of(found.tree) == [
        {"$type": "langchain_core.messages.human.HumanMessage", "content": "hi"},
        {"$type": "uuid.UUID", "value": "ab12"},
        {"$type": "langgraph.types.Send", "[0]": "node", "[1]": 1},
        {"$type": "delta snapshot", "value": [1, 2]},
        {"$type": "numpy.ndarray", "dtype": "<f8", "shape": [2], "order": "C", "data": bytes(16)},
        {"$type": "extension type 0", "data": b"\xc1"},
        {"$type": "extension type 99", "data": b"ab"},
    ]


def test_the_objects_of_the_adapters_are_shown_with_their_classes():
    data = json.dumps({"$type": "app:State", "state": {"a": 1}}).encode()
    assert value_of(preview_of(data, len(data)).tree) == {"$type": "app:State", "state": {"a": 1}}


def test_times_of_msgpack_are_shown_and_impossible_ones_as_bytes():
    data = b"\x92\xd6\xff" + (1_700_000_000).to_bytes(4) + b"\xc7\x0c\xff" + b"\xff" * 12
    first, second = (child for _, child in preview_of(data, len(data)).tree.children)
    assert first.text == "2023-11-14 22:13:20.000000000 UTC"
    assert second.kind in ("time", "object")


def test_a_payload_of_temporal_is_opened():
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    data = field(1, field(1, b"encoding") + field(2, b"json/plain")) + field(2, b'{"a": 1}')
    found = preview_of(data, len(data), format_name="temporal-payload")
    assert found.title == "Temporal payload: JSON"
    assert found.notes == ("Metadata: encoding: json/plain.",)
    assert value_of(found.tree) == {"a": 1}


def test_bytes_are_shown_as_digits_and_text():
    found = preview_of(b"\x00AB~\x7f" + bytes(20), 25)
    assert found.hex_rows[0].offset == "00000000"
    assert found.hex_rows[0].digits == "00 41 42 7e 7f 00 00 00  00 00 00 00 00 00 00 00"
    assert found.hex_rows[0].text == ".AB~............"
    assert found.hex_rows[1].digits == "00 00 00 00 00 00 00 00  00"
