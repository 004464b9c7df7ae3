"""Arguments of calls: right types are stored as they are, all others are refused by an error that names them."""

import array
import asyncio
import ctypes
import datetime
import decimal
import enum
import fractions
import gzip
import io
import math
import mmap
import os
import pathlib
import tempfile

import holdfast
import numpy
import pytest
from holdfast._core import payload
from holdfast._core.payload import Outgoing
from hypothesis import given
from hypothesis import strategies as st

from tests.support.names import name_of

FORMAT = holdfast.Format("test", 1)


def sent(data):
    """Return the parts that a save of `data` sends. One message and a stream must send the same."""
    outgoing = Outgoing(data)
    parts = {part.name: part.data for part in outgoing.inline()}
    streamed: dict[str, bytes] = {}
    for message in outgoing.messages("", None):
        if message.HasField("chunk"):
            assert message.chunk.offset == len(streamed.get(message.chunk.part, b""))
            streamed[message.chunk.part] = streamed.get(message.chunk.part, b"") + message.chunk.data
    assert streamed == parts
    assert {name: len(part) for name, part in parts.items()} == outgoing.sizes
    return parts


# Bytes


@pytest.mark.parametrize(
    "data",
    [
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        memoryview(b"aXbXc")[::2],
        array.array("B", b"abc"),
        array.array("b", b"abc"),
        (ctypes.c_ubyte * 3)(97, 98, 99),
        numpy.frombuffer(b"abc", dtype=numpy.uint8),
        numpy.bytes_(b"abc"),
        type("Bytes", (bytes,), {})(b"abc"),
        io.BytesIO(b"abc").getbuffer(),
    ],
    ids=lambda data: type(data).__name__,
)
def test_bytes_like_data_is_stored_byte_for_byte(data):
    assert sent(data) == {"": b"abc"}
    assert sent({"p": data}) == {"p": b"abc"}


def test_a_memory_map_is_bytes_like():
    with tempfile.TemporaryFile() as file:
        file.write(b"abc")
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            mapped.read(2)
            assert sent(mapped) == {"": b"abc"}


class Colour(enum.IntEnum):
    RED = 3


NO_BYTES = [
    3,
    0,
    1 << 40,
    True,
    1.5,
    math.nan,
    Colour.RED,
    [1, 2, 3],
    (1, 2),
    {1, 2},
    range(3),
    [b"a", b"b"],
    object(),
    pathlib.Path("x"),
    iter(b"abc"),
    (each for each in (b"a", b"b")),
    array.array("i", [1, 2]),
    array.array("d", [1.0]),
    memoryview(array.array("i", [1])),
    memoryview(bytes(4)).cast("B", (2, 2)),
    memoryview(bytes(4)).cast("?"),
    numpy.zeros(3),
    numpy.zeros((2, 2), dtype=numpy.uint8),
    numpy.uint8(3),
    numpy.array([b"a", None], dtype=object),
    type("Indexed", (), {"__index__": lambda self: 3})(),
    bytes,
]


@pytest.mark.asynchronous_only("arguments are checked by code that both clients share")
@pytest.mark.parametrize("data", [*NO_BYTES, None, "text", ""], ids=lambda data: name_of(data)[:40])
async def test_data_that_is_not_bytes_like_is_refused_and_nothing_is_stored(client, data):
    with pytest.raises(TypeError, match=r"^data must be bytes-like"):
        await client.save("n", "w", data, format=FORMAT)
    with pytest.raises(TypeError, match=r"^data\['step'\] must be bytes-like"):
        await client.save("n", "w", {"good": b"x", "step": data}, format=FORMAT)
    with pytest.raises(TypeError, match=r"^records\[1\].data must be bytes-like"):
        await client.attach("n", "w", "c", [holdfast.Record("a", b"x"), holdfast.Record("b", data)])
    assert [each async for each in client.list("n")] == []
    assert await client.records("n", "w", "c") == ()


