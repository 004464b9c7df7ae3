"""Defects of durability to plant in the real code of the store."""

from holdfast_server.stores.file.blobs import BlobDraft
from holdfast_server.stores.file.database import _is_finished, _make, connect
from holdfast_server.stores.file.folder import StoreFolder, _sync_above

from tests.support.planted import Mutant

MUTANTS = [
    Mutant("log synced by checkpoints alone", connect, "synchronous = FULL", "synchronous = NORMAL"),
    Mutant("nothing synced by the database", connect, "synchronous = FULL", "synchronous = OFF"),
    Mutant("content of a blob not synced", BlobDraft.sync, "_sync_data(self._descriptor)", "pass"),
    Mutant("name of a blob not synced", BlobDraft.sync, "os.fsync(self._folder.blobs)", "pass"),
    Mutant("name of the store not synced", _sync_above, "os.fsync(descriptor)", "pass"),
    Mutant("names in the store not synced", StoreFolder.sync, "os.fsync(self._descriptor)", "pass"),
    Mutant("unconfirmed database trusted", _is_finished, "return version == _VERSION", "return True"),
    Mutant("end of a new database not checked", _make, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA user_version"),
]

# Rules that only matter after a sync that failed.
AFTER_FAILED_SYNC = (
    "names in the store not synced",
    "unconfirmed database trusted",
    "end of a new database not checked",
)
