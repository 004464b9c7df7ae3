"""After any power cut a folder store has everything that was acknowledged before, and works.

The tests record the system calls of real servers, and recover from each state that a cut after any of them may leave.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.budget import all_with_full_budget, amount, full
from tests.verification.crash import cuts, recovery
from tests.verification.crash.disk import File, Sync
from tests.verification.crash.mutants import AFTER_FAILED_SYNC, MUTANTS
from tests.verification.crash.scenarios import (
    LOG_MAGIC,
    PLAIN,
    Before,
    Cuts,
    Recording,
    Surroundings,
    gone_on_from,
    record,
)
from tests.verification.crash.scripts import NOTES, STORE

pytestmark = [pytest.mark.usefixtures("strace"), pytest.mark.timeout(600)]

# Slow enough for each server to find the other one in the middle of the same work.
SLOW_SYNCS = ("fsync,fdatasync:delay_enter=5000",)
# The creation of a store takes about as many syncs, one after the other in one thread.
FAILED_SYNCS = range(1, 15)
# A store that could not be made durable, and whose maker died before removing it, looks like any other: begin with one.
EMPTY_STORE = Before((("data", 0o700, None), (STORE, 0o700, None)))


@pytest.fixture
def require_unbroken(folder: Path, processes: Executor, count: Callable[[Cuts], None]) -> Callable[..., None]:
    """A function that checks that every state keeps every promise."""

    def require(found: Cuts, *, at_least: int) -> None:
        count(found)
        broken = found.all_broken(processes, folder / "recovered")
        assert not broken, broken[0]
        # With fewer states the enumeration would have lost some.
        assert found.distinct >= at_least

    return require


def test_a_cut_at_any_moment_of_a_stores_life_loses_nothing(folder, require_unbroken):
    run = record("life", folder / "run")
    # The log began again after a checkpoint, in the middle of the life.
    assert run.resets_of_the_log() >= 2
    require_unbroken(run.cut_everywhere(), at_least=200)


@pytest.mark.needs_budget("full")
def test_a_cut_while_checkpoints_rest_on_others_loses_nothing(folder, require_unbroken):
    require_unbroken(record("rests", folder / "run").cut_everywhere(), at_least=100)


def test_a_cut_while_two_servers_make_the_same_store_loses_nothing(folder, require_unbroken):
    run = record("together", folder / "run", Surroundings(faults=SLOW_SYNCS))
    # Each server has met folders and names of the other.
    assert any(call.error == "EEXIST" for call in run.calls)
    require_unbroken(run.cut_everywhere(), at_least=150)


@pytest.mark.parametrize(("script", "then"), [("life", "goes_on"), full("rests", "rests_on")])
def test_a_server_that_stops_anywhere_leaves_nothing_that_misleads_the_next_one(script, then, folder, require_unbroken):
    first = record(script, folder / "first")
    require_unbroken(gone_on_from(first, then, folder / "second"), at_least=amount(small=100, full=300))


@pytest.mark.parametrize("number", [each if each in (1, 6) else full(each) for each in FAILED_SYNCS])
def test_whichever_sync_fails_it_never_counts_as_a_successful_one(number, folder, require_unbroken):
    found = record("saves", folder / "run", failing(number)).cut_everywhere()
    require_unbroken(found, at_least=90)


@pytest.mark.parametrize(
    ("script", "which"), [full("life", "1+23"), full("together", "3+14"), full("together", "6+19")]
)
def test_syncs_that_fail_again_and_again_never_count_as_successful_ones(script, which, folder, require_unbroken):
    found = record(script, folder / "run", failing(which)).cut_everywhere()
    require_unbroken(found, at_least=90)


@pytest.mark.parametrize("number", [full(each) for each in FAILED_SYNCS])
def test_a_server_that_stops_after_a_failed_sync_misleads_no_other_server(number, folder, require_unbroken):
    first = record("saves", folder / "first", failing(number), EMPTY_STORE)
    require_unbroken(gone_on_from(first, "goes_on", folder / "second"), at_least=100)


def test_the_model_sees_what_the_kernel_sees(folder):
    run = record("together", folder / "run")
    replay, calls = run.replay(lambda sync: sync)
    for _ in calls:
        pass
    real = {
        str(path.relative_to(run.folder)): (path.stat().st_mode & 0o7777, path.read_bytes() if path.is_file() else None)
        for path in run.folder.rglob("*")
        if path.name != NOTES
    }
    assert {path: (mode, content) for path, mode, content in cuts.as_seen(replay.disk)} == real


# Tests of the check itself.


def omitted(is_omitted: Callable[[Sync, str], bool]) -> Callable[[Sync], Sync]:
    """Return a hearing that omits the content of some files, or some names."""

    def hearing(sync: Sync) -> Sync:
        edits = () if isinstance(sync.descriptor.node, File) and is_omitted(sync, "") else sync.edits
        changes = tuple(each for each in sync.changes if not is_omitted(sync, each.name))
        return replace(sync, edits=edits, changes=changes)

    return hearing


def is_of_a_blob(content: bytes) -> bool:
    return content.startswith(b"a3 ")


# What a sync does not make durable.
UNHEARD = {
    "content of the log": lambda sync, name: not name and sync.content.startswith(LOG_MAGIC),
    "content of the database": lambda sync, name: not name and sync.content.startswith(b"SQLite format 3"),
    "content of a blob": lambda sync, name: not name and is_of_a_blob(sync.content),
    "name of a blob": lambda sync, name: len(name) == 32,
    "name of the database": lambda sync, name: name.startswith("holdfast.db"),
    "name of the folder of blobs": lambda sync, name: name == "blobs",
    "name of the store": lambda sync, name: name in Path(STORE).parts,
}


@pytest.mark.parametrize("kind", UNHEARD)
def test_an_omitted_kind_of_sync_is_noticed(kind, folder):
    found = record("life", folder / "run").cut_everywhere(omitted(UNHEARD[kind]))
    assert next(found.broken(folder / "recovered"), "")


def test_a_checkpoint_acknowledged_before_its_commit_is_noticed(folder):
    found = record("saves", folder / "run").with_early_notes().cut_everywhere()
    assert "is lost" in next(found.broken(folder / "recovered"), "")


def test_a_removal_that_a_cut_undoes_does_no_harm(folder, processes):
    def deaf(sync: Sync) -> Sync:
        return replace(sync, changes=tuple(change for change in sync.changes if change.node is not None))

    found = record("life", folder / "run").cut_everywhere(deaf)
    assert not found.all_broken(processes, folder / "recovered")


@pytest.mark.parametrize("mutant", all_with_full_budget(MUTANTS, small=2), ids=lambda each: each.rule)
def test_a_broken_rule_of_durability_in_the_code_is_noticed(mutant, folder):
    planted = Surroundings(is_alone=True, planted=mutant.rule)
    if mutant.rule not in AFTER_FAILED_SYNC:
        assert is_noticed(record("life", folder / "run", planted), folder)
        return
    for number in reversed(FAILED_SYNCS):
        # Some of these servers cannot even start.
        with suppress(AssertionError):
            run = record("saves", folder / str(number), failing(number, planted))
            if is_noticed(run, folder):
                return
    pytest.fail("no failed sync has noticed it")


def is_noticed(run: Recording, folder: Path) -> bool:
    return bool(next(run.cut_everywhere().broken(folder / "recovered"), ""))


def failing(which: int | str, under: Surroundings = PLAIN) -> Surroundings:
    """Return surroundings in which some syncs of each thread fail, counted from 1."""
    return replace(under, faults=(f"fsync,fdatasync:error=EIO:when={which}",))


def test_a_state_is_recovered_as_it_is(tmp_path):
    tree = (("data", 0o755, None), ("data/a", 0o640, b"x"))
    recovery.materialise(tree, tmp_path / "folder")
    assert (tmp_path / "folder/data/a").read_bytes() == b"x"
    assert (tmp_path / "folder/data/a").stat().st_mode & 0o777 == 0o640