def test_mappings_are_refused_as_parts():
    with pytest.raises(TypeError, match=r"data\['a'\] must be bytes-like"):
        Outgoing({"a": {"b": b"x"}})


def test_errors_of_a_file_name_its_part():
    with pytest.raises(TypeError, match=r"data\['a'\] must be a file opened in binary mode"):
        Outgoing({"a": io.StringIO("x")})
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(holdfast.InvalidRequestError, match=r"data\['a'\] is a closed file"):
        Outgoing({"a": closed})


@pytest.mark.parametrize("name", [1, None, b"a", ("a",)])
def test_a_name_of_a_part_must_be_text(name):
    with pytest.raises(TypeError, match="a part's name must be text"):
        Outgoing({name: b"x"})


def test_an_error_shortens_a_long_value():
    with pytest.raises(TypeError) as caught:
        Outgoing({"a" * 10_000: "secret" * 100_000})
    assert len(str(caught.value)) < 500


# Files


@given(st.binary(max_size=200), st.integers(0, 250))
def test_a_file_is_saved_from_its_position_or_refused_at_its_end(data, position):
    file = io.BytesIO(data)
    file.seek(position)
    if position and position >= len(data):
        with pytest.raises(holdfast.InvalidRequestError, match="nothing left to read"):
            Outgoing(file)
    else:
        assert sent(file) == {"": data[position:]}


async def test_a_file_that_was_just_written_is_refused_instead_of_stored_as_empty(client):
    file = io.BytesIO()
    file.write(b"parquet")
    with pytest.raises(ValueError, match=r"stands at 7, its end; seek\(0\) first"):
        await client.save("n", "w", file, format=FORMAT)
    file.seek(0)
    await client.save("n", "w", file, format=FORMAT)
    assert (await client.load("n", "w")).data == b"parquet"


def test_an_empty_file_is_an_empty_payload():
    assert sent(io.BytesIO()) == {"": b""}


class Slow(io.BytesIO):
    """A file that reads a few bytes at a time, as raw files may."""

    def read(self, size=-1):
        return super().read(min(size, 7) if size > 0 else size)


class Eager(io.BytesIO):
    """A file that reads more than requested."""

    def read(self, size=-1):
        return super().read() if size else b""


@pytest.mark.parametrize("kind", [Slow, Eager])
def test_files_that_read_less_or_more_than_requested_are_saved_whole(kind):
    data = os.urandom(3_000_000 if kind is Eager else 1000)
    assert sent(kind(data)) == {"": data}


def test_files_of_unknown_size_are_saved_whole(tmp_path):
    with gzip.open(tmp_path / "x.gz", "wb") as file:
        file.write(b"abc" * 1000)
    with gzip.open(tmp_path / "x.gz") as file:
        assert sent(file) == {"": b"abc" * 1000}
    with open("/proc/self/limits", "rb") as file, open("/proc/self/limits", "rb") as again:
        assert sent(file) == {"": again.read()}


def test_text_files_are_refused(tmp_path):
    (tmp_path / "x").write_text("abc")
    with open(tmp_path / "x") as file:
        for each in (file, io.StringIO("abc"), io.StringIO("")):
            with pytest.raises(TypeError, match=r"data must be a file opened in binary mode \('rb'\)"):
                Outgoing(each)


def test_pipes_are_refused_at_once():
    reading, writing = os.pipe()
    with (
        open(reading, "rb") as file,
        open(writing, "wb"),
        pytest.raises(TypeError, match="read a pipe to its end first"),
    ):
        Outgoing(file)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/urandom"])
def test_a_device_without_an_end_is_refused_without_reading_it(path):
    with open(path, "rb") as file, pytest.raises(holdfast.InvalidRequestError, match="is a device"):
        Outgoing(file)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with open(tmp_path / "x", "wb") as file, pytest.raises(holdfast.InvalidRequestError, match="not open for reading"):
        Outgoing(file)
    with pytest.raises(holdfast.InvalidRequestError, match="a closed file"):
        Outgoing(file)

    class Asynchronous:
        async def read(self, size):
            raise AssertionError

    with pytest.raises(TypeError, match="asynchronous"):
        Outgoing(Asynchronous())


