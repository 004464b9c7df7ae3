"""Pages of what the workflows of a namespace take in the store.

A page measures either some small workflows, a bounded number of objects and markers together, or a stretch of a large
one: its token then contains the sums so far. A caller that forges them deceives only itself.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import astuple, dataclass, field
from urllib.parse import quote, unquote

from holdfast_server.protocol.checkpoints.workflows import prefix_of, token_of
from holdfast_server.protocol.errors import HoldfastError, Reason
from holdfast_server.protocol.format.keys import MAX_REVISION, WorkflowKeys, prefixes_of, workflow_of
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.inventory import Inventory, inventories
from holdfast_server.protocol.maintenance.usage import Limits, Measured, Usage, measure
from holdfast_server.protocol.maintenance.window import in_order

# What one page lists and reads, about: as many markers as a page of a list.
_MAX_OBJECTS = 10_000
_MAX_MARKERS = 2_000
_LISTED_AT_ONCE = 1_000
_WORKFLOWS_AT_ONCE = 16
# No store has longer keys. Those of foreign objects may have any characters.
_LONGEST_KEY = 1024
# Every byte of a key may be escaped by three characters, of which base64 makes four.
_LONGEST_STATE = 6 * _LONGEST_KEY
# No store has so many objects or bytes.
_MAX_COUNT = 1 << 62


@dataclass(frozen=True, slots=True)
class WorkflowUsage:
    """What one workflow takes.

    Attributes:
        prefix: what its keys begin with.
        keys: the workflow; None if its name is not known.
        usage: what it takes.

    """

    prefix: str
    keys: WorkflowKeys | None
    usage: Usage


@dataclass(slots=True)
class Page:
    """What some workflows take.

    Attributes:
        workflows: those that are measured.
        next_token: the token of the next page; "" if there is none.
        unfinished: the workflow in which the page ends; None if it ends after one.
        damaged_listings: the listings that met damage. The objects there are left out.

    """

    workflows: list[WorkflowUsage] = field(default_factory=list)
    next_token: str = ""
    unfinished: WorkflowUsage | None = None
    damaged_listings: int = 0

    def count_damage(self, *_: object) -> None:
        """Count a listing that met damage."""
        self.damaged_listings += 1


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a page begins.

    Attributes:
        prefix: the prefix of a workflow; "" for the start.
        key: the last object of it that was measured; "" if all were.
        usage: what was measured of it.

    """

    prefix: str = ""
    key: str = ""
    usage: Usage = field(default_factory=Usage)

    @classmethod
    def of(cls, namespace: str, token: str) -> "_Position":
        """Parse a page token.

        Raises:
            HoldfastError: INVALID_REQUEST: it was not issued by a server.

        """
        workflow, _, inner = token.partition(".")
        if not token:
            return cls()
        prefix = prefix_of(namespace, workflow)
        if not inner:
            return cls(prefix)
        try:
            state = base64.b64decode(inner[:_LONGEST_STATE].encode(), altchars=b"-_", validate=True).decode()
            escaped, *counts = state.split(" ")
            relative = unquote(escaped, errors="strict")
            usage = Usage(*map(int, counts))
        except (binascii.Error, UnicodeError, ValueError, TypeError):
            raise _not_issued() from None
        is_valid = len(counts) == len(astuple(usage)) and all(0 <= each <= _MAX_COUNT for each in astuple(usage))
        if not is_valid or usage.head_revision > MAX_REVISION or not 0 < len(relative) <= _LONGEST_KEY:
            raise _not_issued()
        return cls(prefix, prefix + relative, usage)

    def __str__(self) -> str:
        token = token_of(self.prefix)
        if not self.key:
            return token
        state = " ".join(map(str, (quote(self.key.removeprefix(self.prefix)), *astuple(self.usage))))
        return f"{token}.{base64.urlsafe_b64encode(state.encode()).decode()}"


async def page(
    log: Log, namespace: str, token: str, size: int, *, id_prefix: str = "", reads_markers: bool, end_seconds: float
) -> Page:
    """Return a page of what the workflows of a namespace take, in key order.

    Args:
        log: the log.
        namespace: the namespace.
        token: the token of the page, or one of `workflows.page`; "" for the first page.
        size: how many workflows at most.
        id_prefix: what the ids of the workflows begin with.
        reads_markers: whether to count checkpoints.
        end_seconds: when the page shall end, by the monotonic clock.

    Raises:
        HoldfastError: INVALID_REQUEST: the token was not issued by a server.
        StoreError: the store cannot be used.

    """
    position = _Position.of(namespace, token)
    limits = Limits(_MAX_OBJECTS, _MAX_MARKERS, end_seconds)
    found = Page()
    if position.key:
        await _measure_large(log, position, found, limits, reads_markers=reads_markers)
        _keep_with_prefix(found, id_prefix)
        return found
    planned, large = await _plan(
        log, namespace, found, after=position.prefix, size=size, id_prefix=id_prefix, reads_markers=reads_markers
    )
    if large is not None:
        await _measure_large(log, _Position(large), found, limits, reads_markers=reads_markers)
        _keep_with_prefix(found, id_prefix)
        return found

    async def measured(inventory: Inventory) -> Measured:
        return await measure(log, inventory, reads_markers=reads_markers)

    work = in_order(_each(planned), measured, at_once=_WORKFLOWS_AT_ONCE, ahead=len(planned))
    count = 0
    async with aclosing(work) as done:
        async for each in done:
            found.workflows.append(WorkflowUsage(planned[count].prefix, each.keys, each.usage))
            count += 1
            if count < len(planned) and limits.is_late:
                found.next_token = token_of(planned[count - 1].prefix)
                break
    _keep_with_prefix(found, id_prefix)
    return found


