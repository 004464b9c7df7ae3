"""Archives of stores in memory."""

import io
from dataclasses import asdict

from holdfast_server.protocol.archive.export import Scope, export
from holdfast_server.protocol.archive.members import VERSION, Header
from holdfast_server.protocol.archive.reader import ArchiveReader
from holdfast_server.protocol.archive.restore import Restored, restore
from holdfast_server.protocol.archive.resume import reached
from holdfast_server.protocol.archive.writer import ArchiveWriter
from holdfast_server.protocol.format.keys import LAYOUT_VERSION
from holdfast_server.protocol.format.marker import MARKER_VERSION
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.memory import MemoryStore

from tests.support.workflows import GRACE

ALL = Scope()


async def archive_of(store, scope=ALL):
    """Return an archive of a store, and what was found damaged."""
    file = io.BytesIO()
    archive = ArchiveWriter(file)
    names = scope.namespace, scope.workflow_id
    await archive.begin(Header(VERSION, LAYOUT_VERSION, MARKER_VERSION, GRACE, *names, 0.0, "store"))
    findings = await _fill(store, scope, archive, "")
    return file.getvalue(), findings


async def continuation_of(store, archive):
    """Return an archive that was cut off, continued up to its end."""
    found = await reached(io.BytesIO(archive))
    if found.is_whole:
        return archive
    file = io.BytesIO(archive)
    file.truncate(found.position)
    file.seek(found.position)
    await _fill(store, ALL, ArchiveWriter(file, found.counted, found.blocks), found.after)
    return file.getvalue()


async def _fill(store, scope, archive, after):
    findings = []
    await export(
        Log(store, grace_seconds=GRACE),
        scope,
        archive,
        after=after,
        on_finding=lambda key, what: findings.append(f"{key}: {what}"),
    )
    await archive.finish()
    return findings


async def put_into(store, archive, refused=None, marker_version=MARKER_VERSION):
    """Restore an archive into a store. Return the figures."""
    items = ArchiveReader(io.BytesIO(archive)).items()
    header = await anext(items)
    log = Log(store, grace_seconds=GRACE, marker_version=marker_version)
    refusals = []
    done = Restored()
    await restore(log, header, items, done, on_refused=lambda prefix, why: refusals.append(f"{prefix}: {why}"))
    if refused is None:
        assert refusals == []
    else:
        refused += refusals
    return asdict(done)


async def restored(archive):
    """Return a new store with what is in an archive."""
    store = MemoryStore()
    await put_into(store, archive)
    return store


def contents(store):
    """Return the bytes of all objects of a store, by their keys."""
    return {key: data for key, (data, _) in store.objects.by_key.items()}