@pytest.mark.parametrize("size", [1000, 5 << 20])
def test_bytes_that_are_appended_while_a_file_is_saved_are_left_out(tmp_path, size):
    (tmp_path / "x").write_bytes(bytes(size))
    with open(tmp_path / "x", "rb") as file:
        outgoing = Outgoing(file)
        with open(tmp_path / "x", "ab") as other:
            other.write(b"more")
        messages = list(outgoing.messages("", None))
        assert messages[-1].finish.size_bytes == size
        assert sum(len(part.data) for part in outgoing.inline()) == size


@pytest.mark.parametrize("size", [1000, 5 << 20])
async def test_a_file_that_is_truncated_while_it_is_saved_fails_its_save(client, tmp_path, monkeypatch, size):
    (tmp_path / "x").write_bytes(bytes(size))
    pieces = payload._File.pieces

    def shortened(self):
        os.truncate(tmp_path / "x", size // 2)
        return pieces(self)

    monkeypatch.setattr(payload._File, "pieces", shortened)
    file = await asyncio.to_thread(open, tmp_path / "x", "rb")
    with file, pytest.raises(holdfast.InvalidRequestError, match="became shorter while it was saved"):
        await client.save("n", "w", file, format=FORMAT)
    assert [each async for each in client.list("n")] == []


@pytest.fixture
async def unconnected(connect):
    """Return a client without a server, whose arguments are refused before anything is sent."""
    async with connect("127.0.0.1:9", timeout=1) as client:
        yield client


# Numbers


async def times(client, timeout):
    """Yield every call with a timeout."""
    yield client.save("n", "w", b"x", format=FORMAT, timeout=timeout)
    yield client.load("n", "w", timeout=timeout)
    yield client.resume("n", "w", format=FORMAT, timeout=timeout)
    yield client.validate("n", "w", timeout=timeout)
    yield client.delete("n", "w", "c", timeout=timeout)
    yield client.delete_workflow("n", "w", timeout=timeout)
    yield client.delete_checkpoints("n", "w", labels={"a": "b"}, timeout=timeout)
    yield client.prune("n", "w", timeout=timeout)
    yield client.copy_workflow("n", "w", "v", timeout=timeout)
    yield client.acquire_writer("n", "w", timeout=timeout)
    yield client.attach("n", "w", "c", [holdfast.Record("k", b"")], timeout=timeout)
    yield client.records("n", "w", "c", timeout=timeout)
    yield client.capabilities(timeout=timeout)
    yield client.store_status(timeout=timeout)
    for pages in (client.list("n", timeout=timeout), client.history("n", timeout=timeout)):
        yield anext(pages)
    yield anext(client.list_workflows("n", timeout=timeout))
    yield anext(client.namespaces(timeout=timeout))


NO_TIMES = [math.inf, -math.inf, math.nan, 1e12, 10**400, 0, 0.0, -0.0, -1, -1e-9, numpy.float64("nan")]
NO_NUMBERS = [True, False, "1", "", b"1", datetime.timedelta(seconds=1), decimal.Decimal(1), [1], object(), 1j]


@pytest.mark.asynchronous_only("arguments are checked by code that both clients share")
@pytest.mark.parametrize("timeout", NO_TIMES, ids=repr)
async def test_a_timeout_out_of_range_is_refused_by_every_call(client, served, timeout):
    served.store.requests.clear()
    async for call in times(client, timeout):
        with pytest.raises(holdfast.InvalidRequestError, match=r"timeout must be more than 0 and at most") as caught:
            await call
        assert caught.value.field_violations[0][0] == "timeout"
        assert isinstance(caught.value, ValueError)
    with pytest.raises(holdfast.InvalidRequestError):
        holdfast.Client("127.0.0.1:9", timeout=timeout)
    with pytest.raises(holdfast.InvalidRequestError):
        holdfast.RetryPolicy(attempt_timeout_seconds=timeout)
    assert not served.store.requests


@pytest.mark.parametrize("timeout", NO_NUMBERS, ids=lambda value: repr(value)[:20])
async def test_a_timeout_that_is_not_a_number_is_refused_by_every_call(unconnected, timeout):
    async for call in times(unconnected, timeout):
        with pytest.raises(TypeError, match="timeout must be seconds as a number"):
            await call
    with pytest.raises(TypeError):
        holdfast.AsyncClient("127.0.0.1:9", timeout=timeout)


@pytest.mark.asynchronous_only("arguments are checked by code that both clients share")
@pytest.mark.parametrize(
    "timeout", [20, 20.0, numpy.float32(20), numpy.int64(20), fractions.Fraction(41, 2), 366 * 24 * 3600, 1e6], ids=repr
)
async def test_a_timeout_may_be_any_real_number(client, timeout):
    await client.save("n", "w", b"x", format=FORMAT, timeout=timeout)


WHOLE = {
    "expected_revision": lambda client, value: client.save("n", "w", b"x", format=FORMAT, expected_revision=value),
    "epoch": lambda client, value: client.save("n", "w", b"x", format=FORMAT, epoch=value),
    "keep_last": lambda client, value: client.prune("n", "w", keep_last=value),
    "page_size": lambda client, value: anext(client.list("n", "w", page_size=value)),
    "format.version": lambda client, value: client.save("n", "w", b"x", format=holdfast.Format("f", value)),
    r"accepted_formats\[0\].min_version": lambda client, value: client.load(
        "n", "w", accepted_formats=[holdfast.AcceptedFormat("f", value, 3)]
    ),
}


@pytest.mark.asynchronous_only("arguments are checked by code that both clients share")
@pytest.mark.parametrize("value", [*NO_NUMBERS, 1.0, math.nan, numpy.float64(1)], ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", WHOLE)
async def test_an_argument_that_must_be_a_whole_number_is_named_if_it_is_not(unconnected, name, value):
    with pytest.raises(TypeError, match=rf"^{name} must be a whole number"):
        await WHOLE[name](unconnected, value)


@pytest.mark.asynchronous_only("arguments are checked by code that both clients share")
@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400])
@pytest.mark.parametrize("name", WHOLE)
async def test_a_whole_number_out_of_range_is_named(unconnected, name, value):
    with pytest.raises(holdfast.InvalidRequestError, match=rf"{name} must be -?\d+ to"):
        await WHOLE[name](unconnected, value)