async def page_of_one(log: Log, keys: WorkflowKeys, token: str, *, reads_markers: bool, end_seconds: float) -> Page:
    """Return a page of what one workflow takes. It ends unfinished, or it is the last one.

    Raises:
        HoldfastError: WORKFLOW_NOT_FOUND: the store has nothing of it. INVALID_REQUEST: the token was not issued by a
            server for this workflow.
        StoreError: the store cannot be used.

    """
    position = _Position.of(keys.namespace, token) if token else _Position(keys.prefix)
    if position.prefix != keys.prefix or (token and not position.key):
        raise _not_issued()
    found = Page()
    limits = Limits(_MAX_OBJECTS, _MAX_MARKERS, end_seconds)
    await _measure_large(log, position, found, limits, reads_markers=reads_markers)
    if found.unfinished is None:
        found.next_token = ""
        if not found.workflows[0].usage.objects and not found.damaged_listings:
            raise HoldfastError(
                Reason.WORKFLOW_NOT_FOUND,
                f"the store has nothing of workflow {keys.workflow_id!r} in namespace {keys.namespace!r}",
            )
        found.workflows = [WorkflowUsage(keys.prefix, keys, found.workflows[0].usage)]
    else:
        found.unfinished = WorkflowUsage(keys.prefix, keys, found.unfinished.usage)
    return found


async def _plan(
    log: Log, namespace: str, found: Page, *, after: str, size: int, id_prefix: str, reads_markers: bool
) -> tuple[Sequence[Inventory], str | None]:
    """Return the small workflows of a page and set its next token, or the prefix of a large one that comes first."""
    planned: list[Inventory] = []
    objects = markers = 0
    for place in prefixes_of(namespace, id_prefix):
        listed = inventories(
            log.retried_store, below=place, after=after, page_objects=_LISTED_AT_ONCE, on_damaged=found.count_damage
        )
        async with aclosing(listed) as workflows:
            async for inventory in workflows:
                is_large = inventory.kept is None
                if inventory.kept is not None:
                    objects += len(inventory.kept)
                    markers += _markers_of(inventory) if reads_markers else 0
                    markers += workflow_of(inventory.prefix) is None
                if planned and (is_large or objects > _MAX_OBJECTS or markers > _MAX_MARKERS or len(planned) == size):
                    found.next_token = token_of(planned[-1].prefix)
                    return planned, None
                if is_large:
                    return (), inventory.prefix
                planned.append(inventory)
    return planned, None


async def _measure_large(log: Log, position: _Position, found: Page, limits: Limits, *, reads_markers: bool) -> None:
    """Measure a workflow from a position on, until its end or until a limit is reached."""
    measured = await measure(
        log,
        Inventory(log.retried_store, position.prefix, None),
        usage=position.usage,
        start_after=position.key,
        limits=limits,
        reads_markers=reads_markers,
        on_damaged=found.count_damage,
    )
    workflow = WorkflowUsage(position.prefix, measured.keys, measured.usage)
    if measured.position:
        found.unfinished = workflow
    else:
        found.workflows.append(workflow)
    found.next_token = str(_Position(position.prefix, measured.position, measured.usage))


def _keep_with_prefix(found: Page, id_prefix: str) -> None:
    """Leave out workflows whose names are replaced by digests in keys and do not begin with a prefix."""

    def has_prefix(each: WorkflowUsage) -> bool:
        return not id_prefix or (each.keys is not None and each.keys.workflow_id.startswith(id_prefix))

    found.workflows = list(filter(has_prefix, found.workflows))
    if found.unfinished is not None and not has_prefix(found.unfinished):
        found.unfinished = None


def _markers_of(inventory: Inventory) -> int:
    log_prefix = f"{inventory.prefix}log/"
    return sum(each.key.startswith(log_prefix) for each in inventory.kept or ())


async def _each(planned: Sequence[Inventory]) -> AsyncIterator[Inventory]:
    for each in planned:
        yield each


def _not_issued() -> HoldfastError:
    return HoldfastError(Reason.INVALID_REQUEST, "page_token: not issued by this server", field="page_token")
