"""Reports of maintenance: the last collection and the last check that reached their end, as objects in the store.

A report is for people. Nothing else depends on it: if it cannot be written, the run has succeeded all the same, and if
several runs end at the same time, one of their reports stays. A report is small, whatever its run has found.
"""

import time
from collections.abc import Mapping
from enum import StrEnum

from google.protobuf.message import DecodeError

from holdfast_server import SERVER_VERSION
from holdfast_server.layout.v1.report_pb2 import Report
from holdfast_server.protocol.checkpoints.workflows import owner_of
from holdfast_server.protocol.errors import HoldfastError
from holdfast_server.protocol.format import frame
from holdfast_server.protocol.format.bounded_read import read_whole
from holdfast_server.protocol.format.keys import CHECK_REPORT, COLLECTION_REPORT, workflow_prefix
from holdfast_server.protocol.log.log import Log
from holdfast_server.protocol.maintenance.each_workflow import Failure
from holdfast_server.stores.base import ObjectNotFoundError, ObjectStore, described

MAX_FINDINGS = 100
_NAME = "report"
_FRAME_VERSION = 2
_MAX_TEXT_CHARACTERS = 500
_MAX_BYTES = 64 << 10


class Kind(StrEnum):
    """A kind of maintenance. Its value is the key of its report."""

    COLLECTION = COLLECTION_REPORT
    CHECK = CHECK_REPORT


class Run:
    """A run of maintenance in progress, which is to leave a report.

    Args:
        kind: its kind.
        options: how it was started, by name. Empty values are left out.

    """

    def __init__(self, kind: Kind, **options: str) -> None:
        self._kind = kind
        self._report = Report(
            server_version=SERVER_VERSION, options={name: _cut(value) for name, value in options.items() if value}
        )
        self._report.start_time.FromNanoseconds(time.time_ns())

    def found(self, key: str, message: str, reason: str = "") -> None:
        """Note a problem. Only the first ones are kept.

        Args:
            key: the key of the object, or the prefix of the workflow.
            message: the problem in words.
            reason: its reason; "" if it has none.

        """
        if len(self._report.findings) == MAX_FINDINGS:
            self._report.truncated = True
            return
        self._report.findings.add(key=_text(key), message=_cut(message), reason=reason)

    def failed(self, prefix: str, error: Failure) -> None:
        """Note a workflow on which the run has failed."""
        if isinstance(error, HoldfastError):
            self.found(prefix, error.message, error.reason)
        else:
            self.found(prefix, described(error))

    async def keep(self, log: Log, counts: Mapping[str, int]) -> None:
        """Replace the report of the run before it.

        Args:
            log: the log.
            counts: what the run has done, by name.

        Raises:
            HoldfastError: the name of a workflow cannot be read.
            StoreError: the report cannot be written. The one before it stays.

        """
        report = self._report
        report.counts.update(counts)
        owners: dict[str, tuple[str, str]] = {}
        for finding in report.findings:
            prefix = workflow_prefix(finding.key)
            if prefix is not None and prefix not in owners:
                keys = await owner_of(log, prefix)
                owners[prefix] = ("", "") if keys is None else (keys.namespace, keys.workflow_id)
            finding.namespace, finding.workflow_id = owners.get(prefix or "", ("", ""))
            finding.key = _cut(finding.key)
        report.end_time.FromNanoseconds(time.time_ns())
        while (body := report.SerializeToString()) and len(body) > _MAX_BYTES and report.findings:
            del report.findings[len(report.findings) // 2 :]
            report.truncated = True
        await log.store.replace(self._kind, frame.pack(body, self._kind, _FRAME_VERSION))


async def newest(store: ObjectStore, kind: Kind) -> Report | None:
    """Return the report of the last run of a kind; None if there is none.

    Raises:
        HoldfastError: CHECKPOINT_CORRUPTED: it is damaged; LAYOUT_UNSUPPORTED: a newer server has written it.
        StoreError: the store cannot be used.

    """
    try:
        data = await read_whole(store, kind, 2 * _MAX_BYTES)
    except ObjectNotFoundError:
        return None
    body, _ = frame.unpack(data, kind, _NAME)
    try:
        return Report.FromString(body)
    except DecodeError:
        raise frame.corrupted(_NAME, kind, "its body cannot be parsed") from None


def _text(text: str) -> str:
    """Return text that UTF-8 can encode. The key of a foreign object may be any text."""
    return text.encode(errors="backslashreplace").decode()


def _cut(text: str) -> str:
    text = _text(text)
    return text if len(text) <= _MAX_TEXT_CHARACTERS else f"{text[: _MAX_TEXT_CHARACTERS - 1]}…"
