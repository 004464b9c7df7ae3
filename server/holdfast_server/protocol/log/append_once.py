"""Appends that happen at most once: a retry is answered with what an earlier attempt has committed."""

from dataclasses import dataclass

from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import WorkflowKeys
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.protocol.log.log import Build, Log
from holdfast_server.protocol.log.replays import find_request


@dataclass(frozen=True, slots=True)
class Origin:
    """What a marker keeps of the call that wrote it. It has no part in what the log decides.

    Attributes:
        trace_id: the trace, 32 hex digits, or "".
        principal: the name of the caller; "" if the server does not authenticate callers.

    """

    trace_id: str = ""
    principal: str = ""


_UNKNOWN = Origin()


@dataclass(frozen=True, slots=True)
class Request:
    """What every request that appends to a log has in common.

    Attributes:
        keys: the workflow.
        request_id: the id of the logical call, the same on every attempt.
        epoch: the writer's epoch; None if it has none.
        first_attempt_at: on a second or later attempt, when the first one began, by `log.now`, or `LONG_AGO`; None on
            the first attempt.
        is_silent: whether the request does not say which attempt it is.
        origin: what the marker keeps of the call.

    """

    keys: WorkflowKeys
    request_id: str
    epoch: int | None = None
    first_attempt_at: float | None = None
    is_silent: bool = False
    origin: Origin = _UNKNOWN

    @property
    def is_first_attempt(self) -> bool:
        """Whether the request says that no attempt came before it."""
        return self.first_attempt_at is None and not self.is_silent


class Replay(Exception):  # noqa: N818 - not an error: it ends an append that has already happened
    """An earlier attempt of the request has committed this entry."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry


@dataclass(frozen=True, slots=True)
class Appended:
    """The committed entry, and whether an earlier attempt had committed it."""

    entry: Entry
    replayed: bool


async def append(log: Log, request: Request, build: Build, deadline: float) -> Appended:
    """Append an entry, or return the one that an earlier attempt has appended.

    Args:
        log: the log.
        request: the request.
        build: as for `Log.append`; raises `Replay` through `refuse_or_replay`.
        deadline: when to give up, in the event loop's time.

    Raises:
        HoldfastError: as for `Log.append`.

    """
    try:
        return Appended(await log.append(request.keys, build, deadline=deadline), replayed=False)
    except Replay as replay:
        return Appended(replay.entry, replayed=True)


async def refuse_or_replay(log: Log, head: Entry | None, request: Request, fingerprint: bytes) -> None:
    """Stop a request that has already been committed, or whose epoch is not the newest one.

    Raises:
        Replay: an earlier attempt has committed.
        HoldfastError: REQUEST_ID_REUSED, WRITER_FENCED, INVALID_REQUEST; CHECKPOINT_DELETED: an earlier attempt has
            saved a checkpoint that was purged since; COMMIT_UNKNOWN.

    """
    earlier = None
    if head is not None:
        earlier = await find_request(
            log, request.keys, head, request.request_id, request.first_attempt_at, is_silent=request.is_silent
        )
    if earlier is not None:
        if earlier.marker.purged_digest:
            raise HoldfastError(
                Reason.CHECKPOINT_DELETED,
                f"the checkpoint that request {request.request_id!r} saved was purged",
                checkpoint_id=earlier.marker.checkpoint_id,
                revision=earlier.revision,
            )
        if not earlier.is_of_content(fingerprint):
            raise HoldfastError(
                Reason.REQUEST_ID_REUSED,
                f"request id {request.request_id!r} belongs to revision {earlier.revision}, which has other content",
                revision=earlier.revision,
            )
        raise Replay(earlier)
    refuse_epoch(head, request)


def refuse_epoch(head: Entry | None, request: Request) -> None:
    """Refuse a request with an epoch that is fenced, or that was never given to a writer.

    Raises:
        HoldfastError: WRITER_FENCED, INVALID_REQUEST.

    """
    newest = 0 if head is None else head.marker.epoch
    if request.epoch is not None and request.epoch < newest:
        raise HoldfastError(
            Reason.WRITER_FENCED,
            f"epoch {request.epoch} is fenced: a newer writer has epoch {newest}",
            epoch=request.epoch,
            head_epoch=newest,
        )
    if request.epoch is not None and request.epoch > newest:
        raise HoldfastError(
            Reason.INVALID_REQUEST,
            f"epoch: {request.epoch} was never given to a writer, the newest is {newest}; AcquireWriter gives epochs",
            field="epoch",
            epoch=request.epoch,
            head_epoch=newest,
        )
