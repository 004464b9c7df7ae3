"""Admission: how many calls, streams, pipelines, watches and bytes are in flight, and whose they are.

A call holds a permit while it runs. The permit counts the bytes of payload that the call has in memory now, not the
most that it might need: a stream that sends nothing costs a stream, not memory. Streams may take half of the calls and
three quarters of the bytes, so that unary calls always find some left. One connection, and one namespace, may take half
of the streams.

A pipeline is open for long and mostly idle, so it does not count as a call; its calls do, while they run. The pipelines
of one connection take turns to start calls, of which at most half of the server's may run. Answers that a caller does
not read count as bytes in flight.

A watch is a call until it has begun. Then it is open for long and mostly idle, too, and counts as a watch instead.

What an upload holds until it is committed is counted on its own, because an upload outlives a stream that breaks. It is
held only while streams have half of their bytes free. If a call needs the room, uploads without a stream are dropped.

With `Capacity.fair_calls` namespaces share calls, bytes and turns to work as `fairness` describes.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from holdfast_server.api.capacity import Capacity
from holdfast_server.api.fairness import Share, Shares, Turns
from holdfast_server.api.metering import Meter
from holdfast_server.protocol.errors import HoldfastError, Reason


class Admission:
    """Issues permits to calls, up to the capacity.

    Args:
        capacity: how much may be in flight.
        meter: enforces the quotas of namespaces; None if there are none.

    """

    def __init__(self, capacity: Capacity, meter: Meter | None = None) -> None:
        self.meter = meter
        self.capacity = capacity
        self.calls = 0
        self.streams: Counter[str] = Counter()
        self.watches: Counter[str] = Counter()
        self.pipelines = 0
        self.pipelines_of: dict[str, list[PipelinePermit]] = {}
        self.shares = Shares()
        self.turns = Turns(capacity.fair_calls) if capacity.fair_calls else None
        self.is_draining = False
        self._bytes = 0
        self._stream_bytes = 0
        self._upload_bytes = 0
        # Drops an upload whose stream broke, and returns whether there was one that held bytes.
        self.reclaim: Callable[[], bool] = lambda: False
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Wait until no call is in flight, and no pipeline and no watch is open."""
        await self._idle.wait()

    def require_no_drain(self) -> None:
        """Refuse calls and pipelines of a server that shuts down.

        Raises:
            HoldfastError: SHUTTING_DOWN.

        """
        if self.is_draining:
            raise HoldfastError(Reason.SHUTTING_DOWN, "the server is shutting down")

    def permit(self, connection: str, *, is_stream: bool) -> "Permit":
        """Count a call as in flight until its permit is released, at the latest by the end of a `with` block.

        `Permit.require_capacity` refuses the call if there are too many.

        Args:
            connection: the caller's connection.
            is_stream: whether the payload comes or goes in chunks.

        """
        permit = Permit(self, connection, is_stream=is_stream)
        self.calls += 1
        self._idle.clear()
        if is_stream:
            permit.count_stream("")
            permit.count_stream(permit.connection)
        return permit

    def pipeline(self, connection: str) -> "PipelinePermit":
        """Count a pipeline as open until its permit is released by the end of a `with` block.

        `PipelinePermit.require_capacity` refuses the pipeline if there are too many.

        Args:
            connection: the caller's connection.

        """
        others = self.pipelines_of.setdefault(connection, [])
        turns = others[0].turns if others else asyncio.Semaphore(self.capacity.pipelined_calls)
        permit = PipelinePermit(self, connection, turns)
        others.append(permit)
        self.pipelines += 1
        self._idle.clear()
        return permit

    def hold(self, permit: "Permit", count: int) -> None:
        """Count the bytes that a call holds; see `Permit.hold`."""
        more = count - permit.held_bytes
        while (refusal := self._refusal(permit, more)) is not None:
            if not self.reclaim():
                raise refusal
        if permit.share is not None:
            # Of its namespace, too, a call that holds bytes alone is never refused.
            if more > 0 and permit.share.bytes > permit.held_bytes:
                self._require_share_of_bytes(permit.share, more)
            permit.share.bytes += more
        self._bytes += more
        self._stream_bytes += more if permit.is_stream else 0
        permit.held_bytes = count

    def _refusal(self, permit: "Permit", more: int) -> HoldfastError | None:
        held, limit = self._bytes, self.capacity.bytes
        if permit.is_stream and self._stream_bytes + more > self.capacity.stream_bytes:
            held, limit = self._stream_bytes, self.capacity.stream_bytes
        # A call that holds bytes alone is never refused: other limits bound what one call may hold.
        if more > 0 and held + more > limit and held - self._upload_bytes > permit.held_bytes:
            return _overloaded(f"the calls in flight hold {held} of {limit} bytes already", bytes_limit=limit)
        return None

    def count_upload(self, more: int) -> None:
        """Count bytes that an upload holds; less than 0 once it does not hold them any more."""
        self._upload_bytes += more
        self._stream_bytes += more
        self._bytes += more

    def require_share_of_calls(self, share: Share) -> None:
        """Refuse a call, counted already, that exceeds a quota, or what its namespace may have besides the others.

        Raises:
            HoldfastError: OVERLOADED.

        """
        if self.meter is not None:
            self.meter.admit(share)
        if self.turns is not None and share.calls - 1 > self.capacity.calls - self.calls:
            raise _overloaded(f"this namespace has {share.calls - 1} calls in flight already", calls=share.calls - 1)

    def _require_share_of_bytes(self, share: Share, more: int) -> None:
        if self.meter is not None:
            self.meter.require_bytes(share, more)
        if self.turns is not None:
            free = self.capacity.bytes - self._bytes
            if share.bytes + more > free:
                message = f"the calls of this namespace hold {share.bytes} bytes already, and leave {free}"
                raise _overloaded(message, held_bytes=share.bytes, bytes_limit=free)

    def has_half_free_for(self, count: int) -> bool:
        """Return whether the streams, with so many bytes more, would hold at most half of what they may."""
        return self._stream_bytes + count <= self.capacity.stream_bytes // 2

    @property
    def held_bytes(self) -> int:
        """How many bytes of payload all calls hold in memory."""
        return self._bytes

    def begin_watch(self, permit: "Permit") -> None:
        """Count a call as a watch; see `Permit.begin_watch`."""
        capacity = self.capacity
        owners = {
            "": capacity.watches,
            permit.connection: capacity.watches_per_connection,
            permit.namespace: capacity.watches_per_namespace,
        }
        for owner, limit in owners.items():
            if self.watches[owner] >= limit:
                raise _overloaded(f"this {_kind_of(owner)} has {limit} watches open already", watches_limit=limit)
        if permit.share is not None:
            if self.meter is not None:
                self.meter.require_stream(permit.share)
            self._give_back_turn(permit, permit.share)
            self.shares.begin_watch(permit.share)
        self.watches.update(owners.keys())
        permit.owners = list(owners)
        permit.is_watch = True
        self.calls -= 1

    def take_back(self, permit: "Permit") -> None:
        """Count a call as ended; see `Permit.release`."""
        self.hold(permit, 0)
        if permit.share is not None:
            self._give_back_turn(permit, permit.share)
            self.shares.leave(permit.share, is_stream=permit.is_stream, is_watch=permit.is_watch)
        counted = self.watches if permit.is_watch else self.streams
        for owner in permit.owners:
            counted[owner] -= 1
            if not counted[owner]:
                del counted[owner]
        self.calls -= not permit.is_watch
        self._note_idle()

    def _give_back_turn(self, permit: "Permit", share: Share) -> None:
        if permit.has_turn and self.turns is not None:
            permit.has_turn = False
            self.turns.give_back(share)

    def take_back_pipeline(self, permit: "PipelinePermit") -> None:
        """Count a pipeline as closed."""
        self.count_unsent(-permit.unsent_bytes)
        self.pipelines -= 1
        others = self.pipelines_of[permit.connection]
        others.remove(permit)
        if not others:
            del self.pipelines_of[permit.connection]
        self._note_idle()

    def count_unsent(self, more: int) -> None:
        """Count bytes of answers that wait for their caller. They are in memory already: nothing is refused."""
        self._bytes += more

    def _note_idle(self) -> None:
        if not self.calls and not self.pipelines and not self.watches:
            self._idle.set()


