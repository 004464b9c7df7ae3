"""Forks of this process shortly after a channel was closed.

gRPC prepares itself for a fork only if none of its threads is at work. While they take down a channel, a lock that one
of them holds is locked for ever in the new process, whose next channel then waits for it.
"""

import math
import os
import time

# What gRPC's threads need after a close, many times over. In 1 of 100 forks without a pause the new process hung.
SETTLING_SECONDS = 0.3


class _Closed:
    at = -math.inf


def channel_closed() -> None:
    """Note that a channel was closed just now."""
    _Closed.at = time.monotonic()


def before_fork() -> None:
    """Wait until gRPC has taken down the channel that was closed last."""
    left = _Closed.at + SETTLING_SECONDS - time.monotonic()
    if left > 0:
        time.sleep(left)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=before_fork)
