"""The commands `export`, `import` and `backup`.

An archive is in a file or a standard stream. Progress is on stderr, and a summary comes last.
"""

import argparse
import asyncio
import fcntl
import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO, TextIO

from holdfast_server import stdio
from holdfast_server.config import Config, ConfigError
from holdfast_server.keyed import open_keyed
from holdfast_server.open_store import open_store
from holdfast_server.protocol.archive.export import Scope, export
from holdfast_server.protocol.archive.members import VERSION, ArchiveError, End, Header
from holdfast_server.protocol.archive.reader import ArchiveReader
from holdfast_server.protocol.archive.restore import Restored, restore
from holdfast_server.protocol.archive.resume import Reached, reached
from holdfast_server.protocol.archive.writer import ArchiveWriter
from holdfast_server.protocol.format.keys import LAYOUT_VERSION
from holdfast_server.protocol.format.manifest import Layout, NoStoreError
from holdfast_server.protocol.format.names import MAX_NAMESPACE_BYTES, MAX_WORKFLOW_ID_BYTES, problem_of
from holdfast_server.protocol.log.log import Log
from holdfast_server.store_commands import printable
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.file import FileStore
from holdfast_server.stores.file.backup import TargetError

_STREAM = "-"
_PROGRESS_SECONDS = 2.0


async def run_export(config: Config, arguments: argparse.Namespace) -> int:
    """Write an archive.

    Returns:
        The exit code: 0; 1 if damage was found, and left out.

    Raises:
        ConfigError: the file exists, or cannot be continued; the namespace or workflow is not in the store.
        HoldfastError: LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.
        OSError: the archive cannot be written.

    """
    scope = _scope(arguments)
    async with open_store(config.store, is_traced=False, must_exist=True, s3=config.s3_settings) as store:
        keyed_store, layout = await open_keyed(store, config, must_exist=True)
        log = Log(keyed_store, cache_bytes=config.cache_bytes, grace_seconds=layout.grace_seconds)
        if arguments.file == _STREAM:
            if arguments.resume:
                raise ConfigError("resume: expected a file, got a standard stream")
            with _named("stdout"):
                end = await _export(log, layout, scope, _stream(sys.stdout).buffer, None)
            stdio.write_stderr(json.dumps(asdict(end)))
        else:
            with _named(arguments.file), _opened(arguments.file, resume=arguments.resume) as file:
                before = await _continued(file, arguments.file, scope, layout) if arguments.resume else None
                try:
                    end = await _export(log, layout, scope, file, before)
                except ConfigError:
                    if before is None:
                        os.unlink(arguments.file)
                    raise
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            sys.stdout.write(json.dumps(asdict(end)) + "\n")
    return 1 if end.findings else 0


