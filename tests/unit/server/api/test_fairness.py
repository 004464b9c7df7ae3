"""Namespaces share turns, calls and bytes: each finds room at once for a first call, and busy ones get equal parts."""

import asyncio
from collections import Counter, deque

import holdfast
import pytest
from holdfast_server.api.admission import Admission
from holdfast_server.api.capacity import Capacity
from holdfast_server.api.fairness import Shares, Turns
from holdfast_server.protocol.errors import HoldfastError, Reason
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.watched import serving_watched

FORMAT = holdfast.Format("f", 1)


class Queue:
    """Turns, and the calls that a test begins and ends one by one."""

    def __init__(self, at_once):
        self.turns = Turns(at_once)
        self.shares = Shares()
        self.working = deque()
        self.tasks = []

    async def call(self, namespace):
        """Begin a call. Return whether it works at once."""
        task = asyncio.create_task(self._run(namespace))
        self.tasks.append(task)
        await settled()
        return any(each[2] is task for each in self.working)

    async def end(self, index=0):
        """End a call that works, the first one that began. Return its namespace."""
        namespace, end, task = self.working[index]
        del self.working[index]
        end.set()
        await task
        await settled()
        return namespace

    async def cancel(self, task):
        task.cancel()
        await asyncio.wait([task])
        await settled()

    async def _run(self, namespace):
        share = self.shares.enter(namespace, is_stream=False)
        try:
            await self.turns.take(share)
            try:
                end = asyncio.Event()
                self.working.append((namespace, end, asyncio.current_task()))
                await end.wait()
            finally:
                self.turns.give_back(share)
        finally:
            self.shares.leave(share, is_stream=False)

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def settled():
    for _ in range(4):
        await asyncio.sleep(0)


async def busy(queue, namespace, calls):
    for _ in range(calls):
        await queue.call(namespace)


async def test_a_lone_namespace_gets_half_of_the_turns():
    queue = Queue(8)
    await busy(queue, "greedy", 100)
    assert len(queue.working) == 4
    await queue.close()


async def test_a_first_call_never_waits_for_a_busy_namespace():
    queue = Queue(8)
    await busy(queue, "greedy", 100)
    for _ in range(20):
        assert await queue.call("polite")
        # Its calls end in any order among those of the other.
        await queue.end(len(queue.working) - 1)
        await queue.end()
    await queue.close()


async def test_a_first_call_never_waits_for_calls_that_take_for_ever():
    queue = Queue(8)
    await busy(queue, "greedy", 100)
    await busy(queue, "greedier", 100)
    assert await queue.call("polite")
    await queue.close()


@pytest.mark.parametrize("at_once", [2, 3, 8, 16])
async def test_busy_namespaces_get_equal_turns_however_many_calls_wait(at_once):
    queue = Queue(at_once)
    await busy(queue, "many", 120)
    await busy(queue, "few", 40)
    # Those that were at work before the other came.
    for _ in range(at_once):
        await queue.end()
    served = Counter()
    for _ in range(40):
        served[await queue.end()] += 1
    assert abs(served["many"] - served["few"]) <= 2
    await queue.close()


async def test_calls_that_take_long_use_up_the_turns_of_their_own_namespace_only():
    queue = Queue(9)
    await busy(queue, "long", 40)
    await busy(queue, "short", 40)
    for _ in range(30):
        at_work = [each[0] for each in queue.working]
        assert at_work.count("short") >= 2
        assert await queue.end(at_work.index("short")) == "short"
    await queue.close()


async def test_calls_of_a_namespace_work_in_their_order():
    queue = Queue(2)
    order = []

    async def call(number):
        share = queue.shares.enter("n", is_stream=False)
        await queue.turns.take(share)
        order.append(number)
        queue.turns.give_back(share)

    await asyncio.gather(*(call(number) for number in range(10)))
    assert order == list(range(10))


async def test_a_namespace_that_was_idle_gains_no_credit():
    queue = Queue(3)
    await busy(queue, "steady", 30)
    for _ in range(20):
        await queue.end()
    await busy(queue, "steady", 20)
    await busy(queue, "late", 30)
    served = Counter()
    for _ in range(20):
        served[await queue.end()] += 1
    assert abs(served["steady"] - served["late"]) <= 3
    await queue.close()


