"""What each namespace has in the store, bytes and workflows, and the quotas of it.

The figures come from the last collection that saw the whole store, which measures each workflow as GetUsage does. In
namespaces with such a quota, what this process has saved since is added; what other processes have saved is not, and
what was deleted counts until a collection has removed it. So the limits are held approximately. Deletions, prunes,
retentions and fences never come here.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from holdfast_server.api.metering import exceeded
from holdfast_server.protocol.format.keys import WorkflowKeys, namespace_prefix
from holdfast_server.protocol.log.compare_and_set import is_empty
from holdfast_server.protocol.log.entry import Entry
from holdfast_server.trust.quotas import Quota, Quotas

# What a marker takes besides the payload, about.
MARKER_BYTES = 1024
_MAX_NAMESPACES = 100_000
_LOG = logging.getLogger("holdfast.server")


@dataclass(slots=True)
class _Usage:
    """What a namespace has in the store: as it was counted, and what was added since."""

    bytes: int = 0
    workflows: int = 0
    more_bytes: int = 0
    more_workflows: int = 0


@dataclass(frozen=True, slots=True)
class Total:
    """What a namespace has in the store, as its quota counts it.

    Attributes:
        stored_bytes: bytes of all objects.
        workflows: workflows that have checkpoints.
        measured_seconds: when the last collection had counted them, since the epoch; None if none has.
        quota: the quota of the namespace.

    """

    stored_bytes: int
    workflows: int
    measured_seconds: float | None
    quota: Quota


class Reservation:
    """What one save may add to its namespace.

    Args:
        stored: the figures.
        keys: the workflow.
        size_bytes: how much the save adds, about.

    """

    def __init__(self, stored: "Stored", keys: WorkflowKeys, size_bytes: int) -> None:
        self._stored = stored
        self._keys = keys
        self._bytes = size_bytes
        self._workflows = 0
        self._is_taken = False

    def take(self, head: Entry | None) -> None:
        """Take the room, if it was not taken before, according to the head that the save is about to follow.

        Raises:
            HoldfastError: QUOTA_EXCEEDED.

        """
        if not self._is_taken:
            self._workflows = int(is_empty(head))
            self._stored.require(self._keys.namespace, self._bytes, self._workflows)
            self._stored.add(self._keys.namespace, self._bytes, self._workflows)
            self._is_taken = True

    def settle(self, stored_bytes: int | None) -> None:
        """Replace the room by what the save has added; None if it has failed or was committed before."""
        if self._is_taken:
            is_kept = stored_bytes is not None
            self._stored.add(
                self._keys.namespace, (stored_bytes or 0) - self._bytes, 0 if is_kept else -self._workflows
            )


class Stored:
    """What the namespaces have in the store.

    Args:
        quotas: returns the quotas in effect.

    """

    def __init__(self, quotas: Callable[[], Quotas]) -> None:
        self._quotas = quotas
        self._usage: dict[str, _Usage] = {}
        self._measured_seconds: float | None = None
        # Whether there are more namespaces than are kept.
        self._is_partial = False

    @property
    def is_limited(self) -> bool:
        """Whether any namespace has such a quota."""
        return self._quotas().limit_stored

    def quota_of(self, namespace: str) -> Quota:
        """Return the quota of a namespace."""
        return self._quotas().of(namespace)

    def require(self, namespace: str, more_bytes: int, more_workflows: int = 0) -> None:
        """Refuse what would exceed the quota of a namespace.

        Raises:
            HoldfastError: QUOTA_EXCEEDED.

        """
        total = self._total(namespace)
        for name, value, more in (
            ("stored_bytes", total.stored_bytes, more_bytes),
            ("workflows", total.workflows, more_workflows),
        ):
            limit = getattr(total.quota, name)
            if more and value + more > limit:
                raise exceeded(name, namespace, limit, value + more)

    def add(self, namespace: str, more_bytes: int, more_workflows: int = 0) -> None:
        """Count what was added, or less than 0 for what was not added after all."""
        if self.quota_of(namespace).limits_stored:
            usage = self._of(namespace_prefix(namespace))
            usage.more_bytes += more_bytes
            usage.more_workflows += more_workflows

    def total(self, namespace: str) -> Total | None:
        """Return what a namespace has in the store; None if it has no such quota and was not counted yet."""
        total = self._total(namespace)
        is_counted = total.measured_seconds is not None
        return total if is_counted or total.quota.limits_stored else None

    def _total(self, namespace: str) -> Total:
        prefix = namespace_prefix(namespace)
        usage = self._usage.get(prefix)
        is_unknown = usage is None and self._is_partial
        usage = usage or _Usage()
        return Total(
            usage.bytes + usage.more_bytes,
            usage.workflows + usage.more_workflows,
            None if is_unknown else self._measured_seconds,
            self.quota_of(namespace),
        )

    def counting(self) -> "Count":
        """Begin a count of the whole store."""
        return Count(self._usage, self._finish)

    def _finish(self, is_partial: bool) -> None:
        self._measured_seconds = time.time()
        self._is_partial = is_partial

    def _of(self, prefix: str) -> _Usage:
        usage = self._usage.get(prefix)
        if usage is None:
            usage = _Usage()
            if len(self._usage) < _MAX_NAMESPACES:
                self._usage[prefix] = usage
        return usage


class Count:
    """A count of a whole store in progress.

    Args:
        usage: the figures, which are replaced at the end.
        on_finished: called then, with whether there were too many namespaces.

    """

    def __init__(self, usage: dict[str, _Usage], on_finished: Callable[[bool], None]) -> None:
        self._usage = usage
        self._on_finished = on_finished
        self._before = {prefix: (each.more_bytes, each.more_workflows) for prefix, each in usage.items()}
        self._found: dict[str, tuple[int, int]] = {}

    def add(self, prefix: str, stored_bytes: int, has_checkpoints: bool) -> None:
        """Count a workflow.

        Args:
            prefix: what the keys of its namespace begin with.
            stored_bytes: the bytes of its objects.
            has_checkpoints: whether it has any.

        """
        if prefix not in self._found and len(self._found) >= _MAX_NAMESPACES:
            return
        count, workflows = self._found.get(prefix, (0, 0))
        self._found[prefix] = count + stored_bytes, workflows + has_checkpoints

    def finish(self) -> None:
        """Put the figures into effect. What was added during the count may be in them twice until the next one."""
        is_partial = len(self._found) >= _MAX_NAMESPACES
        if is_partial:
            _LOG.warning("too many namespaces for stored quotas", extra={"limit": _MAX_NAMESPACES})
        for prefix in self._usage.keys() | self._found.keys():
            usage = self._usage.setdefault(prefix, _Usage())
            usage.bytes, usage.workflows = self._found.get(prefix, (0, 0))
            more_bytes, more_workflows = self._before.get(prefix, (0, 0))
            usage.more_bytes -= more_bytes
            usage.more_workflows -= more_workflows
            if usage == _Usage():
                del self._usage[prefix]
        self._on_finished(is_partial)
