"""Quotas of what is in flight and of rates: what exceeds them is refused with the time to wait, or waits."""

import asyncio
from types import SimpleNamespace

import pytest
from holdfast_server.api import metering
from holdfast_server.api.admission import Admission
from holdfast_server.api.capacity import Capacity
from holdfast_server.api.fairness import Share
from holdfast_server.api.metering import Meter
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.trust.quotas import Quota, Quotas


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    clock = SimpleNamespace(now=100.0)
    loop = SimpleNamespace(time=lambda: clock.now)
    monkeypatch.setattr(metering, "asyncio", SimpleNamespace(get_running_loop=lambda: loop))
    return clock


def meter(**quota):
    quotas = Quotas(entries=[(("limited",), Quota(**quota))])
    return Meter(lambda: quotas)


def refusal(call, *arguments):
    with pytest.raises(HoldfastError) as caught:
        call(*arguments)
    assert caught.value.reason is Reason.OVERLOADED
    return caught.value.metadata


def admit(meter, count=1, namespace="limited"):
    for _ in range(count):
        meter.admit(Share(namespace, calls=1))


def test_a_rate_of_calls_allows_a_burst_of_a_second_and_then_says_how_long_to_wait(clock):
    limited = meter(calls_per_second=5)
    admit(limited, 5)
    refused = refusal(admit, limited)
    assert refused == {
        "quota": "calls_per_second",
        "namespace": "limited",
        "limit": "5",
        "value": "6",
        "retry_after_seconds": "0.2",
    }
    clock.now += 0.2
    admit(limited)
    refusal(admit, limited)
    clock.now += 1000
    admit(limited, 5)
    refusal(admit, limited)
    admit(limited, 100, namespace="other")


def test_a_rate_below_one_call_per_second_lets_one_through(clock):
    limited = meter(calls_per_second=0.5)
    admit(limited)
    assert refusal(admit, limited)["retry_after_seconds"] == "2.0"
    clock.now += 2
    admit(limited)


def test_bytes_may_overdraw_their_rate_once_and_later_calls_wait(clock):
    limited = meter(bytes_per_second=100)
    admit(limited)
    assert limited.charge("limited", 350) == 2.5
    assert refusal(admit, limited)["retry_after_seconds"] == "2.5"
    clock.now += 2.5
    admit(limited)
    assert limited.charge("other", 10**9) == 0


def test_calls_streams_and_bytes_in_flight_are_bounded(clock):
    limited = meter(calls_in_flight=2, streams_in_flight=1, bytes_in_flight=100)
    limited.admit(Share("limited", calls=2, streams=1))
    assert refusal(limited.admit, Share("limited", calls=3))["quota"] == "calls_in_flight"
    assert refusal(limited.admit, Share("limited", calls=2, streams=2))["quota"] == "streams_in_flight"
    limited.require_bytes(Share("limited", bytes=60), 40)
    assert refusal(limited.require_bytes, Share("limited", bytes=60), 41)["value"] == "101"


def test_a_refused_call_takes_nothing_of_the_rate(clock):
    limited = meter(calls_per_second=1, bytes_per_second=10)
    limited.charge("limited", 20)
    refusal(admit, limited)
    clock.now += 1.5
    admit(limited)


def test_few_buckets_are_kept(clock, monkeypatch):
    monkeypatch.setattr(metering, "_KEPT_NAMESPACES", 10)
    quotas = Quotas(Quota(calls_per_second=1))
    limited = Meter(lambda: quotas)
    for number in range(100):
        admit(limited, namespace=f"n{number}")
    assert len(limited._buckets) == 10
    refusal(admit, limited, 1, "n99")


def test_new_quotas_count_from_the_next_call_on(clock):
    current = Quotas(Quota(calls_per_second=1))
    limited = Meter(lambda: current)
    admit(limited)
    refusal(admit, limited)
    current = Quotas()
    admit(limited, 10)


async def test_a_permit_counts_for_its_namespace_until_it_is_released():
    admission = Admission(Capacity(16, 1000), meter(calls_in_flight=1, bytes_in_flight=100))
    with admission.permit("c", is_stream=False) as first:
        first.enter_namespace("limited")
        # A call may hold what it needs if it is the only one.
        first.hold(500)
        with admission.permit("c", is_stream=False) as second, pytest.raises(HoldfastError):
            second.enter_namespace("limited")
    with admission.permit("c", is_stream=False) as third:
        third.enter_namespace("limited")
    assert len(admission.shares) == 0


async def test_a_stream_waits_until_its_bytes_are_paid_for(monkeypatch):
    slept = []
    admission = Admission(Capacity(16, 1000), meter(bytes_per_second=100))

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with admission.permit("c", is_stream=True) as permit:
        permit.enter_namespace("limited")
        await permit.pace(100)
        assert slept == []
        await permit.pace(100)
    assert slept == [pytest.approx(1.0, abs=0.1)]
