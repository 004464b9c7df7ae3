"""The output of commands as tables and lines, for people."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar

from holdfast._core.checkpoint import (
    Checkpoint,
    LoadedCheckpoint,
    LoadedFile,
    LogEntry,
    Record,
    Skipped,
    Validation,
    WorkflowInfo,
)
from holdfast._core.errors import HoldfastError
from holdfast._core.payload import Progress
from holdfast._core.sealed import FIRST_COVER_LABEL
from holdfast._core.store_status import MaintenanceReport, StoreStatus
from holdfast.cli import streams
from holdfast.cli.output import Output
from holdfast.cli.text import flat, printable, table


class TableOutput(Output):
    """A printer of tables to stdout. Progress, fallbacks and errors go to stderr. Text is escaped, never cut."""

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self.checkpoints([checkpoint])

    def checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        headings, summaries = _summaries(checkpoints)
        rows = [(*summary, _labels(each)) for summary, each in zip(summaries, checkpoints, strict=True)]
        _print_table((*headings, "labels"), rows)

    def history(self, checkpoints: Sequence[LoadedCheckpoint]) -> None:
        headings, summaries = _summaries([each.info for each in checkpoints])
        _print_table(
            (*headings, "epoch", "records", "parent", "labels"),
            [
                (
                    *summary,
                    str(each.info.epoch),
                    str(len(each.records)),
                    each.info.parent_id or "none",
                    _labels(each.info),
                )
                for summary, each in zip(summaries, checkpoints, strict=True)
            ],
        )

    def records(self, records: Sequence[Record]) -> None:
        _print_table(("size", "record"), [(decimal(len(each.data)), each.key) for each in records])

    def workflows(self, workflows: Sequence[WorkflowInfo]) -> None:
        _print_table(
            ("workflow", "head", "newest checkpoint", "epoch", "updated (UTC)"),
            [
                (
                    each.workflow_id,
                    str(each.head_revision),
                    str(each.checkpoint_revision or "none"),
                    str(each.epoch),
                    _time(each.updated),
                )
                for each in workflows
            ],
        )

    def log(self, entries: Sequence[LogEntry]) -> None:
        _print_table(("revision", "entry", "epoch", "created (UTC)", "what"), [_entry_row(each) for each in entries])

    def namespaces(self, namespaces: Sequence[str]) -> None:
        _print_table(("namespace",), [(each,) for each in namespaces])

    def entry(self, entry: LogEntry) -> None:
        cells = [printable(cell) for cell in _entry_row(entry) if cell]
        streams.write(f"{'  '.join(cells)}\n")

    def validation(self, validation: Validation) -> None:
        streams.write("resumable\n" if validation.resumable else "not resumable\n")
        if validation.findings:
            _print_table(("revision", "checkpoint", "reason", "what"), [_finding(each) for each in validation.findings])
        if validation.last_good is not None and not validation.resumable:
            good = validation.last_good
            streams.write(f"last good: revision {good.revision}, {printable(good.checkpoint_id)}\n")

    def values(self, values: Mapping[str, Any]) -> None:
        _print_table(("name", "value"), list(flat(values)))

    def store_status(self, status: StoreStatus) -> None:
        facts = {name: str(getattr(status, name)) for name in ("server_version", "store", "layout_version")}
        facts |= {"marker_version": str(status.marker_version), "grace": str(status.grace)}
        for name, report in (("last_collection", status.last_collection), ("last_fsck", status.last_fsck)):
            facts |= _report_facts(name, report)
        _print_table(("name", "value"), list(facts.items()))
        _print_table(("setting", "value"), list(status.configuration.items()))
        for report in filter(None, (status.last_collection, status.last_fsck)):
            if report.findings:
                rows = [(each.namespace, each.workflow_id, each.key, each.message) for each in report.findings]
                _print_table(("namespace", "workflow", "key", "what"), rows)

    def fallback(self, loaded: LoadedFile) -> None:
        if not loaded.fell_back:
            return
        streams.note(f"fell back to revision {loaded.revision}, {printable(loaded.checkpoint_id)}")
        for each in loaded.skipped:
            streams.note(f"  skipped revision {each.revision}: {printable(f'{each.reason}: {each.message}')}")

    def error(self, error: HoldfastError) -> None:
        lines = [f"error: {error.reason}: {error.message}"]
        lines += [f"  {name}: {value}" for name, value in error.metadata.items()]
        lines += [f"  request id: {error.request_id}"] if error.request_id else []
        lines += [f"  trace id: {error.trace_id}"] if error.trace_id else []
        lines += [f"  next: {error.advice}"] if error.advice else []
        streams.note("\n".join(map(printable, lines)))

    @contextmanager
    def progress(self, verb: str) -> Iterator[Progress | None]:
        console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        if not console.is_terminal:
            yield None
            return
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        bar = ProgressBar(verb, *columns, console=console, transient=True)
        task = bar.add_task(verb, total=None)

        def show(done: int, total: int) -> None:
            # Not shown before the first chunk: a payload in one message needs no bar.
            bar.start()
            bar.update(task, completed=done, total=total)

        try:
            yield show
        finally:
            bar.stop()


def _report_facts(name: str, report: MaintenanceReport | None) -> dict[str, str]:
    """Return the rows of a report."""
    if report is None:
        return {name: "none"}
    if report.ended is None:
        return {name: f"cannot be read: {report.problem}"}
    facts = {f"{name}.ended (UTC)": _time(report.ended), f"{name}.server_version": report.server_version}
    facts |= {f"{name}.{option}": value for option, value in report.options.items()}
    facts |= {f"{name}.{count}": str(value) for count, value in report.counts.items()}
    return facts | ({f"{name}.further findings": "left out"} if report.truncated else {})


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    streams.write("".join(f"{line}\n" for line in table(columns, rows)))


def _summaries(checkpoints: Sequence[Checkpoint]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return the headings and the cells with which every table of checkpoints begins.

    The column of principals is left out if no checkpoint has one: most servers do not authenticate callers.
    """
    headings = ("revision", "checkpoint", "format", "size", "stored", "created (UTC)")
    if not any(each.principal for each in checkpoints):
        return headings, [_summary(each) for each in checkpoints]
    return (*headings, "principal"), [(*_summary(each), each.principal) for each in checkpoints]


