"""Unary calls carried by pipelines: what a message holds, what breaks, what falls back to unary calls."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import weakref
from types import SimpleNamespace

import grpc
import holdfast
import pytest
from holdfast._core import pipeline
from holdfast.v1 import checkpoint_service_pb2 as api

from tests.support.scripted_pipelines import LIMITS, ScriptedServer, answer, answer_all, failure

FORMAT = holdfast.Format("test", 1)
AT_ONCE = holdfast.RetryPolicy(initial_backoff_seconds=0, max_backoff_seconds=0)
NO_RETRIES = holdfast.RetryPolicy(burst_retries=0)
REFUSALS = [
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
]
BREAKS = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN]


@pytest.fixture
async def server():
    async with ScriptedServer().running() as server:
        yield server


@pytest.fixture
async def client(connect, server):
    async with connect(server.target, timeout=20, retry=AT_ONCE) as client:
        yield client


async def save(client, workflow_id="w", data=b"x", **options):
    return await client.save("n", workflow_id, data, format=FORMAT, **options)


async def save_many(client, count, **options):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(save(client, f"w{number}", **options)) for number in range(count)]
    return [task.result().workflow_id for task in tasks]


def until(count):
    """Return a script that answers nothing until a pipeline has so many calls, and an event that is set then."""
    reached = asyncio.Event()

    async def script(stream, request):
        if len(stream.calls) >= count:
            reached.set()

    return script, reached


async def test_calls_of_a_client_share_one_pipeline(client, server):
    for number in range(3):
        assert (await save(client, f"w{number}")).workflow_id == f"w{number}"
    assert server.sizes == [[1, 1, 1]]
    assert server.unary == []


@pytest.mark.asynchronous_only("threads start their calls one by one")
async def test_calls_that_wait_share_a_message(connect, server):
    release = asyncio.Event()

    async def script(stream, request):
        await release.wait()
        await answer_all(stream, request)

    server.on_open = lambda stream: stream.send(limits=api.PipelineLimits(calls=50, bytes=1 << 20))
    async with connect(server.target, timeout=20) as client:
        await save(client)
        server.on_message = script
        saves = asyncio.create_task(save_many(client, 60))
        await server.until(lambda: sum(server.sizes[0]) == 51)
        release.set()
        await saves
    # More calls than the limit wait for answers. Then those that have waited go together.
    assert max(server.sizes[0]) >= 10
    assert sum(server.sizes[0]) == 61


async def test_a_message_stays_small_and_a_large_request_goes_alone(client, server):
    gate = asyncio.Event()

    async def script(stream, request):
        await gate.wait()
        await answer_all(stream, request)

    server.on_open = lambda stream: stream.send(limits=api.PipelineLimits(calls=1, bytes=1 << 20))
    server.on_message = script
    first = asyncio.create_task(save(client))
    await server.until(lambda: server.sizes == [[1]])
    rest = asyncio.create_task(save_many(client, 12, data=bytes(200_000)))
    await save(client, data=bytes(900_000))
    assert len(server.unary) == 1
    gate.set()
    await asyncio.gather(first, rest)
    assert max(request.ByteSize() for request in server.streams[0].requests) < 1 << 20


async def test_no_more_calls_and_bytes_are_in_flight_than_the_server_allows(client, server):
    in_flight = 0
    most = 0

    async def script(stream, request):
        nonlocal in_flight, most
        in_flight += len(request.calls)
        most = max(most, in_flight)
        await asyncio.sleep(0)
        in_flight -= len(request.calls)
        await answer_all(stream, request)

    server.on_open = lambda stream: stream.send(limits=api.PipelineLimits(calls=3, bytes=1 << 20))
    server.on_message = script
    await save(client)
    await save_many(client, 40)
    assert 1 < most <= 3
    assert max(server.sizes[0]) <= 3


async def test_one_call_is_sent_whatever_the_limit_of_bytes(client, server):
    server.on_open = lambda stream: stream.send(limits=api.PipelineLimits(calls=10, bytes=1))
    assert len(await save_many(client, 5, data=bytes(1000))) == 5
    assert server.unary == []


@pytest.mark.asynchronous_only("threads start calls in no order")
async def test_calls_of_one_workflow_keep_their_order(client, server):
    await asyncio.gather(*(save(client, "w", checkpoint_id=f"c{number}") for number in range(30)))
    sent = [call.save.header.checkpoint_id for call in server.streams[0].calls]
    assert sent == [f"c{number}" for number in range(30)]


async def test_answers_may_come_in_any_order(client, server):
    pending = []

    async def script(stream, request):
        pending.extend(request.calls)
        if len(pending) == 5:
            for call in reversed(pending):
                await stream.send(answer(call))

    server.on_message = script
    assert await save_many(client, 5) == [f"w{number}" for number in range(5)]


async def test_each_call_has_its_own_time_and_trace(client, server):
    await save(client, "a", timeout=5)
    await save(client, "b", timeout=9)
    first, second = server.streams[0].calls
    assert 4 < first.timeout.seconds + first.timeout.nanos / 1e9 <= 5
    assert 8 < second.timeout.seconds + second.timeout.nanos / 1e9 <= 9
    assert len(first.traceparent) == 55
    assert first.traceparent[3:35] != second.traceparent[3:35]
    assert first.call_id != second.call_id


async def test_a_failed_call_leaves_the_others_alone(client, server):
    async def script(stream, request):
        for call in request.calls:
            bad = call.save.header.workflow_id == "bad"
            await stream.send(failure(call, grpc.StatusCode.PERMISSION_DENIED, "no") if bad else answer(call))

    server.on_message = script
    good = asyncio.create_task(save_many(client, 3))
    with pytest.raises(holdfast.PermissionDeniedError, match="PERMISSION_DENIED: no") as caught:
        await save(client, "bad")
    assert len(caught.value.trace_id) == 32
    assert caught.value.request_id
    assert len(await good) == 3


async def test_an_answer_that_belongs_to_another_method_is_an_error(client, server):
    async def script(stream, request):
        for call in request.calls:
            await stream.send(api.PipelineAnswer(call_id=call.call_id, load=api.LoadResponse()))

    server.on_message = script
    with pytest.raises(holdfast.InternalError, match="the answer of another call than Save"):
        await save(client)


async def test_answers_to_unknown_calls_and_second_answers_are_ignored(client, server):
    async def script(stream, request):
        for call in request.calls:
            await stream.send(api.PipelineAnswer(call_id=call.call_id + 1000), answer(call), answer(call))

    server.on_message = script
    assert await save_many(client, 5) == [f"w{number}" for number in range(5)]


@pytest.mark.parametrize("code", REFUSALS)
async def test_a_refused_pipeline_is_replaced_by_unary_calls(client, server, code):
    server.on_open = lambda stream: stream.abort(code, "no streams here")
    assert len(await save_many(client, 5)) == 5
    await save(client)
    assert len(server.unary) == 6
    assert len(server.streams) == 1
    assert {request.header.attempt.number for request in server.unary} == {1}


async def test_a_refusal_is_forgotten_after_a_while(client, server, monkeypatch):
    monkeypatch.setattr(pipeline, "_UNARY_SECONDS", 0.0)
    server.on_open = lambda stream: stream.abort(grpc.StatusCode.UNIMPLEMENTED)
    await save(client)
    server.on_open = lambda stream: stream.send(limits=LIMITS)
    await save(client)
    assert len(server.unary) == 1
    assert server.sizes[-1] == [1]


async def test_a_proxy_that_holds_back_answers_until_the_end_is_noticed(client, server, monkeypatch):
    """The pipeline is closed for sending, which lets its answers through; later calls are unary."""
    for module in ("_async", "_sync"):
        monkeypatch.setattr(f"holdfast.{module}.pipelines.FIRST_ANSWER_SECONDS", 0.05)

    async def nothing(stream):
        pass

    async def script(stream, request):
        await stream.is_half_closed.wait()
        await stream.send(limits=LIMITS)
        await answer_all(stream, request)

    server.on_open = nothing
    server.on_message = script
    assert (await save(client, "w")).workflow_id == "w"
    await save(client)
    assert server.sizes == [[1]]
    assert len(server.unary) == 1


@pytest.mark.parametrize("code", BREAKS)
@pytest.mark.parametrize("answered", [0, 1, 2, 3])
async def test_calls_without_an_answer_are_retried_when_the_pipeline_breaks(client, server, code, answered):
    """Whichever message it breaks at, each call succeeds, and each retry has the request id of its call."""
    pending = []

    async def script(stream, request):
        if stream.number:
            await answer_all(stream, request)
            return
        pending.extend(request.calls)
        if len(pending) == 3:
            for call in pending[:answered]:
                await stream.send(answer(call))
            await stream.abort(code, "broken")

    server.on_message = script
    assert await save_many(client, 3) == ["w0", "w1", "w2"]
    repeated = [call.save.header for call in server.streams[1].calls] if len(server.streams) > 1 else []
    repeated += [request.header for request in server.unary]
    assert len(repeated) == 3 - answered
    first = {call.save.header.workflow_id: call.save.header.request_id for call in server.streams[0].calls}
    assert all(first[header.workflow_id] == header.request_id for header in repeated)
    assert {header.attempt.number for header in repeated} <= {2}


async def test_a_break_names_its_cause_like_that_of_a_unary_call(connect, server):
    async def script(stream, request):
        await stream.abort(grpc.StatusCode.UNAVAILABLE, "the proxy restarts")

    server.on_message = script
    async with connect(server.target, timeout=20, retry=NO_RETRIES) as client:
        with pytest.raises(holdfast.ServerUnavailableError, match="UNAVAILABLE: the proxy restarts") as caught:
            await save(client, request_id="r")
    assert caught.value.request_id == "r"
    assert len(caught.value.trace_id) == 32


def held(release):
    """Return a script that answers on the first pipeline when it is released, and an event that is set before."""
    reached = asyncio.Event()

    async def script(stream, request):
        if stream.number == 0:
            reached.set()
            await release.wait()
        await answer_all(stream, request)

    return script, reached


async def test_a_pipeline_that_goes_away_is_followed_by_another_and_still_answers(client, server):
    release = asyncio.Event()
    server.on_message, reached = held(release)
    old = asyncio.create_task(save(client, "old"))
    await reached.wait()
    await server.streams[0].send(going_away=api.PipelineGoingAway())
    await server.streams[0].is_half_closed.wait()
    assert (await save(client, "new")).workflow_id == "new"
    assert not old.done()
    release.set()
    assert (await old).workflow_id == "old"
    assert server.sizes == [[1], [1]]


async def test_calls_that_wait_move_on_when_their_pipeline_goes_away(client, server):
    release = asyncio.Event()
    server.on_open = lambda stream: stream.send(limits=api.PipelineLimits(calls=1, bytes=1 << 20))
    await save(client)
    server.on_message, reached = held(release)
    saves = asyncio.create_task(save_many(client, 4))
    await reached.wait()
    await server.streams[0].send(going_away=api.PipelineGoingAway())
    await server.streams[0].is_half_closed.wait()
    await server.until(lambda: len(server.streams) == 2 and len(server.streams[1].calls) == 3)
    release.set()
    assert len(await saves) == 4
    assert len({call.save.header.request_id for stream in server.streams for call in stream.calls}) == 5
    assert server.unary == []


@pytest.mark.asynchronous_only("a thread cannot be cancelled")
async def test_a_cancelled_call_is_cancelled_on_the_server(client, server):
    script, reached = until(2)
    server.on_message = script
    tasks = [asyncio.create_task(save(client, name)) for name in "ab"]
    await reached.wait()
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    first, second = server.streams[0].calls
    await server.until(lambda: server.streams[0].requests[-1].cancelled_call_ids != [])
    assert list(server.streams[0].requests[-1].cancelled_call_ids) == [first.call_id]
    await server.streams[0].send(failure(first, grpc.StatusCode.CANCELLED, ""), answer(second))
    assert (await tasks[1]).workflow_id == "b"


async def test_a_call_ends_at_its_deadline_whatever_the_server_does(connect, server):
    async def silent(stream, request):
        pass

    server.on_message = silent
    async with connect(server.target, timeout=20) as client:
        with pytest.raises(holdfast.DeadlineExceededError, match="gRPC: DEADLINE_EXCEEDED: Deadline Exceeded"):
            await save(client, timeout=0.2)
        server.on_message = answer_all
        await save(client)
    assert server.sizes == [[1, 1]]


async def test_a_close_ends_calls_in_flight_and_calls_that_wait(connect, server):
    server.on_open = lambda stream: stream.send(limits=api.PipelineLimits(calls=1, bytes=1 << 20))
    script, reached = until(1)
    server.on_message = script
    client = connect(server.target, timeout=20)
    tasks = [asyncio.create_task(save(client, f"w{number}")) for number in range(5)]
    await reached.wait()
    await client.close()
    for task in tasks:
        with pytest.raises(holdfast.ClientClosedError):
            await task


async def test_an_idle_pipeline_is_closed_and_the_next_call_opens_another(connect, server, monkeypatch):
    for module in ("_async", "_sync"):
        monkeypatch.setattr(f"holdfast.{module}.pipelines.IDLE_SECONDS", 0.05)
    async with connect(server.target, timeout=20) as client:
        await save(client)
        await server.streams[0].is_half_closed.wait()
        await save(client)
    assert server.sizes == [[1], [1]]
    assert server.unary == []


class _Mangled:
    FromString = staticmethod(lambda raw: api.GetCapabilitiesResponse.FromString(b"\xff\xff"))


async def test_a_pipeline_whose_messages_cannot_be_parsed_is_replaced_by_unary_calls(connect, server, monkeypatch):
    for module in ("_async", "_sync"):
        monkeypatch.setattr(f"holdfast.{module}.pipelines.api", SimpleNamespace(PipelineResponse=_Mangled))
    # The first message that cannot be parsed is the answer: the client has sent the call.
    server.on_open = lambda stream: asyncio.sleep(0)
    async with connect(server.target, timeout=20, retry=AT_ONCE) as client:
        await save(client)
    assert len(server.unary) == 1
    assert server.unary[0].header.attempt.number == 2


async def test_a_server_that_reads_slowly_gets_every_call(client, server):
    lock = asyncio.Lock()

    async def script(stream, request):
        async with lock:
            await asyncio.sleep(0.005)
            await answer_all(stream, request)

    server.on_message = script
    assert len(await save_many(client, 60, data=bytes(100_000))) == 60
    assert server.unary == []


FORKING = """
import multiprocessing, os, signal, sys, threading
import holdfast

