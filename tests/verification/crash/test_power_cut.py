"""After any power cut a folder store has everything that was acknowledged before, and works.

The tests record the system calls of real servers, and recover from each state that a cut after any of them may leave.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import pytest
from holdfast_server.stores.folders import MARK

from tests.support.budget import all_with_full_budget, full
from tests.verification.crash import cuts, recovery
from tests.verification.crash.disk import Change, File, Folder, Sync
from tests.verification.crash.mutants import MUTANTS
from tests.verification.crash.scenarios import (
    Before,
    Cuts,
    Surroundings,
    gone_on_from,
    near_the_end_of_a_folder,
    record,
)
from tests.verification.crash.scripts import NOTES, STORE

pytestmark = [pytest.mark.usefixtures("strace"), pytest.mark.timeout(600)]

# Slow enough for each server to find the other one in the middle of the same work.
SLOW_SYNCS = ("fsync,fdatasync:delay_enter=5000",)
# One of each thread's first syncs fails, and every fifth or so after it.
FAILING_SYNCS = ("1+5", "3+6", "4+9")
# A store that could not be made durable, and whose maker died before removing it, looks like any other: begin with one.
EMPTY_STORE = Before((("data", 0o755, None), (STORE, 0o755, None)))


@pytest.fixture(params=[pytest.param(True, id="nameless"), full(False, id="named")])
def under(request: pytest.FixtureRequest) -> Surroundings:
    """The two ways to make an invisible file."""
    if not request.param:
        request.getfixturevalue("mounting")
    return Surroundings(has_proc=request.param)


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


def test_a_cut_at_any_moment_of_a_stores_life_loses_nothing(under, folder, require_unbroken):
    found = record("life", folder / "run", under).cut_everywhere()
    require_unbroken(found, at_least=90)


def test_a_cut_while_two_servers_make_the_same_folders_loses_nothing(under, folder, require_unbroken):
    run = record("together", folder / "run", replace(under, faults=SLOW_SYNCS))
    # Each server has met folders and names of the other.
    for name in ("mkdirat", "linkat"):
        assert sum(call.name == name and call.error == "EEXIST" for call in run.calls) >= 4
    require_unbroken(run.cut_everywhere(), at_least=150)


def test_a_server_that_stops_anywhere_leaves_nothing_that_misleads_the_next_one(under, folder, require_unbroken):
    first = record("life" if under.has_proc else "saves", folder / "first", under)
    found = gone_on_from(first, "goes_on", folder / "second", under)
    require_unbroken(found, at_least=300)


@pytest.mark.needs_budget("full")
def test_a_log_stays_whole_when_it_enters_its_next_folder(under, folder, require_unbroken):
    first = record("saves", folder / "first", under, near_the_end_of_a_folder())
    found = gone_on_from(first, "goes_on", folder / "second", under)
    require_unbroken(found, at_least=300)


@pytest.mark.parametrize(("script", "which"), [("life", "1+5"), full("together", "3+6"), full("together", "4+9")])
def test_a_failed_sync_never_counts_as_a_successful_one(script, which, under, folder, require_unbroken):
    found = record(script, folder / "run", failing(which, under)).cut_everywhere()
    require_unbroken(found, at_least=90)


@pytest.mark.needs_budget("full")
def test_a_server_that_stops_after_a_failed_sync_misleads_no_other_server(under, folder, require_unbroken):
    first = record("saves", folder / "first", failing("2+6", under), EMPTY_STORE)
    found = gone_on_from(first, "goes_on", folder / "second", under)
    require_unbroken(found, at_least=300)


def test_the_model_sees_what_the_kernel_sees(under, folder):
    run = record("together", folder / "run", under)
    replay, calls = run.replay(lambda sync: sync)
    for _ in calls:
        pass
    real = {
        str(path.relative_to(run.folder)): (path.stat().st_mode & MARK, path.read_bytes() if path.is_file() else None)
        for path in run.folder.rglob("*")
        if path.name != NOTES
    }
    assert {path: (mode & MARK, content) for path, mode, content in cuts.as_seen(replay.disk)} == real


# Tests of the check itself.


def names_of(kind: type) -> object:
    return lambda sync, change: isinstance(change.node, kind)


def is_of_the_store(sync: Sync, change: Change) -> bool:
    return change.name in Path(STORE).parts


# The changes of names that a sync does not make durable. None: the content of a file.
UNHEARD = {
    "content of a file": None,
    "name of a file": names_of(File),
    "name of a folder": names_of(Folder),
    "name of the store": is_of_the_store,
}


def deaf_to(kind: str):
    is_unheard = UNHEARD[kind]

    def hearing(sync: Sync) -> Sync:
        if is_unheard is None:
            return replace(sync, content=None)
        return replace(sync, changes=tuple(change for change in sync.changes if not is_unheard(sync, change)))

    return hearing


@pytest.mark.parametrize("kind", [full(File), full(Folder)])
def test_files_of_a_stopped_server_do_not_count_as_durable(kind, under, folder):
    def deaf(sync: Sync) -> Sync:
        of_others = [each for each in sync.changes if each.maker != sync.process and isinstance(each.node, kind)]
        return replace(sync, changes=tuple(each for each in sync.changes if each not in of_others))

    first = record("saves", folder / "first", under, EMPTY_STORE)
    found = gone_on_from(first, "goes_on", folder / "second", under, deaf)
    assert not next(found.broken(folder / "recovered"), "")


@pytest.mark.parametrize("kind", UNHEARD)
def test_an_omitted_kind_of_sync_is_noticed(kind, under, folder):
    found = record("saves", folder / "run", under).cut_everywhere(deaf_to(kind))
    assert next(found.broken(folder / "recovered"), "")


def test_a_checkpoint_acknowledged_before_its_file_has_a_name_is_noticed(under, folder):
    found = record("saves", folder / "run", under).with_early_notes().cut_everywhere()
    assert "is lost" in next(found.broken(folder / "recovered"), "")


def test_a_removal_that_a_cut_undoes_does_no_harm(under, folder):
    def deaf(sync: Sync) -> Sync:
        return replace(sync, changes=tuple(change for change in sync.changes if change.node is not None))

    found = record("life", folder / "run", under).cut_everywhere(deaf)
    assert not next(found.broken(folder / "recovered"), "")


@pytest.mark.parametrize("mutant", all_with_full_budget(MUTANTS, small=2), ids=lambda each: each.rule)
def test_a_broken_rule_of_durability_in_the_code_is_noticed(mutant, folder):
    planted = Surroundings(is_alone=True, planted=mutant.rule)
    assert any(next(found.broken(folder / "recovered"), "") for found in searched(planted, folder))


@pytest.mark.parametrize(
    "rule",
    [full("existing folder treated as durable"), full("read file treated as durable")],
)
def test_a_server_that_trusts_the_files_of_a_stopped_one_is_noticed(rule, folder):
    first = record("saves", folder / "first")
    found = gone_on_from(first, "goes_on", folder / "second", Surroundings(planted=rule))
    assert "is lost" in next(found.broken(folder / "recovered"), "")


def searched(planted: Surroundings, folder: Path) -> Iterator[Cuts]:
    """Yield scenarios that may notice a broken rule, the quick ones first."""
    yield record("saves", folder / "two", failing("3+7", planted)).cut_everywhere()
    yield record("life", folder / "life", planted).cut_everywhere()
    first = record("saves", folder / "first")
    yield gone_on_from(first, "goes_on", folder / "second", planted)
    for which in FAILING_SYNCS:
        yield record("together", folder / which, failing(which, planted)).cut_everywhere()


def failing(which: str, under: Surroundings) -> Surroundings:
    return replace(under, faults=(f"fsync,fdatasync:error=EIO:when={which}",))


def test_a_state_is_recovered_as_it_is(tmp_path):
    tree = (("data", 0o755, None), ("data/a", 0o1644, b"x"))
    recovery.materialise(tree, tmp_path / "folder")
    assert (tmp_path / "folder/data/a").read_bytes() == b"x"
    assert (tmp_path / "folder/data/a").stat().st_mode & MARK
