"""The quotas of what a namespace does now: calls and bytes per second, calls, streams and bytes in flight.

Rates are token buckets of one second. A bucket of bytes may be overdrawn, since the size of an answer is known late:
then the next calls are refused, and streams wait, until it is filled again. Each process has buckets of its own.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from holdfast_server.api.fairness import Share
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.trust.quotas import Quota, Quotas

# Namespaces whose buckets are kept. One that is forgotten begins with full buckets.
_KEPT_NAMESPACES = 4096
_LEAST_RETRY_SECONDS = 0.05


@dataclass(slots=True)
class _Bucket:
    """A token bucket, as full as it was at a time of the event loop."""

    tokens: float
    at: float

    def refill(self, rate: float, burst: float, now: float) -> None:
        """Add what the time since has brought."""
        self.tokens = min(burst, self.tokens + (now - self.at) * rate)
        self.at = now


class Meter:
    """Enforces the quotas of what is in flight and of rates.

    Args:
        quotas: returns the quotas in effect.

    """

    def __init__(self, quotas: Callable[[], Quotas]) -> None:
        self._quotas = quotas
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def quota_of(self, namespace: str) -> Quota:
        """Return the quota of a namespace."""
        return self._quotas().of(namespace)

    def admit(self, share: Share) -> None:
        """Refuse a call, which is counted in its share already, if it exceeds a quota. Otherwise count it for the rate.

        Raises:
            HoldfastError: OVERLOADED.

        """
        quota = self.quota_of(share.namespace)
        for name, value in (("calls_in_flight", share.calls), ("streams_in_flight", share.streams)):
            if value > getattr(quota, name):
                raise exceeded(name, share.namespace, getattr(quota, name), value, retry_after_seconds=0.5)
        if quota.bytes_per_second < inf:
            bucket = self._filled(share.namespace, "bytes_per_second", quota.bytes_per_second)
            if bucket.tokens < 0:
                self._refuse("bytes_per_second", share.namespace, quota.bytes_per_second, bucket, needed=0)
        if quota.calls_per_second < inf:
            bucket = self._filled(share.namespace, "calls_per_second", quota.calls_per_second)
            if bucket.tokens < 1:
                self._refuse("calls_per_second", share.namespace, quota.calls_per_second, bucket, needed=1)
            bucket.tokens -= 1

    def require_stream(self, share: Share) -> None:
        """Refuse a call, not counted as a stream yet, that would be one too many.

        Raises:
            HoldfastError: OVERLOADED.

        """
        limit = self.quota_of(share.namespace).streams_in_flight
        if share.streams + 1 > limit:
            raise exceeded("streams_in_flight", share.namespace, limit, share.streams + 1, retry_after_seconds=0.5)

    def require_bytes(self, share: Share, more: int) -> None:
        """Refuse a call that would hold so many bytes more.

        Raises:
            HoldfastError: OVERLOADED.

        """
        limit = self.quota_of(share.namespace).bytes_in_flight
        if share.bytes + more > limit:
            raise exceeded("bytes_in_flight", share.namespace, limit, share.bytes + more, retry_after_seconds=0.5)

    def charge(self, namespace: str, count: int) -> float:
        """Count bytes that a namespace has sent or received. Return how many seconds they must wait."""
        rate = self.quota_of(namespace).bytes_per_second
        if rate == inf:
            return 0.0
        bucket = self._filled(namespace, "bytes_per_second", rate)
        bucket.tokens -= count
        return max(0.0, -bucket.tokens / rate)

    def _filled(self, namespace: str, name: str, rate: float) -> _Bucket:
        now = asyncio.get_running_loop().time()
        burst = max(rate, 1.0)
        key = (namespace, name)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(burst, now)
            if len(self._buckets) > _KEPT_NAMESPACES:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            bucket.refill(rate, burst, now)
        return bucket

    def _refuse(self, name: str, namespace: str, rate: float, bucket: _Bucket, *, needed: float) -> None:
        used = max(rate, 1.0) - bucket.tokens + needed
        seconds = max(_LEAST_RETRY_SECONDS, (needed - bucket.tokens) / rate)
        raise exceeded(name, namespace, rate, used, retry_after_seconds=seconds)


def exceeded(
    name: str, namespace: str, limit: float, value: float, *, retry_after_seconds: float | None = None
) -> HoldfastError:
    """Return the error of a quota: OVERLOADED if waiting helps, otherwise QUOTA_EXCEEDED."""
    values: dict[str, object] = {
        "quota": name,
        "namespace": namespace,
        "limit": f"{limit:.15g}",
        "value": f"{value:.15g}",
    }
    message = f"quota {name} of namespace {namespace!r}: the limit is {limit:.15g}, this makes {value:.15g}"
    if retry_after_seconds is None:
        return HoldfastError(Reason.QUOTA_EXCEEDED, message, **values)
    return HoldfastError(Reason.OVERLOADED, message, **values, retry_after_seconds=round(retry_after_seconds, 3))