FORMAT = holdfast.Format("test", 1)
client = holdfast.Client(sys.argv[1], timeout=20)
ended = False

def save(number=0):
    return client.save("n", f"w{number}", b"x", format=FORMAT).workflow_id

def busy():
    while not ended:
        save()

def forked():
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        os._exit(0 if [save(number) for number in range(3)] == ["w0", "w1", "w2"] else 1)
    return os.waitpid(pid, 0)[1]

save()
threads = [threading.Thread(target=busy) for _ in range(4)]
print([forked() for _ in range(3)])
for thread in threads:
    thread.start()
print([forked() for _ in range(5)])
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map_async(save, range(4)).get(60))
ended = True
for thread in threads:
    thread.join()
print(save())
"""


@pytest.mark.asynchronous_only("one program")
async def test_a_synchronous_client_with_open_pipelines_works_on_both_sides_of_a_fork(server):
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORKING, server.target, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    printed, said = await program.communicate()
    assert printed.decode().splitlines() == ["[0, 0, 0]", "[0, 0, 0, 0, 0]", str(["w0", "w1", "w2", "w3"]), "w0"], said
    assert program.returncode == 0
    assert server.unary == []


INTERRUPTED = """
import os, signal, sys, threading
import holdfast

FORMAT = holdfast.Format("test", 1)
client = holdfast.Client(sys.argv[1], timeout=1000)
client.save("n", "w", b"x", format=FORMAT)
threading.Thread(target=lambda: (sys.stdin.readline(), os.kill(os.getpid(), signal.SIGINT))).start()
try:
    client.save("n", "held", b"x", format=FORMAT)
