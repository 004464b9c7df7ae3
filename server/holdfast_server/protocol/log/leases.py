"""Leases: until a lease ends, other writers are asked to wait instead of evicting its holder.

A lease is a courtesy. Only the epoch keeps a fenced writer from committing: the clocks of servers differ, and each
server decides by its own clock whether a lease has ended.
"""

from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_server.layout.v1.marker_pb2 import Marker
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.log.entry import Entry

MAX_LEASE_SECONDS = 31 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease that a request to acquire a writer asks for.

    Attributes:
        seconds: how long it lasts after the acquisition and after each renewal; None for no lease.
        holder: the holder's name, shown to other writers.
        force: whether to evict the holder of a lease that has not ended.

    """

    seconds: float | None = None
    holder: str = ""
    force: bool = False


def carry(marker: Marker, head: Entry | None) -> None:
    """Carry over the lease of a head, and renew it if the request carries the holder's epoch."""
    if head is None or not head.marker.HasField("lease_duration"):
        return
    before = head.marker
    marker.lease_duration.CopyFrom(before.lease_duration)
    marker.lease_holder = before.lease_holder
    marker.lease_expire_time.CopyFrom(before.lease_expire_time)
    if marker.writer_epoch == before.epoch:
        _renew(marker)


def grant(marker: Marker, requested: Lease) -> None:
    """Give a fence the lease that was requested, or none."""
    clear(marker)
    if requested.seconds is not None:
        marker.lease_duration.FromNanoseconds(int(requested.seconds * 1e9))
        marker.lease_holder = requested.holder
        _renew(marker)


def clear(marker: Marker) -> None:
    """End the lease of a holder that is fenced."""
    marker.ClearField("lease_duration")
    marker.ClearField("lease_holder")
    marker.ClearField("lease_expire_time")


def refuse_held(head: Entry | None, now: Timestamp) -> None:
    """Refuse an acquisition until the lease of a head has ended.

    Args:
        head: the head.
        now: the time, by this server's clock.

    Raises:
        HoldfastError: LEASE_HELD.

    """
    if head is None or not head.marker.HasField("lease_duration"):
        return
    lease = head.marker
    left = (lease.lease_expire_time.ToNanoseconds() - now.ToNanoseconds()) / 1e9
    if left <= 0:
        return
    # A server with a fast clock may have written the end: never report more than the duration that was granted.
    left = min(left, lease.lease_duration.ToNanoseconds() / 1e9)
    until = lease.lease_expire_time.ToJsonString()
    holder = repr(lease.lease_holder) if lease.lease_holder else "an unnamed holder"
    raise HoldfastError(
        Reason.LEASE_HELD,
        f"the workflow is leased to {holder} with epoch {lease.epoch} until {until}",
        holder=lease.lease_holder,
        head_epoch=lease.epoch,
        lease_expire_time=until,
        retry_after_seconds=left,
    )


def _renew(marker: Marker) -> None:
    """Extend the lease to its whole duration from now on. A clock that is slow never shortens it."""
    until = marker.create_time.ToNanoseconds() + marker.lease_duration.ToNanoseconds()
    marker.lease_expire_time.FromNanoseconds(max(until, marker.lease_expire_time.ToNanoseconds()))
