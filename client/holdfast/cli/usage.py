"""`holdfast usage`: the workflows of a namespace that take the most, and what all of them take.

Memory stays bounded: only the lines that are shown are kept, and the total is added up on the way.
"""

import heapq
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress as ProgressBar
from rich.progress import SpinnerColumn, TextColumn

from holdfast._core.answers import Tokens
from holdfast._core.usage import NamespaceUsage, UsagePage, WorkflowUsage
from holdfast._sync.client import Client
from holdfast.cli import streams
from holdfast.cli.files import UsageError
from holdfast.cli.output import Output
from holdfast.cli.text import json_text, printable, table

# By the name of the option --sort, the attribute that decides; the largest comes first.
SORTS = {
    "stored": "stored_bytes",
    "size": "size_bytes",
    "deleted": "deleted_bytes",
    "checkpoints": "checkpoints",
    "objects": "objects",
}
BY_NAME = "workflow"
# Those that only commit markers say.
_OF_MARKERS = frozenset({"size", "deleted", "checkpoints"})
_MAX_PAGE = 1000


@dataclass(slots=True)
class Total:
    """What all workflows take together. None means that it was not counted."""

    workflows: int = 0
    checkpoints: int | None = 0
    size_bytes: int | None = 0
    stored_bytes: int = 0
    live_bytes: int | None = 0
    deleted_bytes: int | None = 0
    record_bytes: int = 0
    index_bytes: int = 0
    objects: int = 0
    damaged_markers: int = 0

    def add(self, usage: WorkflowUsage) -> None:
        """Add a workflow."""
        self.workflows += 1
        for each in fields(self)[1:]:
            before, more = getattr(self, each.name), getattr(usage, each.name)
            setattr(self, each.name, None if before is None or more is None else before + more)


@dataclass(slots=True)
class _Found:
    """What was found on all pages.

    Attributes:
        largest: the workflows that are shown, as a heap.
        total: what all workflows take.
        namespace: what the quotas count; None if the server has not counted it.
        damaged_listings: listings that met damage.

    """

    largest: list[tuple[Any, int, WorkflowUsage]] = field(default_factory=list)
    total: Total = field(default_factory=Total)
    namespace: NamespaceUsage | None = None
    damaged_listings: int = 0

    def workflows(self) -> Sequence[WorkflowUsage]:
        """Return the workflows that are shown, the largest first, or by name."""
        return [usage for _, _, usage in sorted(self.largest, key=lambda each: each[:2], reverse=True)]


def usage(client: Client, given: Namespace, output: Output) -> int:
    """Print what the workflows of a namespace take, or one of them."""
    if given.stored_only and given.sort in _OF_MARKERS:
        raise UsageError(f"--sort {given.sort} needs what --stored-only leaves out")
    with _spinner(given) as show:
        found = _measured(client, given, show)
    if given.json:
        _print_json(found)
    else:
        _print_table(found, has_total=given.workflow is None)
    return 0


def _measured(client: Client, given: Namespace, show: Callable[[str], None]) -> _Found:
    found = _Found()
    for page in _pages(client, given):
        for each in page.items:
            found.total.add(each)
            # Of equal ones, and by name, the first one comes first: the server lists them in the order of their keys.
            place = 0 if given.sort == BY_NAME else getattr(each, SORTS[given.sort]) or 0
            ranked = (place, -found.total.workflows, each)
            if len(found.largest) < given.limit:
                heapq.heappush(found.largest, ranked)
            else:
                heapq.heappushpop(found.largest, ranked)
        found.namespace = page.total
        found.damaged_listings += page.damaged_listings
        text = f"{found.total.workflows} workflows, {decimal(found.total.stored_bytes)} stored"
        if page.unfinished is not None:
            text += f"; {page.unfinished.workflow_id}: {page.unfinished.objects} objects"
        show(text)
    return found


def _pages(client: Client, given: Namespace) -> Iterator[UsagePage]:
    """Yield all pages. Each has the time limit of a call of its own."""
    token, tokens = "", Tokens()
    while True:
        page = client.usage_page(
            given.namespace,
            given.workflow,
            prefix=given.prefix,
            stored_only=given.stored_only,
            page_size=_MAX_PAGE,
            page_token=token,
        )
        yield page
        if not page.next_page_token:
            return
        token = page.next_page_token
        tokens.require_new(token)


@contextmanager
def _spinner(given: Namespace) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows how far the measurement is, if stderr is a terminal."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if given.json or not console.is_terminal:
        yield lambda text: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("measuring", total=None)
        yield lambda text: bar.update(task, description=printable(text))


def _print_json(found: _Found) -> None:
    namespace = None if found.namespace is None else asdict(found.namespace)
    if namespace is not None and namespace["measured"] is not None:
        namespace["measured"] = namespace["measured"].isoformat()
    document = {
        "workflows": [asdict(each) for each in found.workflows()],
        "total": asdict(found.total),
        "namespace": namespace,
        "damaged_listings": found.damaged_listings,
    }
    streams.write(json_text(document, indent=2) + "\n")


def _print_table(found: _Found, *, has_total: bool) -> None:
    shown, total = found.workflows(), found.total
    names = [each.workflow_id or f"(name lost) {each.key_prefix}" for each in shown]
    rows = [(name, *_cells(each)) for name, each in zip(names, shown, strict=True)]
    if has_total:
        plural = "" if total.workflows == 1 else "s"
        cut = f", {len(shown)} shown" if len(shown) < total.workflows else ""
        rows.append((f"total: {total.workflows} workflow{plural}{cut}", *_cells(total)))
    columns = ("workflow", "checkpoints", "size", "stored", "live", "deleted", "records", "indexes", "objects")
    # Columns that were not counted are left out.
    kept = [index for index in range(len(columns)) if not rows or any(row[index] for row in rows)]
    lines = table([columns[index] for index in kept], [[row[index] for index in kept] for row in rows])
    streams.write("".join(f"{line}\n" for line in lines))
    if found.namespace is not None and has_total:
        _print_quotas(found.namespace)
    if total.damaged_markers or found.damaged_listings:
        streams.note(
            f"holdfast: the figures are too low because of damage (commit markers: {total.damaged_markers}, "
            f"listings: {found.damaged_listings}): ask the operator to run holdfast-server fsck"
        )


def _cells(usage: WorkflowUsage | Total) -> tuple[str, ...]:
    return (
        "" if usage.checkpoints is None else str(usage.checkpoints),
        *(
            "" if each is None else decimal(each)
            for each in (
                usage.size_bytes,
                usage.stored_bytes,
                usage.live_bytes,
                usage.deleted_bytes,
                usage.record_bytes,
                usage.index_bytes,
            )
        ),
        str(usage.objects),
    )


def _print_quotas(namespace: NamespaceUsage) -> None:
    """Print the quotas of what is stored, and what they count."""
    counted = []
    if namespace.stored_bytes_limit is not None:
        counted.append(f"{decimal(namespace.stored_bytes)} of {decimal(namespace.stored_bytes_limit)} stored")
    if namespace.workflows_limit is not None:
        counted.append(f"{namespace.workflows} of {namespace.workflows_limit} workflows")
    if counted:
        when = (
            "not measured yet" if namespace.measured is None else f"measured {namespace.measured:%Y-%m-%d %H:%M:%S} UTC"
        )
        streams.write(f"quota: {', '.join(counted)} ({when})\n")
