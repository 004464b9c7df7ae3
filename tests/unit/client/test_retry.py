"""Retries: their number, how soon they are available after an outage, and servers that hang."""

import asyncio
import os
import signal
import time

import holdfast
import pytest
from holdfast._core.retry import RetryBucket
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ports import free_port
from tests.support.servers import start

FORMAT = holdfast.Format("test", 1)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


# The bucket


def test_a_retry_waits_less_than_a_second_after_an_outage_of_any_length():
    clock = Clock()
    bucket = RetryBucket(holdfast.RetryPolicy(), clock)
    for _ in range(10_000):
        bucket.take(0.1)
    assert bucket.take(0.1) is None
    assert 0 < bucket.take(1) <= 0.2
    clock.now += 1
    assert bucket.take(0.1) == 0


def test_waiting_retries_are_spaced_by_the_rate_of_the_policy():
    bucket = RetryBucket(holdfast.RetryPolicy(burst_retries=1, retries_per_second=2), Clock())
    assert [bucket.take(2.1) for _ in range(6)] == [0, 0.5, 1, 1.5, 2, None]


@given(st.lists(st.tuples(st.floats(0, 0.2), st.booleans(), st.floats(0, 5)), max_size=300))
def test_there_are_never_more_retries_than_the_policy_allows(events):
    clock = Clock()
    bucket = RetryBucket(holdfast.RetryPolicy(burst_retries=10, retries_per_second=2), clock)
    made, successes = [], 0
    for seconds, succeeds, left in events:
        clock.now += seconds
        if succeeds:
            bucket.succeeded()
            successes += 1
        elif (wait := bucket.take(left)) is not None:
            assert wait < left or wait == 0
            made.append(clock.now + wait)
    end = max(made, default=0)
    assert len(made) <= 10 + 2 * end + 0.1 * successes + 1e-6


def test_a_policy_without_retries_never_allows_one():
    clock = Clock()
    bucket = RetryBucket(holdfast.RetryPolicy(burst_retries=0, retries_per_second=100), clock)
    clock.now += 1e6
    bucket.succeeded()
    assert bucket.take(1e6) is None


# Calls


async def test_an_error_says_that_retries_were_off(connect, served):
    served.store.lose_request = lambda operation, key: True
    policy = holdfast.RetryPolicy(burst_retries=3, retries_per_second=0, initial_backoff_seconds=0)
    async with connect(served.target, timeout=20, retry=policy) as client:
        with pytest.raises(holdfast.StoreUnavailableError, match="this client has made many retries") as caught:
            await client.load("n", "w")
        assert caught.value.metadata["retries"] == "off"
        assert served.store.requests.total() <= 4
    async with connect(served.target, retry=holdfast.RetryPolicy(burst_retries=0)) as client:
        with pytest.raises(holdfast.StoreUnavailableError, match="RetryPolicy allows no retries"):
            await client.load("n", "w")


async def test_a_restart_soon_after_an_outage_fails_no_save(tmp_path):
    """Use all retries in an outage, then restart the server again as soon as it is back."""
    port = await asyncio.to_thread(free_port)
    store, listen = (tmp_path / "store").as_uri(), f"127.0.0.1:{port}"

    async def started():
        return (await asyncio.to_thread(start, store, listen=listen))[0]

    process = await started()
    try:
        async with holdfast.AsyncClient(listen, timeout=10) as client:
            await client.save("n", "w", b"1", format=FORMAT)
            process.kill()
            process.wait()
            outage = (client.save("n", "w", b"2", format=FORMAT, timeout=1) for _ in range(60))
            results = await asyncio.gather(*outage, return_exceptions=True)
            assert {type(each) for each in results} <= {holdfast.ServerUnavailableError, holdfast.DeadlineExceededError}
            assert client._transport._caller._bucket._tokens < 1
            process = await started()
            await client.save("n", "w", b"3", format=FORMAT)
            process.kill()
            process.wait()
            late = asyncio.create_task(client.save("n", "w", b"4", format=FORMAT))
            process = await started()
            assert (await late).revision > 0
    finally:
        process.kill()
        process.wait()


# A hung replica


@pytest.fixture
def replicas(tmp_path):
    """Two servers of one store."""
    started = [start((tmp_path / "store").as_uri()) for _ in range(2)]
    yield [(process.pid, target) for process, target in started]
    for process, _ in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


async def test_a_replica_that_hangs_costs_one_attempt_and_fails_no_call(replicas):
    (hung, first), (_, second) = replicas
    target = f"ipv4:{first},{second}"
    synchronous = holdfast.Client(target)
    async with holdfast.AsyncClient(target) as client:
        await client.save("n", "w", b"1", format=FORMAT)
        await asyncio.to_thread(synchronous.save, "n", "w", b"2", format=FORMAT)
        os.kill(hung, signal.SIGSTOP)
        began = time.monotonic()

        async def calls():
            await client.save("n", "w", b"3", format=FORMAT)
            assert (await client.load("n", "w")).data
            # Large enough for a stream.
            await client.save("n", "large", bytes(3 << 20), format=FORMAT)

        await asyncio.gather(
            calls(),
            client.validate("n", "w"),
            client.save("n", "also large", bytes(3 << 20), format=FORMAT),
            asyncio.to_thread(synchronous.load, "n", "w"),
        )
        assert time.monotonic() - began < 15
        # A client that was never connected skips the hung replica at once.
        began = time.monotonic()
        async with holdfast.AsyncClient(target) as fresh:
            assert (await fresh.load("n", "w")).data
        assert time.monotonic() - began < 5
    synchronous.close()
