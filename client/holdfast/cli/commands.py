"""What each command does. All return the exit code."""

import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO, cast

from google.protobuf import json_format

from holdfast.checkpoint import AcceptedFormat, LoadedCheckpoint, Validation
from holdfast.cli.exit_codes import of_findings
from holdfast.cli.output import Output
from holdfast.sync.client import Client

_IN_MEMORY_BYTES = 16 << 20


class UsageError(Exception):
    """The arguments do not fit together, or a file of theirs cannot be used."""


def save(client: Client, given: Namespace, output: Output) -> int:
    """Save a file, or named parts."""
    if bool(given.file) == bool(given.part):
        raise UsageError("save takes either one FILE (- for stdin) or --part NAME=FILE")
    with _payload(given) as data, output.progress("saving") as progress:
        saved = client.save(
            given.namespace,
            given.workflow,
            data,
            format=given.format,
            checkpoint_id=given.id,
            parent_id=given.parent,
            labels=dict(given.label),
            expected_revision=given.expected_revision,
            epoch=given.epoch,
            ttl=given.ttl,
            request_id=given.request_id,
            progress=progress,
        )
    output.checkpoint(saved)
    return 0


def load(client: Client, given: Namespace, output: Output) -> int:
    """Load a checkpoint and write one part of it to a file or stdout."""
    with output.progress("loading") as progress:
        loaded = client.load(
            given.namespace,
            given.workflow,
            given.checkpoint,
            accepted_formats=given.accept,
            fallback=given.fallback,
            progress=progress,
        )
    data = _chosen_part(loaded, given.part)
    if given.output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        output.fallback(loaded)
        return 0
    with _file_errors(given.output):
        Path(given.output).write_bytes(data)
    output.fallback(loaded)
    output.checkpoint(loaded.info)
    return 0


def list_(client: Client, given: Namespace, output: Output) -> int:
    """List checkpoints."""
    found = client.list(given.namespace, given.workflow, labels=dict(given.label), page_size=min(given.limit, 1000))
    output.checkpoints(list(islice(found, given.limit)))
    return 0


def workflows(client: Client, given: Namespace, output: Output) -> int:
    """List workflows."""
    found = client.list_workflows(given.namespace, prefix=given.prefix, page_size=min(given.limit, 1000))
    output.workflows(list(islice(found, given.limit)))
    return 0


def validate(client: Client, given: Namespace, output: Output) -> int:
    """Check a checkpoint; what is found is the exit code."""
    verdict = client.validate(
        given.namespace, given.workflow, given.checkpoint, depth=given.depth, accepted_formats=given.accept
    )
    return _judged(verdict, output)


def delete(client: Client, given: Namespace, output: Output) -> int:
    """Delete one checkpoint, or all of a workflow's."""
    # An empty CHECKPOINT is a variable without a value: it must not turn into everything.
    if (given.checkpoint is None) != given.all or given.checkpoint == "":
        raise UsageError("delete takes either a CHECKPOINT or --all")
    if given.all:
        revision = client.delete_workflow(given.namespace, given.workflow, epoch=given.epoch)
    else:
        revision = client.delete(given.namespace, given.workflow, given.checkpoint, epoch=given.epoch)
    output.values({"deleted": given.checkpoint or "all checkpoints", "revision": revision})
    return 0


def resume_check(client: Client, given: Namespace, output: Output) -> int:
    """Tell whether a resume would succeed, and from where else."""
    oldest = given.oldest or given.format.version
    accepted = AcceptedFormat(given.format.name, oldest, given.format.version)
    return _judged(client.validate(given.namespace, given.workflow, accepted_formats=[accepted]), output)


def capabilities(client: Client, given: Namespace, output: Output) -> int:
    """Tell what the server can do."""
    output.values(json_format.MessageToDict(client.capabilities(), preserving_proto_field_name=True))
    return 0


def _judged(verdict: Validation, output: Output) -> int:
    output.validation(verdict)
    return 0 if verdict.resumable else of_findings([finding.reason for finding in verdict.findings])


def _chosen_part(loaded: LoadedCheckpoint, name: str | None) -> bytes:
    if name is None and "" not in loaded.parts and len(loaded.parts) > 1:
        raise UsageError(f"the checkpoint has the parts {', '.join(map(repr, loaded.parts))}: choose one by --part")
    if name is None:
        return loaded.data
    if name not in loaded.parts:
        raise UsageError(f"the checkpoint has no part {name!r}, but {', '.join(map(repr, loaded.parts))}")
    return loaded.parts[name]


@contextmanager
def _payload(given: Namespace) -> Iterator[BinaryIO | Mapping[str, bytes]]:
    if given.part:
        parts = {}
        for name, path in given.part:
            with _file_errors(path):
                parts[name] = Path(path).read_bytes()
        yield parts
    elif given.file == "-":
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spooled:
            shutil.copyfileobj(sys.stdin.buffer, cast(IO[bytes], spooled))
            spooled.seek(0)
            yield cast(BinaryIO, spooled)
    else:
        with ExitStack() as stack:
            with _file_errors(given.file):
                file = stack.enter_context(Path(given.file).open("rb"))
            yield file


@contextmanager
def _file_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