except KeyboardInterrupt:
    print(client.save("n", "w", b"x", format=FORMAT).workflow_id)
"""


@pytest.mark.asynchronous_only("one program")
async def test_an_interrupt_ends_a_synchronous_call_and_cancels_it_and_the_program_can_end_without_a_close(server):
    held = asyncio.Event()

    async def script(stream, request):
        if any(call.save.header.workflow_id == "held" for call in request.calls):
            held.set()
        else:
            await answer_all(stream, request)

    server.on_message = script
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", INTERRUPTED, server.target, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    await held.wait()
    printed, _ = await program.communicate(b"\n")
    assert printed == b"w\n"
    assert program.returncode == 0
    sent = {call.save.header.workflow_id: call.call_id for call in server.streams[0].calls}
    assert [list(request.cancelled_call_ids) for request in server.streams[0].requests].count([sent["held"]]) == 1


LOOPS = """
import asyncio, gc, sys, weakref
import holdfast, uvloop

FORMAT = holdfast.Format("test", 1)
client = holdfast.AsyncClient(sys.argv[1], timeout=20)

async def save(workflow_id):
    return (await client.save("n", workflow_id, b"x", format=FORMAT)).workflow_id

def closed_at_once(new_loop):
    loop = new_loop()
    assert loop.run_until_complete(save("w")) == "w"
    loop.close()
    assert loop.is_closed()
    return weakref.ref(loop)

