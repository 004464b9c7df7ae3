"""Listings: of any length, and the checks without which a walk over a server's pages might not end."""

from collections.abc import AsyncIterator
from datetime import datetime

from holdfast_server.stores.base import ObjectStore, ObjectSummary, StoreUnavailableError

# No store has larger objects, and sums of such sizes stay below 2**63.
_MOST_BYTES = 1 << 50
# The year 9999.
_LAST_SECONDS = 253_402_300_799
# Pages without a key in a row, of up to 1,000 deleted keys each.
_MOST_EMPTY_PAGES = 1000


async def list_all(store: ObjectStore, prefix: str, *, start_after: str = "") -> AsyncIterator[ObjectSummary]:
    """Yield every object, in key order, whose key begins with `prefix` and follows `start_after`.

    Objects that are created or deleted during the listing may be missing or present.

    Raises:
        StoreError: the store cannot be used.

    """
    while page := await store.list(prefix, start_after=start_after):
        for summary in page:
            yield summary
        start_after = page[-1].key


def impossible_field(size_bytes: object, modified_seconds: object) -> str:
    """Return the field of a listed object that has a value which no object has, with the value; "" if none has."""
    if not isinstance(size_bytes, int) or not 0 <= size_bytes <= _MOST_BYTES:
        return f"size {size_bytes!r}"
    # Neither NaN nor infinity is in the range.
    if not isinstance(modified_seconds, float) or not 0 <= modified_seconds <= _LAST_SECONDS:
        return f"modified time {modified_seconds!r}"
    return ""


class ServedListing:
    """Checks what a server lists: keys below the prefix, each after the one before it, and no page without an end.

    A walk goes on after the last key of a page. It would not end if the server went back, and would take keys of others
    for its own if the server ignored the prefix.

    Args:
        prefix: what the keys begin with, as the server has them.
        start_after: the key that all keys follow; "" for none.
        where: endpoint and bucket, for operators.

    """

    def __init__(self, prefix: str, start_after: str, where: str) -> None:
        self._prefix = prefix
        self._last = start_after
        self._where = where
        self._tokens: set[str] = set()

    def take(self, key: object, size_bytes: object, modified: object) -> ObjectSummary:
        """Return the next object of the listing, with the key as the server has it.

        Raises:
            StoreUnavailableError: the server cannot mean that.

        """
        if not isinstance(key, str) or not key.startswith(self._prefix):
            raise self._nonsense("a key outside of the prefix", f"{key!r:.1100} is not below {self._prefix!r}")
        if self._last and not _follows(key, self._last):
            raise self._nonsense("keys out of order", f"{key!r} after {self._last!r}")
        modified_seconds = modified.timestamp() if isinstance(modified, datetime) else modified
        impossible = impossible_field(size_bytes, modified_seconds)
        if impossible:
            raise self._nonsense("an object with an impossible field", f"{key!r} with {impossible:.100}")
        self._last = key
        self._tokens.clear()
        assert isinstance(size_bytes, int)
        assert isinstance(modified_seconds, float)
        return ObjectSummary(key, size_bytes, modified_seconds)

    def pass_empty_page(self, token: object) -> str:
        """Return the token of the page after one without keys that is not the last one.

        Raises:
            StoreUnavailableError: there is none, or it has led to an empty page before, or too many pages are empty.

        """
        if not isinstance(token, str) or not token or token in self._tokens or len(self._tokens) == _MOST_EMPTY_PAGES:
            problem = f"an empty page, the {len(self._tokens) + 1}. in a row, continued with token {token!r:.200}"
            raise self._nonsense("empty pages without an end", problem)
        self._tokens.add(token)
        return token

    def _nonsense(self, what: str, detail: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the store lists {what}", detail=f"{self._where}: the store lists {what}: {detail}"
        )


def _follows(key: str, last: str) -> bool:
    """Return whether a key sorts after another one, by UTF-8 or, as some servers sort, by UTF-16.

    Holdfast's own keys are ASCII, for which both are the same.
    """
    return key > last or key.encode("utf-16-be", "surrogatepass") > last.encode("utf-16-be", "surrogatepass")
