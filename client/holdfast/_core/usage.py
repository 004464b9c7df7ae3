"""What workflows and namespaces take in the store: the values, and the checks of the answers that they come from."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast._core.answers import wrong
from holdfast._core.checkpoint import Page
from holdfast._core.messages import moment
from holdfast.v1 import checkpoint_service_pb2 as api

_FIGURES = (
    "head_revision",
    "objects",
    "stored_bytes",
    "record_bytes",
    "index_bytes",
    "checkpoints",
    "size_bytes",
    "live_bytes",
    "deleted_bytes",
    "damaged_markers",
)
_OPTIONAL = frozenset({"checkpoints", "size_bytes", "live_bytes", "deleted_bytes"})


@dataclass(frozen=True, slots=True)
class WorkflowUsage:
    """What a workflow takes in the store.

    `live_bytes`, `deleted_bytes`, `record_bytes` and `index_bytes` add up to `stored_bytes`.

    Attributes:
        workflow_id: the workflow; "" if damage hides its name.
        key_prefix: what the keys of its objects begin with.
        head_revision: the newest revision of its log; 0 if it has only remains of saves that failed.
        objects: objects in the store, whether they are needed or wait for a collection.
        stored_bytes: their bytes.
        record_bytes: of these, the records.
        index_bytes: of these, the claims and indexes of checkpoint ids.
        checkpoints: live checkpoints; None if they were not counted.
        size_bytes: bytes of their payloads as they were saved; None if they were not counted.
        live_bytes: of `stored_bytes`, live entries of the log and the parts of live checkpoints; None if they were not
            counted.
        deleted_bytes: of `stored_bytes`, the rest: deleted checkpoints that wait for a collection or that live ones
            rest on, old entries of the log, remains of saves that failed; None if they were not counted.
        damaged_markers: revisions that may be checkpoints and cannot be read; they are not in `checkpoints`.

    """

    workflow_id: str
    key_prefix: str
    head_revision: int
    objects: int
    stored_bytes: int
    record_bytes: int
    index_bytes: int
    checkpoints: int | None = None
    size_bytes: int | None = None
    live_bytes: int | None = None
    deleted_bytes: int | None = None
    damaged_markers: int = 0


@dataclass(frozen=True, slots=True)
class NamespaceUsage:
    """What a namespace has in the store, as its quotas count it.

    Attributes:
        stored_bytes: bytes of all objects at the last collection of the server. If the namespace has a quota of what is
            stored, saves since then are added.
        workflows: workflows that have checkpoints, counted in the same way.
        measured: when that collection ended; None if there was none since the server was started.
        stored_bytes_limit: the quota of bytes; None if there is none.
        workflows_limit: the quota of workflows; None if there is none.

    """

    stored_bytes: int
    workflows: int
    measured: datetime | None = None
    stored_bytes_limit: int | None = None
    workflows_limit: int | None = None


@dataclass(frozen=True, slots=True)
class UsagePage(Page[WorkflowUsage]):
    """One page of what workflows take in the store.

    Attributes:
        unfinished: the workflow in which the page ends, as far as it is measured; the next page goes on with it. None
            if the page ends after a workflow.
        total: the namespace; None if it has no quota and the server has not counted it yet.
        damaged_listings: listings that met damage. Workflows and objects there are left out.

    """

    unfinished: WorkflowUsage | None = None
    total: NamespaceUsage | None = None
    damaged_listings: int = 0


def to_usage_page(message: api.GetUsageResponse, request: api.GetUsageRequest) -> UsagePage:
    """Convert a page of usage.

    Raises:
        InternalError: it has workflows that were not requested, negative figures, or a time that does not exist.

    """
    return UsagePage(
        tuple(_workflow(each, request) for each in message.workflows),
        message.next_page_token,
        _workflow(message.unfinished, request) if message.HasField("unfinished") else None,
        _namespace(message.total) if message.HasField("total") else None,
        _counted(message, "damaged_listings"),
    )


def _workflow(message: api.WorkflowUsage, request: api.GetUsageRequest) -> WorkflowUsage:
    workflow_id, prefix = message.workflow_id, request.workflow_id_prefix
    is_requested = workflow_id == request.workflow_id if request.workflow_id else workflow_id.startswith(prefix)
    if not is_requested:
        raise wrong(f"the usage of workflow {workflow_id[:200]!r}, which was not requested")
    figures = {
        name: None if name in _OPTIONAL and not message.HasField(name) else _counted(message, name)  # type: ignore[arg-type]
        for name in _FIGURES
    }
    return WorkflowUsage(workflow_id, message.key_prefix, **figures)  # type: ignore[arg-type]


def _namespace(message: api.NamespaceUsage) -> NamespaceUsage:
    return NamespaceUsage(
        _counted(message, "stored_bytes"),
        _counted(message, "workflows"),
        moment(message.measure_time) if message.HasField("measure_time") else None,
        message.stored_bytes_limit if message.HasField("stored_bytes_limit") else None,
        message.workflows_limit if message.HasField("workflows_limit") else None,
    )


def _counted(message: Any, name: str) -> int:
    value: int = getattr(message, name)
    if value < 0:
        raise wrong(f"{name} {value} in a usage")
    return value
