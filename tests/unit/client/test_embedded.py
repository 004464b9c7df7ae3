"""Clients of `file:///path`: the service runs in this process, on the same folder as servers and other processes."""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import holdfast
import holdfast_server
import pytest
import uvloop
from holdfast._embedded.process import Process

from tests.support.both_clients import ClientInThreads
from tests.support.servers import server

FORMAT = holdfast.Format("test", 1)
LARGE = bytes(range(256)) * (3 << 12)


@pytest.fixture
def target(tmp_path):
    return (tmp_path / "store").as_uri()


async def save_and_load(client, workflow_id="w", data=b"x"):
    await client.save("n", workflow_id, data, format=FORMAT)
    return (await client.load("n", workflow_id)).data


def alone(program, *arguments, **environment):
    """Run a program in a process of its own and return what it printed. It must end well, and print no errors."""
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.split()


# Targets


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:x", "expected file:///path, whose path is absolute, without a host"),
        ("file:/x", "expected file:///path"),
        ("file://host/x", "expected file:///path, whose path is absolute, without a host"),
        ("file:///", "expected file:///path"),
        ("FILE:///x", "expected file:///path"),
        ("file:///x?y", r"'\?' must be written as %3F"),
        ("file:///x#y", "'#' must be written as %23"),
        ("file:///x%00", "must not contain NUL"),
    ],
)
def test_a_target_that_is_not_the_url_of_a_folder_is_refused_at_once(target, words):
    for kind in (holdfast.Client, holdfast.AsyncClient):
        with pytest.raises(holdfast.InvalidRequestError, match=words) as caught:
            kind(target)
        assert caught.value.field_violations[0][0] == "target"


def test_a_path_is_percent_encoded(tmp_path):
    with holdfast.Client(f"{tmp_path.as_uri()}/a%20b%3F") as client:
        client.save("n", "w", b"x", format=FORMAT)
    assert [each.name for each in tmp_path.iterdir()] == ["a b?"]


def test_a_host_named_file_is_still_a_server():
    holdfast.Client("file:7433").close()


def test_folders_above_the_store_are_made(tmp_path):
    with holdfast.Client((tmp_path / "a" / "b" / "c").as_uri()) as client:
        client.save("n", "w", b"x", format=FORMAT)
    assert (tmp_path / "a" / "b" / "c").is_dir()


@pytest.mark.parametrize("below", ["", "/x", "/x/y"])
def test_a_path_that_is_a_file_fails_at_once_and_names_it(tmp_path, below):
    (tmp_path / "f").write_text("")
    with holdfast.Client((tmp_path / "f").as_uri() + below, timeout=1000) as client:
        for _ in range(2):
            with pytest.raises(holdfast.StoreUnavailableError, match=f"{tmp_path}/f") as caught:
                client.load("n", "w")
            assert not caught.value.retryable
            assert len(caught.value.trace_id) == 32


async def test_a_folder_that_could_not_be_opened_is_opened_by_a_later_call(tmp_path):
    path = tmp_path / "store"
    path.write_text("")
    async with holdfast.AsyncClient(path.as_uri()) as client:
        with pytest.raises(holdfast.StoreUnavailableError):
            await client.load("n", "w")
        path.unlink()
        assert await save_and_load(client) == b"x"


# Installation


@pytest.mark.parametrize("kind", [holdfast.Client, holdfast.AsyncClient])
def test_without_the_server_an_error_says_what_to_install(monkeypatch, target, kind):
    monkeypatch.setitem(sys.modules, "holdfast_server", None)
    with pytest.raises(ImportError, match=r"pip install holdfast-client\[embedded\]==") as caught:
        kind(target)
    assert caught.value.name == "holdfast_server"


def test_a_server_of_another_version_is_refused(monkeypatch, target):
    monkeypatch.setattr(holdfast_server, "SERVER_VERSION", "0.0.1")
    with pytest.raises(ImportError, match=rf"needs holdfast-server {holdfast.__version__}, found 0\.0\.1"):
        holdfast.Client(target)


def test_a_client_of_a_server_loads_nothing_of_the_service():
    program = "import holdfast, sys; holdfast.Client('x:1'); print(*sys.modules)"
    assert not [name for name in alone(program) if name.startswith("holdfast_server")]


def test_an_embedded_client_does_not_load_the_opentelemetry_sdk_nor_the_s3_client(target):
    program = """
import holdfast, sys
with holdfast.Client(sys.argv[1]) as client:
    client.save("n", "w", b"x", format=holdfast.Format("f", 1))
print(*sys.modules)
"""
    loaded = alone(program, target)
    assert "holdfast_server" in loaded
    assert not {"opentelemetry.sdk", "aioboto3", "botocore"} & set(loaded)


