"""The commands. Each makes its calls, hands the result to the output, and returns the exit code."""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from typing import BinaryIO, TypeVar

from google.protobuf import json_format

from holdfast._core.checkpoint import AcceptedFormat, Record, Validation
from holdfast._core.errors import ClientClosedError, HoldfastError, InvalidRequestError
from holdfast._sync.client import Client
from holdfast.cli import files, streams
from holdfast.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, of_findings
from holdfast.cli.files import UsageError
from holdfast.cli.output import Output
from holdfast.cli.text import printable
from holdfast.cli.values import once

_Item = TypeVar("_Item")

_MAX_PAGE = 1000


def save(client: Client, given: Namespace, output: Output) -> int:
    """Save a file, or files as named parts."""
    if bool(given.file) == bool(given.part):
        raise UsageError("save takes either one FILE (- for stdin) or --part NAME=FILE, not both")
    with _payload(given) as data, output.progress("saving") as progress:
        saved = client.save(
            given.namespace,
            given.workflow,
            data,
            format=given.format,
            checkpoint_id=given.id or "",
            parent_id=given.parent,
            labels=once("--label", given.label),
            expected_revision=given.expected_revision,
            epoch=given.epoch,
            ttl=given.ttl,
            pinned=given.pinned,
            request_id=given.request_id,
            progress=progress,
        )
    output.checkpoint(saved)
    return 0


def load(client: Client, given: Namespace, output: Output) -> int:
    """Load a checkpoint and write one of its parts to a file or to stdout."""
    files.require_writable(given.output)
    with files.destination(given.output) as target, _part_chosen(), output.progress("loading") as progress:
        loaded = client.load_to(
            given.namespace,
            given.workflow,
            target,
            given.checkpoint,
            part=given.part,
            accepted_formats=given.accept,
            fallback=given.fallback,
            not_before=given.not_before,
            progress=progress,
        )
    output.fallback(loaded)
    if given.output != "-":
        output.checkpoint(replace(loaded.info, head=loaded.head))
    return 0


def list_(client: Client, given: Namespace, output: Output) -> int:
    """List checkpoints."""
    found = client.list(
        given.namespace,
        given.workflow,
        labels=once("--label", given.label),
        page_size=min(given.limit, _MAX_PAGE),
    )
    return _shown(found, given.limit, output.checkpoints)


def history(client: Client, given: Namespace, output: Output) -> int:
    """Load the payloads of checkpoints, which checks them, and list the checkpoints."""
    found = client.history(
        given.namespace,
        given.workflow,
        labels=once("--label", given.label),
        records=given.records,
        page_size=min(given.limit, _MAX_PAGE),
    )
    return _shown(found, given.limit, output.history)


def workflows(client: Client, given: Namespace, output: Output) -> int:
    """List workflows."""
    found = client.list_workflows(given.namespace, prefix=given.prefix, page_size=min(given.limit, _MAX_PAGE))
    return _shown(found, given.limit, output.workflows)


def log(client: Client, given: Namespace, output: Output) -> int:
    """List the entries of a workflow's log."""
    found = client.log(
        given.namespace,
        given.workflow,
        before_revision=given.before,
        after_revision=given.after,
        page_size=min(given.limit, _MAX_PAGE),
    )
    return _shown(found, given.limit, output.log)


def namespaces(client: Client, given: Namespace, output: Output) -> int:
    """List the namespaces that the caller may read."""
    found = client.namespaces(given.prefix, page_size=min(given.limit, _MAX_PAGE))
    return _shown(found, given.limit, output.namespaces)


def watch(client: Client, given: Namespace, output: Output) -> int:
    """Print the entries of a workflow's log as they are committed, one line each, until it is silent or interrupted."""
    found = client.watch(given.namespace, given.workflow, after_revision=given.after, silence=given.silence)
    try:
        with closing(found), streams.watching_reader(client.close):
            for entry in islice(found, given.limit):
                output.entry(entry)
    except ClientClosedError:
        # The reader of stdout has gone.
        return BROKEN_PIPE
    return 0


def validate(client: Client, given: Namespace, output: Output) -> int:
    """Validate a checkpoint. Its newest finding decides the exit code."""
    validation = client.validate(
        given.namespace,
        given.workflow,
        given.checkpoint,
        depth=given.depth,
        accepted_formats=given.accept,
        not_before=given.not_before,
    )
    return _judged(validation, output)


