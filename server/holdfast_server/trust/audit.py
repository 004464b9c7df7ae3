"""The audit log: who called what, and how it ended, one JSON object per line in a sink of its own.

A line has no payload, no label and no credentials. Ids are escaped, so that each line is one line whatever they hold.
The lines wait in a bounded queue for a thread that writes them, so that no call waits for the sink, with one exception:
if the log is required, a call that writes is refused unless its request line is written before it takes effect. Its
response line follows when it has ended; a request line without one means that the outcome is not known.
"""

import asyncio
import json
import logging
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast_server import telemetry
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.trust.audit_sink import FileSink, Sink, StreamSink

WRITES = frozenset(
    {
        "AcquireWriter",
        "AttachRecords",
        "CopyWorkflow",
        "Delete",
        "DeleteCheckpoints",
        "DeleteWorkflow",
        "DeleteWorkflows",
        "Prune",
        "Save",
        "SaveStream",
    }
)
# The outputs of the process that may be a sink.
STREAMS = {"stdout": 1, "stderr": 2}

# About 400 bytes each. Request lines leave half of the room to the responses of calls that have begun.
_MAX_WAITING = 10_000
_LINES_AT_ONCE = 256
# After a failure the sink is tried again after this time, or when a line that is required comes.
_PAUSE_SECONDS = 1.0
# How long the end of the process may wait for the last lines.
_CLOSE_SECONDS = 0.5
_LOG = logging.getLogger("holdfast.server")

Fields = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class AuditRules:
    """The calls that the log holds.

    Attributes:
        includes_reads: whether calls that only read have lines. Those that were refused always have one.
        is_required: whether a call that writes is refused if its request line cannot be written.

    """

    includes_reads: bool = False
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A line that waits, and the future of the call that requires it."""

    line: bytes
    written: "asyncio.Future[None] | None" = None


class AuditLog:
    """The audit log of a service. `opened` opens one.

    Args:
        sink: where the lines go.
        rules: the calls that it holds.
        max_waiting: how many lines may wait. Further ones are lost, counted, and stated in the log.

    """

    def __init__(self, sink: Sink, rules: AuditRules, *, max_waiting: int = _MAX_WAITING) -> None:
        self._sink = sink
        self._rules = rules
        self._max_waiting = max_waiting
        # Guards the fields after it.
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._lost = 0
        self._has_required = False
        self._is_closed = False
        # Of the thread alone: whether the log was closed before the write in progress, and whether writes fail.
        self._is_ending = False
        self._is_failing = False
        self._thread = threading.Thread(target=self._write_all, name="holdfast-audit", daemon=True)
        self._thread.start()

    async def require(self, method: str, fields: Fields) -> None:
        """Write the request line of a call that is about to take effect, if the rules require one.

        Args:
            method: the method's name.
            fields: the call, as `responded` takes them.

        Raises:
            HoldfastError: AUDIT_UNAVAILABLE: the line cannot be written.

        """
        if not self._rules.is_required or method not in WRITES:
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._changed:
            is_full = len(self._waiting) >= self._max_waiting // 2
            if not is_full:
                self._waiting.append(_Waiting(line("request", method, fields), written))
                self._has_required = True
                self._changed.notify()
        try:
            if is_full:
                raise BlockingIOError
            await written
        except OSError:
            raise HoldfastError(Reason.AUDIT_UNAVAILABLE, "the audit log cannot be written") from None

    def responded(self, method: str, fields: Fields, outcome: str) -> None:
        """Write the line of a call that has ended, if the rules include it. Never waits.

        Args:
            method: the method's name.
            fields: `call`, `principal`, `peer`, `trace_id` and the ids of the call.
            outcome: OK, CANCELLED, or the reason why it failed.

        """
        is_refused = outcome in (Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED)
        if is_refused or self._rules.includes_reads or method in WRITES:
            self._add(line("response", method, {**fields, "outcome": outcome}))

    def refused(self, method: str, *, peer: str, principal: str, reason: str, trace_id: str) -> None:
        """Write the line of a request that was refused outside of a call, such as a pipeline. Never waits."""
        fields = {"principal": principal, "peer": peer, "trace_id": trace_id, "outcome": reason}
        self._add(line("response", method, {"call": new_call_id(), **fields}))

    async def close(self) -> None:
        """Write the lines that wait, and close the sink."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)
        with self._changed:
            lost = self._lost + len(self._waiting)
        if lost:
            telemetry.AUDIT_LOST.add(len(self._waiting))
            _LOG.error("lines of the audit log are lost", extra={"lines": lost})

    def _add(self, added: bytes) -> None:
        with self._changed:
            if len(self._waiting) < self._max_waiting:
                self._waiting.append(_Waiting(added))
                self._changed.notify()
                return
            self._lost += 1
        telemetry.AUDIT_LOST.add(1)

    def _write_all(self) -> None:
        """Write what waits until the log is closed. Runs in the thread."""
        while (batch := self._next_batch()) is not None:
            written, error = self._sink.write([each.line for each in batch])
            with self._changed:
                done = [self._waiting.popleft() for _ in range(written)]
                failed = [] if error is None else self._take_required()
                if error is None and self._lost:
                    self._waiting.append(_Waiting(line("lost", "", {"lines": self._lost})))
                    self._lost = 0
            for each in done:
                _resolve(each, None)
            for each in failed:
                _resolve(each, error)
            self._report(error)
            if error is not None:
                if self._is_ending:
                    break
                self._pause()
        self._sink.close()

    def _next_batch(self) -> list[_Waiting] | None:
        """Wait for lines and return the first ones, which stay in the queue; None once the log is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            self._has_required = False
            self._is_ending = self._is_closed
            count = min(_LINES_AT_ONCE, len(self._waiting))
            return [self._waiting[index] for index in range(count)] or None

    def _take_required(self) -> list[_Waiting]:
        """Remove the lines that calls wait for: these calls are refused."""
        required = [each for each in self._waiting if each.written is not None]
        self._waiting = deque(each for each in self._waiting if each.written is None)
        return required

    def _pause(self) -> None:
        """Wait before the next write after one that failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_required or self._is_closed, _PAUSE_SECONDS)

    def _report(self, error: OSError | None) -> None:
        """Log the first failure of several, and the end of them."""
        if error is not None and not self._is_failing:
            _LOG.error("the audit log cannot be written", extra={"error": str(error)})
        elif error is None and self._is_failing:
            _LOG.warning("the audit log is written again")
        self._is_failing = error is not None