# One folder, many users


def test_an_embedded_client_and_a_server_use_one_folder_at_the_same_time(target):
    with holdfast.Client(target) as embedded, server(target) as address, holdfast.Client(address) as remote:
        for number in range(5):
            embedded.save("n", "w", b"embedded %d" % number, format=FORMAT)
            assert remote.load("n", "w").data == b"embedded %d" % number
            remote.save("n", "w", b"remote %d" % number, format=FORMAT)
            assert embedded.load("n", "w").data == b"remote %d" % number
        assert [each.revision for each in embedded.list("n", "w")] == list(range(10, 0, -1))


def test_a_symbolic_link_to_a_folder_is_the_same_folder(tmp_path, target):
    (tmp_path / "link").symlink_to(tmp_path / "store")
    with holdfast.Client(target) as first, holdfast.Client((tmp_path / "link").as_uri()) as second:
        first.save("n", "w", b"x", format=FORMAT)
        assert second.load("n", "w").data == b"x"
        assert len(Process.current().folders) == 1


def test_a_folder_is_closed_with_its_last_client_and_can_be_opened_again(target):
    first, second = holdfast.Client(target), holdfast.Client(target)
    first.save("n", "w", b"x", format=FORMAT)
    assert second.load("n", "w").data == b"x"
    first.close()
    assert second.load("n", "w").data == b"x"
    assert len(Process.current().folders) == 1
    second.close()
    assert len(Process.current().folders) == 0
    with holdfast.Client(target) as third:
        assert third.load("n", "w").data == b"x"


def test_a_client_that_is_dropped_without_closing_it_gives_its_folder_back(target):
    client = holdfast.Client(target)
    client.save("n", "w", b"x", format=FORMAT)
    del client
    gc.collect()
    # Opening it again waits until it is closed.
    with holdfast.Client(target) as other:
        assert other.load("n", "w").data == b"x"
    assert len(Process.current().folders) == 0


def test_many_clients_leave_no_threads_and_no_descriptors(target):
    def use():
        with holdfast.Client(target) as client:
            client.save("n", "w", LARGE, format=FORMAT)

    use()
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        use()
    assert threading.active_count() <= before[0] + 1
    assert len(os.listdir("/proc/self/fd")) <= before[1] + 1


def test_clients_of_one_process_share_a_thread(target, tmp_path):
    with holdfast.Client(target) as one, holdfast.Client((tmp_path / "other").as_uri()) as other:
        for client in (one, other):
            client.save("n", "w", b"x", format=FORMAT)
        assert sum(thread.name == "holdfast-embedded" for thread in threading.enumerate()) == 1


# Event loops


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_one_client_works_on_one_loop_after_the_other(target, run):
    client = holdfast.AsyncClient(target)
    for number in range(3):
        assert run(save_and_load(client, data=b"%d" % number)) == b"%d" % number
    run(client.close())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("seconds", [0.0001, 0.0004, 0.001])
@pytest.mark.parametrize("size", [1, len(LARGE)])
def test_a_timeout_of_less_than_a_millisecond_ends_a_save_as_a_longer_one_does(target, run, seconds, size):
    async def save():
        async with holdfast.AsyncClient(target, timeout=seconds) as client:
            with pytest.raises(holdfast.DeadlineExceededError):
                await client.save("n", "w", b"x" * size, format=FORMAT)

    run(save())


@pytest.mark.parametrize("size", [1, len(LARGE)])
def test_loops_in_several_threads_use_one_client_at_the_same_time(target, size):
    client = holdfast.AsyncClient(target)
    failures = []

    async def work(number):
        for _ in range(3):
            data = bytes([number]) * size
            assert await save_and_load(client, f"t{number}", data) == data

    def run(number):
        try:
            asyncio.run(work(number))
        except Exception as error:  # noqa: BLE001 - any error that a caller could see
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    asyncio.run(client.close())


async def test_the_callers_loop_is_free_while_a_call_runs(target):
    async with holdfast.AsyncClient(target) as client:
        saving = asyncio.create_task(client.save("n", "w", LARGE * 4, format=FORMAT))
        turns = 0
        while not saving.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10


