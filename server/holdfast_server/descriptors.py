"""File descriptors: as many as the system allows, divided between connections and the store."""

import resource

# More are of no use to one process, and some systems say "unlimited".
_MOST = 1 << 16
# A connection to a caller must never take what the store needs to answer it.
_LEAST_FOR_STORE = 256


def raise_limit() -> None:
    """Raise this process's soft limit of open files to its hard limit. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections(wanted: int) -> int:
    """Return how many connections a server may accept: no more than leave the store its descriptors.

    Args:
        wanted: how many were asked for.

    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft - max(_LEAST_FOR_STORE, soft // 4)))
