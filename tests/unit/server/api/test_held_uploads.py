"""What uploads hold in memory until they are committed is counted, also while they have no stream."""

import io

import holdfast
import pytest
from crc32c import crc32c
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.api.admission import Admission
from holdfast_server.api.capacity import Capacity
from holdfast_server.api.streaming.incoming import Incoming, StreamEndedError
from holdfast_server.api.streaming.uploads import UploadKey, Uploads
from holdfast_server.layout.v1.marker_pb2 import StoredPart
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.payload.encoding import HeldPart
from holdfast_server.stores.memory import MemoryStore

from tests.support.deltas import noise
from tests.support.watched import serving_watched
from tests.support.workflows import KEYS

INLINE = 100
# Streams may hold 6000 bytes together, and uploads half of that.
CAPACITY = Capacity(calls=8, bytes=8000)


@pytest.fixture
def admission():
    return Admission(CAPACITY)


@pytest.fixture
def permit(admission):
    with admission.permit("a", is_stream=True) as permit:
        yield permit


def incoming(permit, store=None):
    return Incoming(
        store or MemoryStore(), KEYS, 0, inline_limit_bytes=INLINE, payload_limit_bytes=1 << 40, held=permit.upload()
    )


async def messages(*sizes, ends=True, piece=50):
    for name, size in enumerate(sizes):
        for offset in range(0, size, piece):
            data = noise(name, size)[offset : offset + piece]
            yield api.SaveStreamRequest(
                chunk={"part": str(name), "offset": offset, "data": data, "crc32c": crc32c(data)}
            )
    if ends:
        yield api.SaveStreamRequest(finish={"size_bytes": sum(sizes)})


async def broken_off(permit, uploads, request_id, *sizes):
    """Let the stream of an upload break, which parks it. Return the upload."""
    upload = incoming(permit)
    with pytest.raises(StreamEndedError):
        async with uploads.stream(UploadKey(KEYS, request_id, "anonymous"), upload):
            await upload.receive(messages(*sizes, ends=False))
    return upload


def free_bytes(admission):
    """Return how many bytes a call can hold besides what is held."""
    free = 0
    with admission.permit("free", is_stream=False) as one, admission.permit("free", is_stream=False) as other:
        one.hold(1)
        while True:
            try:
                other.hold(free + 100)
            except HoldfastError:
                return free
            free += 100


async def test_parts_are_held_as_far_as_there_is_room_and_stored_plainly_beyond(admission, permit):
    store = MemoryStore()
    upload = incoming(permit, store)
    parts = await upload.receive(messages(2000, 900, 2000, 80))
    assert [type(part) for part in parts] == [HeldPart, HeldPart, StoredPart, HeldPart]
    assert [part.size_bytes for part in parts] == [2000, 900, 2000, 80]
    assert store.objects.read(KEYS.blob(parts[2].blob)).data == noise(2, 2000)
    assert upload.held_bytes == 2980
    upload.release()
    assert upload.held_bytes == 0
    assert free_bytes(admission) == CAPACITY.bytes - 100


async def test_parts_that_find_no_room_at_all_stay_within_the_inline_limit(permit):
    permit.hold(6000)
    parts = await incoming(permit).receive(messages(60, 60, 30, 1000))
    assert [isinstance(part, HeldPart) for part in parts] == [True, False, True, False]


async def test_an_upload_without_a_stream_is_counted_until_it_is_dropped(admission, permit):
    uploads = Uploads()
    upload = await broken_off(permit, uploads, "r", 2000)
    assert free_bytes(admission) < CAPACITY.bytes - 2000
    await uploads.close()
    assert upload.held_bytes == 0
    assert free_bytes(admission) == CAPACITY.bytes - 100


async def test_a_committed_upload_is_not_counted_any_more(admission, permit):
    upload = incoming(permit)
    async with Uploads().stream(UploadKey(KEYS, "r", "anonymous"), upload):
        await upload.receive(messages(2000))
        assert upload.held_bytes == 2000
    assert free_bytes(admission) == CAPACITY.bytes - 100


async def test_calls_that_need_the_memory_drop_the_oldest_upload_without_a_stream(admission, permit):
    uploads = Uploads()
    admission.reclaim = uploads.reclaim
    old = await broken_off(permit, uploads, "old", 1500)
    await broken_off(permit, uploads, "empty")
    new = await broken_off(permit, uploads, "new", 1000)
    with admission.permit("b", is_stream=True) as one, admission.permit("b", is_stream=True) as other:
        one.hold(3000)
        assert old.held_bytes == 1500
        other.hold(1500)
        assert (old.held_bytes, new.held_bytes) == (0, 1000)
        with pytest.raises(HoldfastError, match="bytes already"):
            other.hold(4000)
        assert new.held_bytes == 0
    assert await uploads.take(UploadKey(KEYS, "old", "anonymous")) is None
    assert await uploads.take(UploadKey(KEYS, "empty", "anonymous")) is not None
    await uploads.close()


async def test_a_call_that_is_alone_is_not_refused_because_of_what_its_upload_holds(permit):
    upload = incoming(permit)
    await upload.receive(messages(2500))
    assert upload.held_bytes == 2500
    permit.hold(100_000)


async def test_an_upload_that_was_dropped_counts_nothing_more(admission, permit):
    upload = incoming(permit)
    upload.release()
    parts = await upload.receive(messages(2000))
    assert isinstance(parts[0], StoredPart)
    assert free_bytes(admission) == CAPACITY.bytes - 100


async def test_a_streamed_part_is_stored_as_a_delta(tmp_path):
    first = noise(0, 5 << 20)
    async with serving_watched(tmp_path, deltas=True) as served, holdfast.AsyncClient(served.target) as client:
        for data in (first, first[:1000] + b"changed" + first[1000:]):
            saved = await client.save("n", "w", io.BytesIO(data), format=holdfast.Format("f", 1))
            assert (await client.load("n", "w")).data == data
    assert saved.stored_bytes < 20_000