async def test_more_calls_than_run_at_once_wait_for_one_another(target, monkeypatch):
    monkeypatch.setenv("HOLDFAST_CALLS_IN_FLIGHT", "4")
    async with holdfast.AsyncClient(target, retry=holdfast.RetryPolicy(burst_retries=0)) as client:
        await asyncio.gather(*(client.save("n", f"w{number}", b"x", format=FORMAT) for number in range(100)))
        assert len([each async for each in client.list_workflows("n")]) == 100


# Limits and settings


@pytest.mark.parametrize("kind", [holdfast.AsyncClient, ClientInThreads])
async def test_what_a_server_refuses_is_refused(target, kind):
    async with kind(target) as client:
        with pytest.raises(holdfast.InvalidRequestError, match="labels"):
            await client.save("n", "w", b"x", format=FORMAT, labels={"k": "v" * 2000})
        with pytest.raises(holdfast.HoldfastError) as caught:
            await client.attach("n", "w", "c", [holdfast.Record("k", bytes(4 << 20))])
        assert caught.value.reason in ("INVALID_REQUEST", "PAYLOAD_TOO_LARGE")


def test_the_settings_are_those_of_a_server(target, monkeypatch):
    monkeypatch.setenv("HOLDFAST_PAYLOAD_LIMIT_BYTES", str(1 << 20))
    with holdfast.Client(target) as client, pytest.raises(holdfast.PayloadTooLargeError):
        client.save("n", "w", LARGE, format=FORMAT)


def test_an_invalid_setting_is_an_error_that_names_it(target, monkeypatch):
    monkeypatch.setenv("HOLDFAST_GRACE_SECONDS", "soon")
    with holdfast.Client(target) as client, pytest.raises(holdfast.InvalidRequestError, match="grace_seconds"):
        client.load("n", "w")


def test_a_buffer_that_the_caller_changes_later_is_saved_as_it_was(target):
    with holdfast.Client(target) as client:
        for size in (10, len(LARGE)):
            data = bytearray(size)
            client.save("n", "w", data, format=FORMAT)
            data[:] = b"\1" * size
            assert client.load("n", "w").data == bytes(size)


# The program around it


def test_neither_signals_nor_logging_nor_standard_error_are_touched(target, capfd):
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    root = logging.getLogger()
    before = root.level, list(root.handlers), logging.getLogger("asyncio").level
    with holdfast.Client(target) as client:
        client.save("n", "w", b"x", format=FORMAT)
        with pytest.raises(holdfast.HoldfastError):
            client.save("n", "w", b"y", format=FORMAT, expected_revision=7)
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers
    assert (root.level, list(root.handlers), logging.getLogger("asyncio").level) == before
    assert capfd.readouterr() == ("", "")


FORKING = """
import asyncio, os, signal, sys, threading
import holdfast

FORMAT = holdfast.Format("test", 1)
target = sys.argv[1]
client = holdfast.Client(target, timeout=20)
other = holdfast.AsyncClient(target, timeout=20)
client.save("n", "w", b"parent", format=FORMAT)
is_over = threading.Event()

def work(number):
    while not is_over.is_set():
        client.save("n", f"t{number}", b"x", format=FORMAT)
        client.load("n", f"t{number}")

async def in_child():
    await other.save("n", "w", b"asynchronous", format=FORMAT)

threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
for thread in threads:
    thread.start()
for number in range(4):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        client.save("n", "w", b"child", format=FORMAT)
        asyncio.run(in_child())
        assert client.load("n", "w").data == b"asynchronous"
        if number % 2:
            client.close()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
is_over.set()
for thread in threads:
    thread.join()
client.save("n", "w", b"parent", format=FORMAT)
print([each.revision for each in client.list("n", "w")][0])
"""


def test_a_forked_process_opens_the_folder_itself_while_calls_run_in_its_parent(target):
    assert alone(FORKING, target) == ["10"]


WATCHING = """
import os, signal, sys, threading
from contextlib import suppress
import holdfast

client = holdfast.Client(sys.argv[1], timeout=20)

def save():
    client.save("n", "w", b"x", format=holdfast.Format("test", 1))

def forked(function):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        function()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0

def follow():
    with suppress(holdfast.ClientClosedError):
        for entry in client.watch("n", "w"):
            found.append(entry.revision)
            is_watching.set()

def in_child():
    assert [next(watch).revision, next(watch).revision] == [2, 3]
    save()
    assert next(watch).revision == 4

save()
save()
save()
watch = client.watch("n", "w", after_revision=0)
assert next(watch).revision == 1
forked(in_child)
assert [next(watch).revision for _ in range(3)] == [2, 3, 4]

# While a thread of the parent waits.
found, is_watching = [], threading.Event()
thread = threading.Thread(target=follow, daemon=True)
thread.start()
while not is_watching.wait(0.01):
    save()
forked(save)
forked(client.close)
save()
for entry in watch:
    if entry.revision == client.load("n", "w").info.revision:
        break
while found[-1] < entry.revision:
    is_watching.wait(0.01)
assert found == list(range(found[0], entry.revision + 1))
# The process ends while both watches are open.
print("ended")
"""


