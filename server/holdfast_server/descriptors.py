"""File descriptors: raises their limit and divides them between connections and the store."""

import resource

# One process does not need more, and some systems allow an unlimited number.
_MAX_DESCRIPTORS = 1 << 16
# Connections must never take the descriptors that the store needs to answer them.
_MIN_FOR_STORE = 256


def raise_limit() -> None:
    """Raise this process's soft limit of open files to its hard limit. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def max_connections(configured: int) -> int:
    """Return how many connections a server may accept and leave the store enough descriptors.

    Args:
        configured: the configured number of connections.

    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return configured
    return max(1, min(configured, soft - max(_MIN_FOR_STORE, soft // 4)))