for new_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
    closed = closed_at_once(new_loop)
    print(asyncio.run(save("other")))
    gc.collect()
    assert closed() is None

async def saves_when_it_is_cancelled():
    try:
        await asyncio.Event().wait()
    finally:
        print(await save("last"))

async def main():
    await save("first")
    task = asyncio.create_task(saves_when_it_is_cancelled())
    await asyncio.sleep(0)
    return task

task = asyncio.run(main())
assert task.cancelled()
"""


@pytest.mark.asynchronous_only("one program")
async def test_event_loops_that_end_with_an_open_pipeline_end_quietly(server):
    """Closed at once, or ended by `asyncio.run`, which cancels the pipeline's task before the tasks that still save."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOOPS, server.target, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    printed, said = await program.communicate()
    assert (printed, said) == (b"other\nother\nlast\n", b"")
    assert program.returncode == 0
    assert server.unary == []


@pytest.mark.asynchronous_only("one client on two loops")
async def test_a_second_event_loop_has_a_pipeline_of_its_own(server):
    async with holdfast.AsyncClient(server.target, timeout=20) as client:
        await save(client, "here")
        await asyncio.to_thread(asyncio.run, save(client, "there"))
        await save(client, "here")
    assert [[call.save.header.workflow_id for call in stream.calls] for stream in server.streams] == [
        ["here", "here"],
        ["there"],
    ]
    assert server.unary == []