def delete(client: Client, given: Namespace, output: Output) -> int:
    """Delete one checkpoint, or all checkpoints of a workflow."""
    if (given.checkpoint is not None) == given.all:
        raise UsageError("delete takes either a CHECKPOINT or --all, not both")
    if not given.all:
        revision = client.delete(
            given.namespace,
            given.workflow,
            given.checkpoint,
            purge=given.purge,
            epoch=given.epoch,
            request_id=given.request_id,
        )
        output.values({"deleted": given.checkpoint, "revision": revision})
        return 0
    if not given.yes and not _confirmed(f"delete every checkpoint of {given.workflow} in {given.namespace}"):
        streams.note("holdfast: not confirmed, nothing was deleted")
        return INTERRUPTED
    revision = client.delete_workflow(
        given.namespace, given.workflow, purge=given.purge, epoch=given.epoch, request_id=given.request_id
    )
    output.values({"deleted": "all checkpoints", "revision": revision})
    return 0


def prune(client: Client, given: Namespace, output: Output) -> int:
    """Delete all checkpoints of a workflow except the newest ones and the parents that these need."""
    deleted = client.prune(
        given.namespace,
        given.workflow,
        keep_last=given.keep_last,
        epoch=given.epoch,
        request_id=given.request_id,
    )
    output.values({"deleted": deleted})
    return 0


def copy(client: Client, given: Namespace, output: Output) -> int:
    """Copy the checkpoints of a workflow into a workflow that has none."""
    copied = client.copy_workflow(given.namespace, given.workflow, given.target_workflow, request_id=given.request_id)
    output.values({"copied": copied})
    return 0


def records(client: Client, given: Namespace, output: Output) -> int:
    """List the records of a checkpoint, or write the data of one record."""
    files.require_writable(given.output)
    if given.key is None and given.output != "-":
        raise UsageError("--output needs --key KEY: it writes the data of one record")
    found = client.records(given.namespace, given.workflow, given.checkpoint)
    if given.key is None:
        output.records(found)
        return 0
    chosen = [record for record in found if record.key == given.key]
    if not chosen:
        raise UsageError(f"the checkpoint has no record {given.key!r}")
    files.write(given.output, chosen[0].data)
    return 0


def attach(client: Client, given: Namespace, output: Output) -> int:
    """Attach files to a checkpoint as records."""
    named = once("RECORD", given.record)
    attached = [Record(key, data, given.replace) for key, data in files.contents(named).items()]
    client.attach(
        given.namespace,
        given.workflow,
        given.checkpoint,
        attached,
        epoch=given.epoch,
        request_id=given.request_id,
    )
    output.values({"attached": len(attached)})
    return 0


def resume_check(client: Client, given: Namespace, output: Output) -> int:
    """Check whether a resume would succeed. If not, print the last good checkpoint."""
    oldest = given.oldest or given.format.version
    if oldest > given.format.version:
        raise UsageError(f"invalid --oldest {oldest}: expected at most the version of --format, {given.format.version}")
    accepted = AcceptedFormat(given.format.name, oldest, given.format.version)
    validation = client.validate(
        given.namespace, given.workflow, accepted_formats=[accepted], not_before=given.not_before
    )
    return _judged(validation, output)


def capabilities(client: Client, given: Namespace, output: Output) -> int:
    """Print the capabilities of the server."""
    output.values(json_format.MessageToDict(client.capabilities(), preserving_proto_field_name=True))
    return 0


def store_status(client: Client, given: Namespace, output: Output) -> int:
    """Print the state of the server and its store."""
    output.store_status(client.store_status())
    return 0


def _judged(validation: Validation, output: Output) -> int:
    output.validation(validation)
    return 0 if validation.resumable else of_findings([finding.reason for finding in validation.findings])


@contextmanager
def _part_chosen() -> Iterator[None]:
    """Name the option if the checkpoint has several parts, or not the one that was chosen."""
    try:
        yield
    except InvalidRequestError as error:
        if [name for name, _ in error.field_violations] == ["part"]:
            raise UsageError(f"{error.message}: choose one by --part") from None
        raise


@contextmanager
def _payload(given: Namespace) -> Iterator[BinaryIO | Mapping[str, BinaryIO]]:
    if given.part:
        with files.parts(once("--part", given.part)) as parts:
            yield parts
        return
    with files.opened(given.file) as file:
        yield file


def _shown(found: Iterable[_Item], limit: int, show: Callable[[Sequence[_Item]], None]) -> int:
    """Show a list. If a later page fails, show the items before it, which are valid, then raise."""
    items: list[_Item] = []
    try:
        items.extend(islice(found, limit))
    except HoldfastError:
        if items:
            show(items)
        raise
    show(items)
    return 0


def _confirmed(action: str) -> bool:
    """Ask for confirmation if stdin is a terminal. A program that runs the command is not asked."""
    if not streams.is_terminal(sys.stdin):
        return True
    if not streams.is_terminal(sys.stderr):
        raise UsageError("delete --all cannot ask for confirmation, because stderr is not a terminal: confirm by --yes")
    sys.stderr.write(f"holdfast: {printable(action)}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
