"""Batches of records: an object under a batch's key is read as it was attached, or reported as damage."""

from holdfast_server.layout.v1.marker_pb2 import RecordBatch
from holdfast_server.protocol.checkpoints import records
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys, batch_owner, batch_stamp, records_of, request_digest
from holdfast_server.stores.memory import MemoryStore

from tests.support.frames import frame
from tests.support.inline_loop import run
from tests.verification.fuzz.messages import fill
from tests.verification.fuzz.reader import Reader

KEYS = WorkflowKeys("n", "w")


def check(data: bytes) -> None:
    run(_check(Reader(data)))


async def _check(reader: Reader) -> None:
    store = MemoryStore()
    stamp = reader.below(3)
    batch = RecordBatch(checkpoint_id="c", request_id="r", stamp=stamp)
    body = fill(batch, reader).SerializeToString() if reader.below(2) else reader.raw()
    store.objects.write(KEYS.batch("c", stamp, request_digest("r")), frame(body) if reader.below(4) else body)
    # Objects among the batches, some of which are not batches.
    key = KEYS.batches("c") + reader.rest().decode(errors="surrogateescape")
    store.objects.write(key, b"")
    is_batch = batch_stamp(key.removeprefix(KEYS.prefix)) is not None
    assert not is_batch or batch_owner(key.removeprefix(KEYS.prefix)) == records_of("c")
    try:
        found = await records.read(store, KEYS, "c")
    except HoldfastError as error:
        assert error.reason in (Reason.CHECKPOINT_CORRUPTED, Reason.LAYOUT_UNSUPPORTED)
        return
    whole = RecordBatch.FromString(body)
    assert (whole.checkpoint_id, whole.request_id, whole.stamp) == ("c", "r", stamp)
    assert {each.key for each in found.records} == {each.key for each in whole.records}