@settings(deadline=None)
@given(
    st.integers(1, 9),
    st.lists(st.tuples(st.sampled_from(["call", "call", "end", "cancel"]), st.integers(0, 5)), max_size=60),
)
def test_no_turn_is_lost_and_nobody_waits_who_may_work(at_once, steps):
    async def run():
        queue = Queue(at_once)
        for step, number in steps:
            if step == "call":
                had_none = not any(each[0] == f"n{number}" for each in queue.working)
                is_free = len(queue.working) < at_once
                waits = any(share.namespace == f"n{number}" and share.waiting for share in queue.turns._queue)
                works = await queue.call(f"n{number}")
                assert works or not (had_none and is_free and not waits)
            elif step == "end" and queue.working:
                await queue.end(number % len(queue.working))
            elif step == "cancel" and queue.tasks:
                task = queue.tasks[number % len(queue.tasks)]
                queue.working = deque(each for each in queue.working if each[2] is not task)
                if not task.done():
                    await queue.cancel(task)
            working = Counter(each[0] for each in queue.working)
            free = at_once - sum(working.values())
            assert free >= 0
            for share in queue.turns._queue:
                assert share.waiting
                assert working[share.namespace] >= free
        await queue.close()
        assert len(queue.shares) == 0
        assert queue.turns._free == at_once
        assert not queue.turns._queue

    asyncio.run(run())


def admitted(admission, namespace, count, **kind):
    permits = []
    for _ in range(count):
        permit = admission.permit("c", **({"is_stream": False} | kind))
        permits.append(permit)
        permit.enter_namespace(namespace)
        permit.require_capacity()
    return permits


async def test_a_namespace_may_have_as_many_calls_as_it_leaves_to_the_others():
    admission = Admission(Capacity(16, 1 << 20, fair_calls=4))
    greedy = admitted(admission, "greedy", 8)
    with pytest.raises(HoldfastError) as caught:
        admitted(admission, "greedy", 1)
    assert caught.value.reason is Reason.OVERLOADED
    admitted(admission, "other", 1)
    greedy[0].release()
    admitted(admission, "polite", 1)


async def test_a_namespace_may_hold_as_many_bytes_as_it_leaves_to_the_others():
    admission = Admission(Capacity(16, 100, fair_calls=4))
    first, second = admitted(admission, "greedy", 2)
    first.hold(70)
    with pytest.raises(HoldfastError):
        second.hold(20)
    # One call may hold what it needs: other limits bound it.
    first.hold(80)
    (polite,) = admitted(admission, "polite", 1)
    polite.hold(20)
    first.release()
    second.hold(30)
    with pytest.raises(HoldfastError):
        polite.hold(80)


async def test_nothing_is_counted_by_namespace_without_turns():
    admission = Admission(Capacity(16, 100))
    admitted(admission, "greedy", 16)
    assert len(admission.shares) == 0


async def test_a_polite_namespace_is_served_while_calls_of_a_greedy_one_hang_in_the_store(tmp_path):
    async with (
        serving_watched(tmp_path, fair_calls=4) as served,
        holdfast.AsyncClient(served.target) as greedy,
        holdfast.AsyncClient(served.target) as polite,
    ):
        hanging, go = set(), asyncio.Event()

        async def hang(operation, key):
            if "greedy" in key:
                hanging.add(key)
                await go.wait()

        served.store.before = hang
        saving = [asyncio.create_task(greedy.save("greedy", f"w{number}", b"x", format=FORMAT)) for number in range(20)]
        for number in range(5):
            await polite.save("polite", f"w{number}", b"x", format=FORMAT)
        assert len({key.split("/")[3] for key in hanging}) <= 2
        # A call that waits for its turn ends at its deadline, and leaves the others theirs.
        with pytest.raises(holdfast.DeadlineExceededError):
            await greedy.save("greedy", "late", b"x", format=FORMAT, timeout=0.2)
        go.set()
        assert [each.revision for each in await asyncio.gather(*saving)] == [1] * 20