@asynccontextmanager
async def auditing(target: str, rules: AuditRules) -> AsyncIterator[AuditLog | None]:
    """Open the audit log while the block runs.

    Args:
        target: a path, or one of STREAMS; "" for no log.
        rules: the calls that it holds.

    Yields:
        The log; None if there is none.

    Raises:
        OSError: it cannot be opened.

    """
    if not target:
        yield None
        return
    is_stream = target in STREAMS
    log = AuditLog(
        StreamSink(STREAMS[target])
        if is_stream
        else await asyncio.to_thread(FileSink, Path(target), syncs=rules.is_required),
        rules,
    )
    try:
        yield log
    finally:
        await log.close()


def new_call_id() -> str:
    """Return an id that the request and the response line of one call share."""
    return secrets.token_hex(8)


def line(kind: str, method: str, fields: Fields) -> bytes:
    """Return a line of the log. Empty values are left out; everything that is not printable ASCII is escaped."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    values = {"time": now, "type": kind, "method": method, **fields}
    text = json.dumps({name: value for name, value in values.items() if value != ""})
    return text.replace("\x7f", "\\u007f").encode() + b"\n"


def _resolve(waiting: _Waiting, error: OSError | None) -> None:
    """Let the call that requires a line go on, or fail. Runs in the thread."""
    written = waiting.written
    if written is None:
        return

    def settle() -> None:
        if written.done():
            return
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)

    # A loop that was closed has no callers left.
    with suppress(RuntimeError):
        written.get_loop().call_soon_threadsafe(settle)
