"""The state of a server and its store, as administrators see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration

from holdfast._core.errors import of_reason
from holdfast._core.maps import by_key
from holdfast._core.messages import moment
from holdfast.v1 import checkpoint_service_pb2 as api


@dataclass(frozen=True, slots=True)
class MaintenanceFinding:
    """A problem that a collection or a check has found.

    Attributes:
        key: the key of the object, or the prefix of the workflow; long ones are cut.
        message: the problem in words; long ones are cut.
        namespace: the namespace; "" if it is not known.
        workflow_id: the workflow; "" if it is not known.
        reason: the reason, such as "CHECKPOINT_CORRUPTED"; "" if it has none.

    """

    key: str
    message: str
    namespace: str = ""
    workflow_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """A collection or a check that reached its end. Times are by the clock of the machine that it ran on.

    Attributes:
        started: when it began; None if the report cannot be read.
        ended: when it ended; None if the report cannot be read.
        server_version: the version of the server or command that ran it.
        counts: what it has done, by name, as `holdfast-server gc` and `holdfast-server fsck` print it.
        findings: the first of its findings, at most 100.
        truncated: whether it had more findings.
        options: how it was started, by name: "scheduled", "after", "repair", "quick".
        problem: why the report cannot be read; "" if it can.

    """

    started: datetime | None
    ended: datetime | None
    server_version: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[MaintenanceFinding, ...] = ()
    truncated: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The state of a server and its store.

    Attributes:
        server_version: the version of the server that answered.
        store: the location of the store, without credentials.
        layout_version: the version of the store's layout.
        marker_version: the version of the markers that are written to the store.
        grace: how long dead objects are kept.
        configuration: the settings of the server that answered, by name, without secrets.
        last_collection: the last collection that reached its end; None if there was none.
        last_fsck: the last check that reached its end; None if there was none.

    """

    server_version: str
    store: str
    layout_version: int
    marker_version: int
    grace: timedelta
    configuration: Mapping[str, str]
    last_collection: MaintenanceReport | None
    last_fsck: MaintenanceReport | None


def to_store_status(message: api.GetStoreStatusResponse) -> StoreStatus:
    """Convert the state of a store.

    Raises:
        InternalError: the message has an impossible time.

    """
    return StoreStatus(
        message.server_version,
        message.store,
        message.layout_version,
        message.marker_version,
        _duration(message.grace),
        by_key(message.configuration),
        _report(message.last_collection) if message.HasField("last_collection") else None,
        _report(message.last_fsck) if message.HasField("last_fsck") else None,
    )


def _report(message: api.MaintenanceReport) -> MaintenanceReport:
    return MaintenanceReport(
        moment(message.start_time) if message.HasField("start_time") else None,
        moment(message.end_time) if message.HasField("end_time") else None,
        message.server_version,
        by_key(message.counts),
        tuple(
            MaintenanceFinding(each.key, each.message, each.namespace, each.workflow_id, each.reason)
            for each in message.findings
        ),
        message.truncated,
        by_key(message.options),
        message.problem,
    )


def _duration(message: Duration) -> timedelta:
    try:
        return message.ToTimedelta()
    except (ValueError, OverflowError):
        raise of_reason("INTERNAL", "the server sent an impossible grace") from None
