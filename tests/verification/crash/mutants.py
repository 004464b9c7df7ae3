"""Defects of durability to plant in the real code of the store."""

from holdfast_server.stores.draft import Draft, Drafts
from holdfast_server.stores.file import FileStore, _FileWriter
from holdfast_server.stores.folders import Folders, _make, _settled, make_root

from tests.support.planted import Mutant

MUTANTS = [
    Mutant("content not synced", Draft.sync, "_sync_data(self._file)", "pass"),
    Mutant("name not synced", Drafts.settle, "draft.sync_name()", "pass"),
    Mutant("name of a blob not synced", _FileWriter._publish, "draft.sync_name()", "pass"),
    Mutant("name of a new folder not synced", _settled, "above.sync()", "pass"),
    Mutant("name of the store not synced", make_root, "_sync_above(root)", "pass"),
    Mutant("existing folder treated as durable", Folders._durable, "not path or not folder.is_marked", "True"),
    Mutant("folder loses its mark before the sync", _settled, "above.sync()", "folder.unmark(); above.sync()"),
    Mutant("file without a mark", Drafts.draft, "_MODE | MARK", "_MODE"),
    Mutant("read file treated as durable", FileStore._read, "status.st_mode & MARK", "False"),
    Mutant("name taken by others treated as durable", Drafts.confirm, "os.stat(path).st_mode & MARK", "False"),
    Mutant(
        "sync trusted after one that failed",
        Drafts.confirm,
        "self.replace(key, Path(path).read_bytes())",
        'self._folders.open(key.rpartition("/")[0]).sync()',
    ),
    Mutant("folder kept whose name could not be synced", _make, "if nobody_makes_it:", "if False:"),
]