def test_a_watch_goes_on_in_a_forked_process_and_in_its_parent(target):
    assert alone(WATCHING, target) == ["ended"]


TRACED = """
import sys
import holdfast
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
with holdfast.Client(sys.argv[1]) as client:
    client.save("n", "w", b"x", format=holdfast.Format("f", 1))
found = spans.get_finished_spans()
by_id = {each.context.span_id: each for each in found}
[own] = [each for each in found if each.name.endswith("/Save") and each.parent is None]
[server] = [each for each in found if each.kind is trace.SpanKind.SERVER]
assert server.name == own.name == "holdfast.v1.CheckpointService/Save"
assert by_id[by_id[server.parent.span_id].parent.span_id] is own
for each in found:
    if each.name == "store put_if_absent" and each.context.trace_id == own.context.trace_id:
        assert by_id[each.parent.span_id] is server
        print(each.name)
"""


def test_a_program_that_collects_spans_gets_those_of_the_service_below_its_own(target):
    assert "put_if_absent" in alone(TRACED, target)


OUTLIVING = """
import os, sys
import holdfast

FORMAT = holdfast.Format("test", 1)
client = holdfast.Client(sys.argv[1])
client.save("n", "w", b"parent", format=FORMAT)
saved, closed = os.pipe(), os.pipe()
if os.fork() == 0:
    client.save("n", "w", b"child", format=FORMAT)
    os.write(saved[1], b"x")
    os.read(closed[0], 1)
    client.save("n", "w", b"after", format=FORMAT)
    os._exit(0)
os.read(saved[0], 1)
client.close()
os.write(closed[1], b"x")
os.wait()
"""


def test_a_save_of_a_child_is_kept_when_its_parent_has_closed_the_folder(target):
    alone(OUTLIVING, target)
    with holdfast.Client(target) as client:
        assert client.load("n", "w").data == b"after"


def _save_in_child(client, number):
    client.save("n", f"child{number}", b"x", format=FORMAT)


def test_processes_of_multiprocessing_can_use_a_client_that_their_parent_made(target):
    with holdfast.Client(target) as client:
        client.save("n", "w", b"x", format=FORMAT)
        forking = multiprocessing.get_context("fork")
        children = [forking.Process(target=_save_in_child, args=(client, number)) for number in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join(60)
        assert [child.exitcode for child in children] == [0, 0]
        assert len(list(client.list_workflows("n"))) == 3
        assert list(client.namespaces()) == ["n"]


ENDING = {
    "a client that was never closed": "client.save('n', 'w', b'x', format=FORMAT)",
    "a client that was entered and not left": "client.__enter__().save('n', 'w', b'x', format=FORMAT)",
    "a thread that outlives the main thread": """
def work():
    threading.main_thread().join()
    client.save("n", "w", bytes(3 << 20), format=FORMAT)
threading.Thread(target=work).start()
""",
    "a function of atexit": """
import atexit
atexit.register(lambda: client.save("n", "w", bytes(3 << 20), format=FORMAT))
""",
    "a daemon thread that saves until the end": """
def work():
    while True:
        client.save("n", "w", b"x", format=FORMAT)
client.save("n", "w", b"x", format=FORMAT)
threading.excepthook = lambda failure: None
threading.Thread(target=work, daemon=True).start()
""",
    "a loop that was never closed": """
loop = asyncio.new_event_loop()
loop.run_until_complete(holdfast.AsyncClient(sys.argv[1]).save("n", "w", b"x", format=FORMAT))
loop.close()
""",
}


@pytest.mark.parametrize("ending", ENDING.values(), ids=ENDING)
def test_a_process_ends_at_once_and_keeps_what_was_saved(target, ending):
    head = "import asyncio, sys, threading, holdfast\nFORMAT = holdfast.Format('f', 1)\n"
    alone(f"{head}client = holdfast.Client(sys.argv[1])\n{ending}", target)
    with holdfast.Client(target) as client:
        assert client.load("n", "w").revision >= 1