async def run_import(config: Config, arguments: argparse.Namespace) -> int:
    """Put the workflows of an archive into a store, which is created if there is none.

    Returns:
        The exit code: 0; 1 if the archive is damaged or was cut off, or has workflows that were not restored.

    Raises:
        ConfigError: standard input is closed.
        HoldfastError: COMMIT_UNKNOWN, LAYOUT_UNSUPPORTED.
        StoreError: the store cannot be used.
        OSError: the archive cannot be read.

    """
    done = Restored()
    damaged = ""
    try:
        if arguments.file == _STREAM:
            await _import(config, _stream(sys.stdin).buffer, done)
        else:
            with await asyncio.to_thread(open, arguments.file, "rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    # Before anything is restored: an archive that was cut off has an older state of a workflow.
                    async for _ in ArchiveReader(file).items():
                        pass
                    file.seek(0)
                await _import(config, file, done)
    except ArchiveError as error:
        damaged = str(error)
        stdio.write_stderr(f"{arguments.file}: {printable(damaged)}")
    sys.stdout.write(json.dumps(asdict(done)) + "\n")
    return 1 if damaged or done.refused or done.findings else 0


async def run_backup(config: Config, arguments: argparse.Namespace) -> int:
    """Copy a store in a folder into another folder, and return the exit code.

    Raises:
        ConfigError: the store is not in a folder, or the target is not empty.
        StoreError: the store cannot be read, or the target cannot be written.

    """
    async with open_store(config.store, is_traced=False, must_exist=True, s3=config.s3_settings) as store:
        if not isinstance(store, FileStore):
            raise ConfigError(f"store: expected a folder, got {config.store!r}: use export for other stores")
        try:
            done = await store.back_up(Path(arguments.folder))
        except TargetError as error:
            raise ConfigError(
                f"{arguments.folder}: expected an empty folder, or none, outside of the store: {error}"
            ) from None
    sys.stdout.write(json.dumps(asdict(done)) + "\n")
    return 0


def _scope(arguments: argparse.Namespace) -> Scope:
    """Return what to export. An empty name is refused: it would mean the whole store."""
    if arguments.workflow is not None and arguments.namespace is None:
        raise ConfigError("workflow: expected the namespace as well, as --namespace")
    names = (
        ("namespace", arguments.namespace, MAX_NAMESPACE_BYTES),
        ("workflow", arguments.workflow, MAX_WORKFLOW_ID_BYTES),
    )
    for name, value, limit_bytes in names:
        problem = "" if value is None else problem_of(value, limit_bytes) or ("" if value else "must not be empty")
        if problem:
            raise ConfigError(f"{name}: {problem}, got {value!r}")
    return Scope(arguments.namespace or "", arguments.workflow or "")


def _stream(stream: TextIO) -> TextIO:
    """Return a standard stream for an archive.

    Raises:
        ConfigError: it was closed when the program began, so that the archive would be lost.

    """
    if stdio.was_closed(stream):
        raise ConfigError(f"{_STREAM}: expected a file, a pipe or a terminal, got a standard stream that is closed")
    return stream


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Give errors of a file its name, which those of reads and writes lack."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, name) from None
        raise


@contextmanager
def _opened(path: str, *, resume: bool) -> Iterator[BinaryIO]:
    """Open the file of an archive. One that exists is never overwritten."""
    try:
        # Nobody but its owner may read an archive: it has all that is in the store.
        flags = os.O_RDWR if resume else os.O_RDWR | os.O_CREAT | os.O_EXCL
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path}: exists; continue it with --resume, or choose another file") from None
    with open(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{path}: another export is writing it") from None
        yield file


async def _continued(file: BinaryIO, path: str, scope: Scope, layout: Layout) -> Reached:
    """Return how far an archive goes, and cut off what is not whole."""
    try:
        before = await reached(file)
    except ArchiveError as error:
        raise ConfigError(f"{path}: cannot be continued: {error}") from None
    stated = Scope(before.header.namespace, before.header.workflow_id)
    if stated != scope:
        raise ConfigError(f"{path}: cannot be continued: it is an archive of {stated}, not of {scope}")
    if before.header.store_id != layout.store_id:
        raise ConfigError(f"{path}: cannot be continued: it is an archive of another store")
    if before.header.marker_version != layout.marker_version:
        raise ConfigError(f"{path}: cannot be continued: the store was upgraded since")
    if not before.is_whole:
        file.seek(before.position)
        file.truncate()
    return before


async def _export(log: Log, layout: Layout, scope: Scope, file: BinaryIO, before: Reached | None) -> End:
    if before is not None and before.is_whole:
        return before.counted
    progress = _Progress()

    def on_finding(key: str, what: str) -> None:
        stdio.write_stderr(f"{printable(key)}: {printable(what)}")

    if before is None:
        archive = ArchiveWriter(file)
        header = Header(
            version=VERSION,
            layout=LAYOUT_VERSION,
            marker_version=layout.marker_version,
            grace_seconds=layout.grace_seconds,
            namespace=scope.namespace,
            workflow_id=scope.workflow_id,
            made_at=time.time(),
            store_id=layout.store_id,
        )
        await archive.begin(header)
    else:
        archive = ArchiveWriter(file, before.counted, before.blocks)
    await export(
        log,
        scope,
        archive,
        after=before.after if before else "",
        on_finding=on_finding,
        on_progress=lambda prefix: progress(archive.end.workflows, archive.end.bytes),
    )
    if scope.namespace and not archive.end.workflows and not archive.end.findings:
        if scope.workflow_id:
            raise ConfigError(f"workflow: {scope.workflow_id!r} is not in namespace {scope.namespace!r} of the store")
        raise ConfigError(f"namespace: {scope.namespace!r} has no workflows in the store")
    return await archive.finish()


async def _import(config: Config, file: BinaryIO, done: Restored) -> None:
    items = ArchiveReader(file).items()
    progress = _Progress()

    def on_refused(prefix: str, why: str) -> None:
        stdio.write_stderr(f"{printable(prefix)}: not restored: {printable(why)}")

    async with aclosing(items):
        header = await anext(items)
        assert isinstance(header, Header)
        async with open_store(
            config.store, is_traced=False, s3=config.s3_settings, group=config.folder_group_number
        ) as store:
            keyed_store, layout = await _opened_or_made(store, config, header)
            log = Log(
                keyed_store,
                cache_bytes=config.cache_bytes,
                grace_seconds=layout.grace_seconds,
                marker_version=layout.marker_version,
            )
            await restore(
                log,
                header,
                items,
                done,
                on_refused=on_refused,
                on_progress=lambda prefix: progress(done.workflows, done.bytes),
            )


async def _opened_or_made(store: ObjectStore, config: Config, header: Header) -> tuple[ObjectStore, Layout]:
    """Open a store. A new one gets the grace of the archive's store, unless another one is set."""
    try:
        return await open_keyed(store, config, must_exist=True)
    except NoStoreError:
        grace = header.grace_seconds if config.grace_seconds is None else config.grace_seconds
        return await open_keyed(store, replace(config, grace_seconds=grace))


class _Progress:
    """Prints figures at intervals."""

    def __init__(self) -> None:
        self._printed_at = time.monotonic()

    def __call__(self, workflows: int, size_bytes: int) -> None:
        if time.monotonic() - self._printed_at >= _PROGRESS_SECONDS:
            self._printed_at = time.monotonic()
            stdio.write_stderr(f"{workflows} workflows, {size_bytes} bytes")