async def test_whole_numbers_of_other_types_are_accepted(client):
    await client.save("n", "w", b"x", format=holdfast.Format("f", numpy.int32(1)), expected_revision=numpy.int64(0))


@pytest.mark.parametrize("ttl", [1, 1.5, "1", True, numpy.timedelta64(1, "s")])
async def test_a_ttl_must_be_a_timedelta(unconnected, ttl):
    with pytest.raises(TypeError, match="ttl must be a timedelta"):
        await unconnected.save("n", "w", b"x", format=FORMAT, ttl=ttl)


@pytest.mark.parametrize("ttl", [datetime.timedelta(), -datetime.timedelta(1), datetime.timedelta.max])
async def test_a_ttl_out_of_range_is_named(unconnected, ttl):
    with pytest.raises(holdfast.InvalidRequestError, match="ttl"):
        await unconnected.save("n", "w", b"x", format=FORMAT, ttl=ttl)


@pytest.mark.parametrize(
    "policy",
    [
        {"initial_backoff_seconds": math.nan},
        {"initial_backoff_seconds": -1},
        {"max_backoff_seconds": math.inf},
        {"max_backoff_seconds": "1"},
        {"max_backoff_seconds": True},
    ],
    ids=str,
)
def test_a_retry_policy_refuses_invalid_times(policy):
    with pytest.raises((holdfast.InvalidRequestError, TypeError), match=next(iter(policy))):
        holdfast.RetryPolicy(**policy)


# Text and the rest