FAILURES = {
    "missing workflow": lambda client: client.load("n", "none"),
    "missing checkpoint": lambda client: client.load("n", "w", "none"),
    "conflict": lambda client: save(client, "w", expected_revision=7),
    "fenced": lambda client: save(client, "w", epoch=99),
    "invalid name": lambda client: client.load("a/../b", "w"),
    "invalid request id": lambda client: save(client, "w", request_id="x" * 5000),
    "other format": lambda client: client.load("n", "w", accepted_formats=[holdfast.AcceptedFormat("other", 1, 1)]),
    "nothing to attach to": lambda client: client.attach("n", "w", "", [holdfast.Record("k", b"v")]),
    "delete": lambda client: client.delete("n", "w", "none"),
}


@pytest.mark.remote_only("pipelines")
@pytest.mark.parametrize("call", FAILURES.values(), ids=FAILURES)
async def test_an_error_is_the_same_as_that_of_a_unary_call(connect, served, call):
    errors = []
    async with holdfast.AsyncClient(served.target, timeout=20) as client:
        await save(client)
    for unary in (False, True):
        async with connect(served.target, timeout=20) as client:
            if unary:
                client._transport._channels.current().pipelines._suspend()
            with pytest.raises(holdfast.HoldfastError) as caught:
                await call(client)
        errors.append(caught.value)
    piped, single = (dict(vars(error), trace_id=len(error.trace_id)) for error in errors)
    assert type(errors[0]) is type(errors[1])
    for each in (piped, single):
        each["request_id"] = bool(each["request_id"])
        each["metadata"] = sorted(each["metadata"])
    assert piped == single


class _Kept:
    """What a program keeps in a context variable."""


_KEPT: contextvars.ContextVar[_Kept | None] = contextvars.ContextVar("kept", default=None)


async def test_an_open_pipeline_keeps_nothing_of_the_context_of_the_call_that_opened_it(connect, server):
    async with connect(server.target, timeout=20) as client:

        async def first():
            kept = _Kept()
            _KEPT.set(kept)
            await save(client)
            return weakref.ref(kept)

        kept = await asyncio.create_task(first())
        # The thread that made the call has still to let go of it.
        await save(client)
        gc.collect()
        assert kept() is None
        assert server.sizes == [[1, 1]]
