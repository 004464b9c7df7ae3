"""Keys in listings: exactly the keys that Holdfast makes count as its own."""

import re

from holdfast_server.protocol.format import keys
from holdfast_server.protocol.format.keys import WorkflowKeys

from tests.verification.fuzz.reader import Reader

_CUT = "[0-9a-f]{3}/[0-9a-f]{3}/[0-9a-f]{3}"
_STARTS = (
    "",
    "ns/",
    "ns/n/wf/w/",
    "ns/n/wf/w/log/",
    "ns/n/wf/w/log/fff/fff/ffe",
    "ns/n/wf/w/blob/000/000/000-",
    "ns/n/wf/w/id/000/000/000/",
    "ns/n/wf/w/idx/000/000/040-00000000",
)
KEYS = WorkflowKeys("n", "w")


def check(data: bytes) -> None:
    reader = Reader(data)
    # The form in which a folder's listing returns names that are not UTF-8.
    key = reader.choice(_STARTS) + reader.rest().decode(errors="surrogateescape")
    revision = KEYS.revision(key)
    assert (revision is not None) == (
        re.fullmatch(rf"ns/n/wf/w/log/{_CUT}", key) is not None and not key.endswith("f" * 3 + "/fff/fff")
    )
    assert revision is None or (KEYS.marker(revision) == key and 1 <= revision <= keys.MAX_REVISION)
    relative = key.removeprefix(KEYS.prefix)
    base = keys.blob_base(relative)
    assert (base is not None) == (re.fullmatch(rf"blob/{_CUT}-[0-9a-f]{{32}}", relative) is not None)
    assert base is None or relative.startswith(keys.new_blob(base, ""))
    covered = keys.index_range(relative)
    assert covered is None or (1 <= covered[0] <= covered[1] and KEYS.index(*covered) == f"{KEYS.prefix}{relative}")
    prefix = keys.workflow_prefix(key)
    if prefix is not None:
        assert key.startswith(prefix)
        assert re.fullmatch(r"ns/[A-Za-z0-9_%~-]{1,200}/wf/[A-Za-z0-9_%~-]{1,200}/", prefix)
        found = keys.workflow_of(prefix)
        assert found is None or found.prefix == prefix
    if KEYS.is_claim(key):
        assert re.fullmatch(rf"ns/n/wf/w/id/{_CUT}/[A-Za-z0-9_%~-]{{1,200}}", key)
