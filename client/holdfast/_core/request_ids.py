"""Idempotency keys of calls.

They come directly from the operating system: `uuid` and `random` belong to the caller, whose tests patch, seed and
count them. If a patched source gave two calls the same key, the second call would be answered as a retry.
"""

from os import urandom

_BYTES = 16


def new() -> str:
    """Return a key that no other call has."""
    return urandom(_BYTES).hex()
