"""The audit log keeps every line once, in one line, and refuses calls that it must hold and cannot."""

import asyncio
import json
import os
import resource
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from holdfast.v1 import checkpoint_service_pb2 as api
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.trust.audit import WRITES, AuditLog, AuditRules, auditing, line
from holdfast_server.trust.audit_sink import FileSink, StreamSink, Written
from holdfast_server.trust.audited_call import AuditedCall
from hypothesis import given
from hypothesis import strategies as st

READS = {
    "GetCapabilities",
    "GetStoreStatus",
    "GetUpload",
    "GetUsage",
    "List",
    "ListLog",
    "ListNamespaces",
    "ListRecords",
    "ListWorkflows",
    "Load",
    "LoadStream",
    "Validate",
    "WatchWorkflow",
}
REQUIRED = AuditRules(is_required=True)
ALL = AuditRules(includes_reads=True)


def parsed(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class ScriptedSink:
    """A sink whose writes wait for `go`, and fail while `error` is set."""

    def __init__(self) -> None:
        self.lines: list[dict] = []
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Event()
        self.error: OSError | None = None
        self.is_closed = False

    def write(self, lines):
        self.started.set()
        self.go.wait()
        if self.error is not None:
            return Written(0, self.error)
        self.lines += map(json.loads, lines)
        return Written(len(lines), None)

    def close(self):
        self.is_closed = True


@contextmanager
def largest_file(size_bytes):
    """Let no file of this process grow beyond a size while the block runs."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_each_method_either_writes_or_reads():
    methods = {each.name for each in api.DESCRIPTOR.services_by_name["CheckpointService"].methods}
    # The calls of a pipeline have lines of their own.
    assert methods - {"Pipeline"} == WRITES | READS
    assert not WRITES & READS


@given(st.text(max_size=600), st.text(max_size=20))
def test_any_ids_stay_one_line_of_printable_ascii(workflow_id, checkpoint_id):
    class Log:
        def responded(self, method, fields, outcome):
            self.line = line("response", method, fields)

    log = Log()
    call = AuditedCall(log, "Load", peer="ipv4:1", trace_id="0" * 32)
    call.take(api.LoadRequest(namespace="n", workflow_id=workflow_id, checkpoint_id=checkpoint_id))
    call.record_response("OK")
    assert log.line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in log.line[:-1])
    assert json.loads(log.line).get("workflow", "") == workflow_id[:512]


async def test_a_new_file_can_be_read_by_its_user_only(tmp_path):
    async with auditing(str(tmp_path / "audit"), ALL) as log:
        log.responded("Load", {}, "OK")
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o600
    assert parsed(tmp_path / "audit")[0]["outcome"] == "OK"


async def test_reads_have_a_line_only_if_chosen_or_refused(tmp_path):
    async with auditing(str(tmp_path / "audit"), AuditRules()) as log:
        for outcome in ("OK", "WORKFLOW_NOT_FOUND", "UNAUTHENTICATED", "PERMISSION_DENIED"):
            log.responded("Load", {}, outcome)
        log.responded("Save", {}, "OK")
        log.refused("Pipeline", peer="p", principal="", reason="UNAUTHENTICATED", trace_id="t")
    assert [(each["method"], each["outcome"]) for each in parsed(tmp_path / "audit")] == [
        ("Load", "UNAUTHENTICATED"),
        ("Load", "PERMISSION_DENIED"),
        ("Save", "OK"),
        ("Pipeline", "UNAUTHENTICATED"),
    ]


async def test_rotations_under_load_lose_and_repeat_no_line(tmp_path):
    path = tmp_path / "audit"
    count = 3000
    async with auditing(str(path), ALL) as log:
        for number in range(count):
            log.responded("Load", {"number": number}, "OK")
            if number % 100 == 0:
                # Give the writer a turn.
                await asyncio.sleep(0.001)
                if path.exists():
                    path.rename(tmp_path / f"audit.{number}")
    written = [each["number"] for file in tmp_path.iterdir() for each in parsed(file)]
    assert sorted(written) == list(range(count))


def test_a_file_that_was_removed_is_created_again(tmp_path):
    sink = FileSink(tmp_path / "audit", syncs=True)
    sink.write([b"1\n"])
    (tmp_path / "audit").unlink()
    assert sink.write([b"2\n"]) == (1, None)
    assert (tmp_path / "audit").read_bytes() == b"2\n"
    sink.close()


def test_a_file_that_was_emptied_is_appended_to(tmp_path):
    sink = FileSink(tmp_path / "audit", syncs=False)
    sink.write([b"1\n"])
    os.truncate(tmp_path / "audit", 0)
    sink.write([b"2\n"])
    assert (tmp_path / "audit").read_bytes() == b"2\n"
    sink.close()


@pytest.mark.skipif(signal.getsignal(signal.SIGXFSZ) is not signal.SIG_IGN, reason="SIGXFSZ would end the process")
def test_a_full_disk_cuts_a_line_that_is_written_again_whole(tmp_path):
    sink = FileSink(tmp_path / "audit", syncs=True)
    lines = [b"a" * 9 + b"\n", b"b" * 9 + b"\n", b"c" * 9 + b"\n"]
    with largest_file(25):
        written = sink.write(lines)
        assert written.lines == 2
        assert isinstance(written.error, OSError)
        assert sink.write(lines[2:]).lines == 0
    assert sink.write(lines[2:]) == (1, None)
    sink.close()
    assert (tmp_path / "audit").read_bytes().split(b"\n") == [b"a" * 9, b"b" * 9, b"c" * 5, b"c" * 9, b""]


def test_a_line_that_another_process_left_cut_is_ended(tmp_path):
    (tmp_path / "audit").write_bytes(b"cut")
    sink = FileSink(tmp_path / "audit", syncs=False)
    sink.write([b"1\n"])
    sink.close()
    assert (tmp_path / "audit").read_bytes() == b"cut\n1\n"


def test_only_a_regular_file_is_a_path(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        FileSink(tmp_path / "pipe", syncs=False)
    with pytest.raises(IsADirectoryError):
        FileSink(tmp_path, syncs=False)


def test_an_output_that_accepts_nothing_fails_and_continues_with_a_whole_line():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sink = StreamSink(writer)
    line = b"x" * 999 + b"\n"
    while (written := sink.write([line] * 40)).error is None:
        pass
    received = b""
    os.set_blocking(reader, False)
    while True:
        try:
            received += os.read(reader, 1 << 20)
        except BlockingIOError:
            break
    assert sink.write([b"last\n"]) == (1, None)
    received += os.read(reader, 1 << 20)
    assert written.lines < 40
    assert received.split(b"\n")[-2] == b"last"
    os.close(reader)
    os.close(writer)


async def test_lines_wait_while_the_sink_fails_and_the_log_says_how_many_were_lost():
    sink = ScriptedSink()
    sink.error = OSError("full")
    log = AuditLog(sink, REQUIRED, max_waiting=10)
    for number in range(15):
        log.responded("Save", {"number": number}, "OK")
    await asyncio.to_thread(sink.started.wait)
    sink.error = None
    await log.close()
    assert [each.get("number") for each in sink.lines] == [*range(10), None]
    assert (sink.lines[10]["type"], sink.lines[10]["lines"]) == ("lost", 5)
    assert sink.is_closed


async def test_a_required_line_is_written_before_the_call_goes_on():
    sink = ScriptedSink()
    sink.go.clear()
    log = AuditLog(sink, REQUIRED)
    waiting = asyncio.create_task(log.require("Save", {"call": "1"}))
    await asyncio.to_thread(sink.started.wait)
    assert not waiting.done()
    sink.go.set()
    await waiting
    assert [(each["type"], each["call"]) for each in sink.lines] == [("request", "1")]
    await log.close()


async def test_a_required_line_that_cannot_be_written_refuses_the_call_and_is_not_kept():
    sink = ScriptedSink()
    sink.error = OSError("full")
    log = AuditLog(sink, REQUIRED)
    log.responded("Save", {"call": "0"}, "OK")
    for _ in range(2):
        with pytest.raises(HoldfastError) as caught:
            await log.require("Save", {"call": "1"})
        assert caught.value.reason is Reason.AUDIT_UNAVAILABLE
    sink.error = None
    await log.require("Save", {"call": "2"})
    assert [each["call"] for each in sink.lines] == ["0", "2"]
    await log.close()


async def test_request_lines_leave_room_for_the_responses_of_calls_that_have_begun():
    sink = ScriptedSink()
    sink.go.clear()
    log = AuditLog(sink, REQUIRED, max_waiting=10)
    begun = [asyncio.create_task(log.require("Save", {"call": str(number)})) for number in range(5)]
    await asyncio.to_thread(sink.started.wait)
    with pytest.raises(HoldfastError):
        await log.require("Save", {"call": "5"})
    for number in range(5):
        log.responded("Save", {"call": str(number)}, "OK")
    sink.go.set()
    await asyncio.gather(*begun)
    await log.close()
    assert [each["call"] for each in sink.lines] == [*"01234"] * 2


async def test_a_call_that_is_cancelled_while_it_waits_harms_no_other():
    sink = ScriptedSink()
    sink.go.clear()
    log = AuditLog(sink, REQUIRED)
    cancelled = asyncio.create_task(log.require("Save", {"call": "1"}))
    await asyncio.to_thread(sink.started.wait)
    other = asyncio.create_task(log.require("Save", {"call": "2"}))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    sink.go.set()
    await other
    await log.close()


async def test_reads_and_logs_that_are_not_required_never_wait():
    sink = ScriptedSink()
    sink.go.clear()
    for rules, method in ((REQUIRED, "Load"), (AuditRules(), "Save")):
        log = AuditLog(sink, rules)
        await log.require(method, {})
        sink.go.set()
        await log.close()


async def test_a_sink_that_hangs_does_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr("holdfast_server.trust.audit._CLOSE_SECONDS", 0.01)
    sink = ScriptedSink()
    sink.go.clear()
    log = AuditLog(sink, ALL)
    log.responded("Load", {}, "OK")
    await log.close()
    assert not sink.is_closed
    sink.go.set()
