"""Defects of durability to plant in the real code of the store."""

from holdfast_server.stores.file.blobs import BlobDraft
from holdfast_server.stores.file.database import _settle, connect
from holdfast_server.stores.file.folder import StoreFolder, _sync_above

from tests.support.planted import Mutant

MUTANTS = [
    Mutant("log synced by checkpoints alone", connect, "synchronous = FULL", "synchronous = NORMAL"),
    Mutant("nothing synced by the database", connect, "synchronous = FULL", "synchronous = OFF"),
    Mutant("content of a blob not synced", BlobDraft.sync, "_sync_data(self._descriptor)", "pass"),
    Mutant("name of a blob not synced", BlobDraft.sync, "os.fsync(self._folder.blobs)", "pass"),
    Mutant("name of the database not synced", StoreFolder.finish_database, "self.sync()", "pass"),
    Mutant("name of the store not synced", _sync_above, "os.fsync(descriptor)", "pass"),
    Mutant("log of a stopped process treated as durable", _settle, "folder.rewrite_wal()", "pass"),
    Mutant(
        "log of a stopped process synced but not rewritten",
        StoreFolder.rewrite_wal,
        "os.pwrite(descriptor, data, position)",
        "len(data)",
    ),
    Mutant(
        "log of a stopped process rewritten but not synced", StoreFolder.rewrite_wal, "os.fdatasync(descriptor)", "pass"
    ),
]
