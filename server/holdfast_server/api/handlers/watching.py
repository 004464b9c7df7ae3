"""WatchWorkflow."""

import asyncio
import random
from collections.abc import Sequence

from holdfast.v1 import checkpoint_service_pb2 as api

from holdfast_server.api import messages, requests
from holdfast_server.api.call import Call
from holdfast_server.api.call_context import StreamContext
from holdfast_server.api.context import ServiceContext
from holdfast_server.api.streaming.outgoing import StuckReaderError, end_stuck, write
from holdfast_server.api.watching.feed import Feed, Sent
from holdfast_server.protocol.checkpoints.follow import Follower, RolledBackError
from holdfast_server.protocol.checkpoints.heads import NO_HEAD, NamedHead
from holdfast_server.protocol.format.keys import MAX_REVISION
from holdfast_server.protocol.log.entry import name_head

_DIGEST_BYTES = 32
_MOST_ENTRIES = 100
_MOST_BYTES = 1 << 20


async def watch_workflow(
    context: ServiceContext, call: Call, request: api.WatchWorkflowRequest, stream: StreamContext
) -> None:
    """Send the entries of a log as they are committed, until the watch is old, its caller goes or the server drains."""
    try:
        await _watch(context, call, request, stream)
    except StuckReaderError as stuck:
        await end_stuck(call, stuck.sending)


async def _watch(context: ServiceContext, call: Call, request: api.WatchWorkflowRequest, stream: StreamContext) -> None:
    keys = requests.workflow(request.namespace, request.workflow_id)
    after = requests.revision("after_revision", request, MAX_REVISION)
    if len(request.after_digest) not in (0, _DIGEST_BYTES):
        raise requests.invalid("after_digest", f"expected 0 or {_DIGEST_BYTES} bytes, got {len(request.after_digest)}")
    clock = asyncio.get_running_loop().time
    ends_at = min(call.deadline, clock() + context.watch_seconds * random.uniform(0.9, 1.1))
    call.permit.begin_watch()
    head, entry = await context.watches.heads.read(keys)
    position = NamedHead(after, request.after_digest) if after is not None else head
    if position.revision > head.revision:
        error = requests.invalid("after_revision", f"expected at most {head.revision}, the head, got {after}")
        name_head(error, entry)
        raise error
    if position.revision == head.revision:
        position = head
    async with context.watches.feed(keys, head.revision, entry) as feed:
        # The follower keeps no entry: a watcher at the head may never need it.
        watcher = _Watcher(call, stream, Follower(context.log, keys, position.revision, position.digest))
        await watcher.send((), head)
        while clock() < ends_at and not watcher.is_rolled_back:
            context.watches.require_no_drain()
            changed = feed.changed
            if await _send_next(watcher, feed, context.watches.reading):
                continue
            if feed.rolled_back is not None:
                await watcher.send_rolled_back(feed.rolled_back)
                return
            if feed.error is not None:
                raise feed.error
            try:
                async with asyncio.timeout_at(ends_at):
                    await changed.wait()
            except TimeoutError:
                return


async def _send_next(watcher: "_Watcher", feed: Feed, reading: asyncio.Semaphore) -> bool:
    """Send the entries after those that were sent. Return whether there were any."""
    kept = feed.after(watcher.position)[:_MOST_ENTRIES]
    if kept:
        await watcher.send(kept, feed.head)
        watcher.follower.skip_to(watcher.position)
        return True
    if watcher.position.revision >= feed.head.revision:
        return False
    try:
        async with reading:
            items = await watcher.follower.read(feed.head.revision)
    except RolledBackError as found:
        await watcher.send_rolled_back(found.head)
        return True
    await watcher.send([Sent.of(each) for each in items], feed.head)
    return bool(items)


class _Watcher:
    """One watch.

    Args:
        call: the call.
        stream: the caller's stream.
        follower: reads what the feed does not keep, from the position on.

    Attributes:
        follower: the same.
        position: the entry up to which everything was sent.
        is_rolled_back: whether the log is another one, so that the watch must end.

    """

    def __init__(self, call: Call, stream: StreamContext, follower: Follower) -> None:
        self.follower = follower
        self.position = NamedHead(follower.revision, follower.digest)
        self.is_rolled_back = False
        self._head = NO_HEAD
        self._call = call
        self._stream = stream

    async def send(self, entries: Sequence[Sent], head: NamedHead) -> None:
        """Send entries in as many messages as they need, and wait until the caller has room for each.

        Args:
            entries: the entries, oldest first.
            head: the newest entry that is known. One that is older than what was sent before is not sent.

        """
        # A feed may not have found yet what the watch began with.
        self._head = head if head.revision >= self._head.revision else self._head
        while True:
            message = api.WatchWorkflowResponse()
            size_bytes = 0
            while entries and size_bytes < _MOST_BYTES:
                first, *entries = entries
                message.entries.append(first.message)
                size_bytes += first.message.ByteSize()
                self.position = NamedHead(first.revisions[1], first.digest)
            messages.name_head(self.position, message.position)
            messages.name_head(self._head, message.head)
            self._call.permit.hold(size_bytes)
            await write(self._stream, message)
            self._call.permit.hold(0)
            await self._call.permit.pace(size_bytes)
            if not entries:
                return

    async def send_rolled_back(self, head: NamedHead) -> None:
        """Send a head that contradicts what was sent before, and end the watch."""
        self.is_rolled_back = True
        message = api.WatchWorkflowResponse()
        messages.name_head(self.position, message.position)
        messages.name_head(head, message.head)
        await write(self._stream, message)
