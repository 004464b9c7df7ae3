"""`gc` and `fsck` on large stores: exact figures, bounded memory, and an interrupted run continues."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.budget import amount
from tests.support.folder_objects import database
from tests.support.memory import folder_in_memory
from tests.verification.scale.command import Ended, run, talkative
from tests.verification.scale.fake import Facts
from tests.verification.scale.kinds import RETENTION, pass_the_grace, write

# In millions of objects.
SCALE = float(os.environ.get("HOLDFAST_SCALE", amount(small=0.02, full=0.1)))
SMALL_SCALE = amount(small=0.005, full=0.03)
# An idle command takes about 70 MiB. The rest is for pages of 10,000 objects and a few workflows at a time.
MOST_MIB = 224
MOST_GROWTH_MIB = 96
GC = ("gc", "--retention", RETENTION)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a store, in memory if there is enough."""
    with folder_in_memory(tmp_path, needed_bytes=8 << 30) as made:
        yield made / "store"


def require_checked(ended: Ended, facts: Facts, *, is_quick: bool) -> None:
    findings = {key for key, when_quick in facts.findings if when_quick or not is_quick}
    assert {line.partition(": ")[0] for line in ended.lines} == findings
    assert ended.figures == {**facts.checked, "findings": len(ended.lines), "repaired": 0, "records": 0}
    assert ended.code == 1


def objects(folder: Path) -> int:
    """Return the number of objects of workflows. Each file must be that of an object, unless it is lost."""
    with database(folder) as connection:
        [count] = connection.execute("SELECT count(*) FROM objects WHERE key LIKE 'ns/%'").fetchone()
        named = {name for (name,) in connection.execute("SELECT file FROM objects WHERE file IS NOT NULL")}
    assert {each.name for each in (folder / "blobs").iterdir()} <= named
    return int(count)


@pytest.mark.timeout(300)
def test_every_round_of_a_collection_removes_the_right_objects_and_a_check_names_every_damage(folder):
    facts = write(folder, SMALL_SCALE)
    require_checked(run(folder, "fsck", "--quick"), facts, is_quick=True)
    require_checked(run(folder, "fsck"), facts, is_quick=False)
    for number, expected in enumerate(facts.rounds[:3], 1):
        before = objects(folder)
        dry = run(folder, *GC, "--dry-run")
        assert objects(folder) == before
        done = run(folder, *GC)
        for ended in (dry, done):
            figures = {name: count for name, count in ended.figures.items() if name not in ("bytes", "dry_run")}
            assert figures == {**dict.fromkeys(figures, 0), **expected}
            assert ended.code == 1
        removed = sum(expected[what] for what in ("markers", "blobs", "claims"))
        assert objects(folder) == before - removed + len(facts.appended[number - 1])
        pass_the_grace(folder, facts, number)
    assert run(folder, "fsck").figures["orphans"] == 0


@pytest.mark.timeout(1200)
def test_a_million_objects_are_checked_and_collected_in_bounded_memory_even_if_a_run_is_cut_off(folder):
    control = folder.parent / "control"
    write(control, SMALL_SCALE)
    small = max(run(control, "fsck").memory_mib, run(control, *GC).memory_mib)
    facts = write(folder, SCALE)
    assert facts.objects > 950_000 * SCALE
    checked = run(folder, "fsck")
    require_checked(checked, facts, is_quick=False)

    before = objects(folder)
    cut_off = talkative(folder, *GC, output=folder.parent / "output")
    assert cut_off.stderr is not None
    # Wait for a position in the middle: the damaged workflows come before it.
    printed = filter(None, (re.search(r"(\d+) workflows;.* --after (\S+)$", line) for line in cut_off.stderr))
    position = next((each[2] for each in printed if int(each[1]) > facts.checked["workflows"] // 3), None)
    cut_off.send_signal(signal.SIGKILL)
    cut_off.wait()
    assert position is not None
    rest = run(folder, *GC, "--after", position)
    assert 0 < rest.figures["workflows"] < facts.checked["workflows"]
    first = facts.rounds[0]
    removed = sum(first[what] for what in ("markers", "blobs", "claims"))
    assert objects(folder) == before - removed + len(facts.appended[0])
    for ended in (checked, rest):
        assert ended.memory_mib < MOST_MIB
        assert ended.memory_mib < small + MOST_GROWTH_MIB