def _summary(checkpoint: Checkpoint) -> tuple[str, ...]:
    return (
        str(checkpoint.revision),
        checkpoint.checkpoint_id,
        f"{checkpoint.format.name}:{checkpoint.format.version}",
        decimal(checkpoint.size_bytes),
        decimal(checkpoint.stored_bytes) if checkpoint.stored_bytes else "",
        _time(checkpoint.created),
    )


def _entry_row(entry: LogEntry) -> tuple[str, str, str, str, str]:
    is_range = entry.first_revision < entry.revision
    return (
        f"{entry.first_revision} to {entry.revision}" if is_range else str(entry.revision),
        entry.kind.replace("_", " "),
        str(entry.epoch or ""),
        _time(entry.created) if entry.created else "",
        "; ".join(_effects(entry)),
    )


def _effects(entry: LogEntry) -> Iterator[str]:
    """Yield what an entry is about, in words."""
    if entry.checkpoint is not None:
        yield entry.checkpoint.checkpoint_id
    if entry.purged:
        yield "purged"
    if entry.deleted:
        yield f"deleted by revision {entry.deletion_revision}" if entry.deletion_revision else "deleted since"
    if entry.holder:
        yield f"holder {entry.holder}"
    if entry.affected_checkpoint_id:
        yield f"deleted {entry.affected_checkpoint_id}"
    if entry.affected:
        shown = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in entry.affected[:5])
        more = len(entry.affected[5:]) + entry.more_affected
        yield f"removed revisions {shown}" + (f" and {more} more ranges" if more else "")
    if entry.message:
        yield f"{entry.reason}: {entry.message}"


def _labels(checkpoint: Checkpoint) -> str:
    if FIRST_COVER_LABEL in checkpoint.labels:
        return "(encrypted)"
    return ", ".join(f"{key}={value}" for key, value in checkpoint.labels.items())


def _finding(finding: Skipped) -> tuple[str, str, str, str]:
    return (str(finding.revision or ""), finding.checkpoint_id, finding.reason, finding.message)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
