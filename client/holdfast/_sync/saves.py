# Generated from holdfast/_async/saves.py by tools/async_to_sync.py; do not edit.
"""Saving a checkpoint: in one message if its payload is small, else as a stream that resumes where it broke."""

from typing import Any

from holdfast._core.answers import answered, require_saved
from holdfast._core.checkpoint import Checkpoint
from holdfast._core.errors import CheckpointIdReusedError, RequestIdReusedError
from holdfast._core.messages import to_head
from holdfast._core.payload import RESUME, Data, Progress, is_quick
from holdfast._core.protection import Protection
from holdfast._sync import blocking, runtime
from holdfast._sync.calls import Attempt
from holdfast._sync.repeats import Repeats
from holdfast._sync.transport import Transport
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api


def save(
    transport: Transport,
    protection: Protection,
    repeats: Repeats,
    header: checkpoint_pb2.SaveHeader,
    data: Data,
    *,
    timeout: float | None,
    progress: Progress | None,
) -> Checkpoint:
    """Save a checkpoint.

    Args:
        transport: where to send it.
        protection: how to protect it.
        repeats: finds the checkpoint that an earlier call has saved.
        header: everything but the payload; each attempt sets its `attempt`.
        data: the payload.
        timeout: seconds for everything, retries included; None for the client's own.
        progress: called with the bytes sent and all bytes, for payloads that are streamed.

    Raises:
        HoldfastError: a subclass for each reason.
        TypeError: the payload has a type that cannot be saved.

    """
    quick = protection.is_quick and is_quick(data)
    chosen_id = header.checkpoint_id
    # Once for all attempts, so that each sends the same bytes.
    outgoing = protection.outgoing(header, data) if quick else blocking.in_thread(protection.outgoing, header, data)

    def send(attempt: Attempt) -> Any:
        attempt.describe(header.attempt)
        if not outgoing.fits_unary:
            resumes = attempt.number > 1
            response = runtime.send_stream(
                transport.stub.SaveStream,
                api.SaveStreamRequest(header=header),
                lambda received: outgoing.messages(received, progress),
                resumes=resumes,
                timeout=attempt.timeout_seconds,
                metadata=(*attempt.metadata, RESUME) if resumes else attempt.metadata,
            )
            return answered(response)
        parts = outgoing.inline() if quick else blocking.in_thread(outgoing.inline)
        request = api.SaveRequest(header=header, parts=parts)
        return answered(transport.stub.Save(request, timeout=attempt.timeout_seconds, metadata=attempt.metadata))

    budget = transport.budget(timeout)
    try:
        with budget.spending() as seconds:
            response = transport.call(
                "Save" if outgoing.fits_unary else "SaveStream",
                send,
                watch=transport.heads.watch(header),
                timeout_seconds=seconds,
                request_id=header.request_id,
            )
    except (CheckpointIdReusedError, RequestIdReusedError) as refusal:
        found = repeats.earlier(header, chosen_id, outgoing, refusal, budget)
        if found is None:
            raise
        return found
    if protection.is_sealing and not quick:
        # An earlier attempt's answer may come before all was read, and sealed sizes are known only then.
        blocking.in_thread(getattr, outgoing, "sizes")
    require_saved(response.checkpoint, header, outgoing.sizes)
    return protection.saved(response.checkpoint, outgoing, replayed=response.replayed, head=to_head(response))