class Permit:
    """What a call holds while the server has admitted it.

    Attributes:
        connection: the caller's connection, as an owner of streams and watches.
        namespace: the call's namespace, as such an owner; "" before it is known.
        is_stream: whether the payload comes or goes in chunks.
        is_watch: whether the call is counted as a watch.
        held_bytes: how many bytes of payload the call holds in memory.
        owners: for whom a stream or a watch is counted: "" for the server, a connection, a namespace.
        share: what the call's namespace has in flight; None before it is known, and if namespaces are not told apart.
        has_turn: whether the call has a turn to work.

    """

    def __init__(self, admission: Admission, connection: str, *, is_stream: bool) -> None:
        self.connection = f"connection {connection}"
        self.namespace = ""
        self.is_stream = is_stream
        self.is_watch = False
        self.held_bytes = 0
        self.owners: list[str] = []
        self.share: Share | None = None
        self.has_turn = False
        self._admission = admission
        self._is_released = False

    def __enter__(self) -> "Permit":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the permit back, if it was not given back before."""
        if not self._is_released:
            self._is_released = True
            self._admission.take_back(self)

    def require_capacity(self) -> None:
        """Refuse the call if there are too many already.

        Raises:
            HoldfastError: SHUTTING_DOWN, OVERLOADED.

        """
        capacity = self._admission.capacity
        self._admission.require_no_drain()
        if self._admission.calls > capacity.calls:
            raise _overloaded(f"{capacity.calls} calls are in flight already", calls_limit=capacity.calls)
        for owner in self.owners:
            self._require_few_streams(owner)

    def enter_namespace(self, namespace: str) -> None:
        """Count the call for its namespace.

        Raises:
            HoldfastError: OVERLOADED: the namespace has too many open streams, more than its share of calls, or more
                than its quota.

        """
        admission = self._admission
        if (admission.turns is not None or admission.meter is not None) and self.share is None and namespace:
            self.share = admission.shares.enter(namespace, is_stream=self.is_stream)
            self.share.bytes += self.held_bytes
            admission.require_share_of_calls(self.share)
        self.namespace = f"namespace {namespace}"
        if self.is_stream:
            self.count_stream(self.namespace)
            self._require_few_streams(self.namespace)

    async def take_turn(self) -> None:
        """Wait until the call may work, if namespaces take turns. Streams do not: they work a little all the time."""
        turns = self._admission.turns
        if turns is not None and self.share is not None and not self.is_stream:
            await turns.take(self.share)
            self.has_turn = True

    def begin_watch(self) -> None:
        """Count the call as a watch from now on: it waits for the commits of others, and works no more than they do.

        Raises:
            HoldfastError: OVERLOADED: the server, the connection or the namespace has too many watches open.

        """
        self._admission.begin_watch(self)

    def charge(self, count: int) -> float:
        """Count bytes for the quota of the namespace. Return how many seconds they must wait, if they can."""
        meter = self._admission.meter
        return 0.0 if meter is None or self.share is None else meter.charge(self.share.namespace, count)

    async def pace(self, count: int) -> None:
        """Count bytes of a stream, and wait as long as the quota of the namespace requires."""
        if seconds := self.charge(count):
            await asyncio.sleep(seconds)

    def count_stream(self, owner: str) -> None:
        """Count a stream for one of its owners."""
        if owner not in self.owners:
            self.owners.append(owner)
            self._admission.streams[owner] += 1

    def hold(self, count: int) -> None:
        """Set how many bytes of payload the call holds from now on.

        Raises:
            HoldfastError: OVERLOADED: the calls in flight hold too many already.

        """
        self._admission.hold(self, count)

    def hold_some(self, least: int, most: int) -> int:
        """Hold as many bytes as help the call, but no more than the least while many calls hold bytes.

        Args:
            least: how many bytes the call needs.
            most: how many bytes help it.

        Returns:
            How many bytes it holds: the most if all streams together then hold at most half of what they may.

        Raises:
            HoldfastError: OVERLOADED: the calls in flight hold too many already.

        """
        self.hold(most if self._admission.has_half_free_for(most) else least)
        return self.held_bytes

    def upload(self) -> "HeldUpload":
        """Return an account for what an upload of the call will hold, which may outlive the call."""
        return HeldUpload(self._admission)

    def _require_few_streams(self, owner: str) -> None:
        capacity = self._admission.capacity
        limit = capacity.streams_per_owner if owner else capacity.streams
        if self._admission.streams[owner] > limit:
            raise _overloaded(f"this {_kind_of(owner)} has {limit} streams open already", streams_limit=limit)


class HeldUpload:
    """What an upload holds in memory until it is committed, also while it has no stream.

    Attributes:
        held_bytes: how many bytes it holds.

    """

    def __init__(self, admission: Admission) -> None:
        self.held_bytes = 0
        self._admission = admission
        self._is_over = False

    def take(self, count: int) -> bool:
        """Hold more bytes, if streams have half of their bytes free. Return whether they have."""
        if self._is_over or not self._admission.has_half_free_for(count):
            return False
        self._count(count)
        return True

    def give_back(self, count: int) -> None:
        """Hold fewer bytes."""
        if not self._is_over:
            self._count(-count)

    def release(self) -> None:
        """Hold nothing from now on."""
        self._count(-self.held_bytes)
        self._is_over = True

    def _count(self, more: int) -> None:
        self.held_bytes += more
        self._admission.count_upload(more)


class PipelinePermit:
    """What a pipeline holds while it is open.

    Attributes:
        connection: the caller's connection.
        turns: lets the pipelines of the connection start calls in turn.
        max_calls: how many calls the pipeline may have in flight.
        max_bytes: how many bytes it may have in flight.
        unsent_bytes: how many bytes of answers wait for its caller.

    """

    def __init__(self, admission: Admission, connection: str, turns: asyncio.Semaphore) -> None:
        self.connection = connection
        self.turns = turns
        self.max_calls = admission.capacity.pipelined_calls
        self.max_bytes = admission.capacity.pipelined_bytes
        self.unsent_bytes = 0
        self._admission = admission
        self._is_released = False

    def __enter__(self) -> "PipelinePermit":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the permit back, if it was not given back before."""
        if not self._is_released:
            self._is_released = True
            self._admission.take_back_pipeline(self)

    def require_capacity(self) -> None:
        """Refuse the pipeline if there are too many already.

        Raises:
            HoldfastError: SHUTTING_DOWN, OVERLOADED.

        """
        admission, capacity = self._admission, self._admission.capacity
        admission.require_no_drain()
        for whose, count, limit in (
            ("connection", len(admission.pipelines_of[self.connection]), capacity.pipelines_per_connection),
            ("server", admission.pipelines, capacity.pipelines),
        ):
            if count > limit:
                raise _overloaded(f"this {whose} has {limit} pipelines open already", pipelines_limit=limit)

    def count_unsent(self, more: int) -> None:
        """Count bytes of answers that wait for the caller; less than 0 once it has accepted some."""
        self.unsent_bytes += more
        self._admission.count_unsent(more)


def _kind_of(owner: str) -> str:
    """Return which kind of owner has a stream or a watch."""
    return owner.partition(" ")[0] or "server"


def _overloaded(message: str, **metadata: object) -> HoldfastError:
    return HoldfastError(Reason.OVERLOADED, message, **metadata)