TEXTS = {
    "namespace": lambda client, value: client.load(value, "w"),
    "workflow_id": lambda client, value: client.load("n", value),
    "checkpoint_id": lambda client, value: client.delete("n", "w", value),
    "request_id": lambda client, value: client.delete("n", "w", "c", request_id=value),
    "parent_id": lambda client, value: client.save("n", "w", b"x", format=FORMAT, parent_id=value),
    "target_workflow_id": lambda client, value: client.copy_workflow("n", "w", value),
    "prefix": lambda client, value: anext(client.list_workflows("n", prefix=value)),
    "before": lambda client, value: anext(client.list("n", "w", before=value)),
    "format.name": lambda client, value: client.save("n", "w", b"x", format=holdfast.Format(value, 1)),
    r"labels\['k'\]": lambda client, value: client.save("n", "w", b"x", format=FORMAT, labels={"k": value}),
    "a key of labels": lambda client, value: client.save("n", "w", b"x", format=FORMAT, labels={value: "v"}),
    r"records\[0\].key": lambda client, value: client.attach("n", "w", "c", [holdfast.Record(value, b"")]),
}


@pytest.mark.asynchronous_only("arguments are checked by code that both clients share")
@pytest.mark.parametrize("value", [1, b"x", True, ("a",), object()], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", TEXTS)
async def test_an_argument_that_must_be_text_is_named_if_it_is_not(unconnected, name, value):
    with pytest.raises(TypeError, match=f"^{name} must be text"):
        await TEXTS[name](unconnected, value)


@pytest.mark.parametrize("name", TEXTS)
async def test_text_that_utf_8_cannot_encode_is_named(unconnected, name):
    with pytest.raises(holdfast.InvalidRequestError, match=f"{name} must be text that UTF-8 can hold"):
        await TEXTS[name](unconnected, "\ud83c")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda c: c.save("n", "w", b"x", format=("f", 1)), "format must be a Format"),
        (lambda c: c.save("n", "w", b"x", format=FORMAT, labels=["a"]), "labels must be a mapping"),
        (lambda c: c.save("n", "w", b"x", format=FORMAT, replace="no"), "replace must be True or False"),
        (lambda c: c.load("n", "w", fallback="no"), "fallback must be True or False"),
        (lambda c: c.load("n", "w", accepted_formats=FORMAT), "accepted_formats must be an iterable of AcceptedFormat"),
        (lambda c: c.load("n", "w", accepted_formats=[FORMAT]), r"accepted_formats\[0\] must be an AcceptedFormat"),
        (lambda c: c.attach("n", "w", "c", [("k", b"v")]), r"records\[0\] must be a Record"),
        (lambda c: c.attach("n", "w", "c", None), "records must be an iterable of Record"),
        (lambda c: c.resume("n", "w", format="f"), "format must be a Format"),
        (lambda c: anext(c.list("n", created_after=datetime.date(2020, 1, 1))), "created_after must be a datetime"),
    ],
)
async def test_other_arguments_of_a_wrong_type_are_named(unconnected, call, named):
    with pytest.raises(TypeError, match=named):
        await call(unconnected)


async def test_an_unknown_depth_is_refused(unconnected):
    with pytest.raises(holdfast.InvalidRequestError, match="depth must be one of marker, presence, checksum"):
        await unconnected.validate("n", "w", depth="deep")


def test_the_synchronous_client_checks_the_same_arguments():
    with holdfast.Client("127.0.0.1:9") as client:
        for call, expected in (
            (lambda: client.save("n", "w", {"step": 3}, format=FORMAT), TypeError),
            (lambda: client.load("n", "w", timeout=math.inf), holdfast.InvalidRequestError),
            (lambda: next(client.list("n", page_size=True)), TypeError),
        ):
            with pytest.raises(expected):
                call()


def test_a_small_buffer_may_change_once_it_was_given():
    small = bytearray(b"before")
    outgoing = Outgoing(small)
    small[:] = b"later, and longer"
    assert [part.data for part in outgoing.inline()] == [b"before"]
