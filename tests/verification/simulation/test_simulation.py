"""The real protocol code keeps its promises over a store that fails, and a broken rule in it is noticed."""

import os
from collections.abc import Callable

import pytest

from tests.support.budget import amount
from tests.support.planted import planted
from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.directed import (
    claimed_after_a_new_one,
    contested,
    damaged_index,
    deleted_during_a_pause,
    indexed_after_damage,
    overtaken,
    promised_twice,
    purged_before_its_retry,
    purged_below_others,
    purged_during_a_load,
    repaired_during_a_load,
    rests_on_what_was_deleted,
)
from tests.verification.simulation.linearizability import Checkpoint, Operation, unexplained
from tests.verification.simulation.mutants import MUTANTS
from tests.verification.simulation.plans import (
    Plan,
    Step,
    colliding,
    comparing,
    copying,
    freshening,
    planned,
    purging,
    recording,
    replacing,
    resting,
    tampering,
)
from tests.verification.simulation.resting_mutants import RESTING
from tests.verification.simulation.shrink import shrink
from tests.verification.simulation.store import PROCESS_FAULTS, Weather
from tests.verification.simulation.workload import Outcome, run

SEEDS = int(os.environ.get("HOLDFAST_SIMULATION_SEEDS", amount(small=120, full=3000)))
# Per test, so that processes can share the seeds.
CHUNK = 500


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_seed_keeps_every_promise(first):
    require_every_promise(planned, range(first, min(first + CHUNK, SEEDS)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS // 3, CHUNK))
def test_every_seed_keeps_every_promise_where_checkpoints_are_replaced_and_pruned(first):
    require_every_promise(replacing, range(first, min(first + CHUNK, SEEDS // 3)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS // 3, CHUNK))
def test_every_seed_keeps_every_promise_where_digests_of_recent_entries_collide(first):
    require_every_promise(colliding, range(first, min(first + CHUNK, SEEDS // 3)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS // 3, CHUNK))
def test_every_seed_keeps_every_promise_where_ids_are_new(first):
    require_every_promise(freshening, range(first, min(first + CHUNK, SEEDS // 3)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS // 3, CHUNK))
def test_every_seed_keeps_every_promise_where_saves_require_revisions(first):
    require_every_promise(comparing, range(first, min(first + CHUNK, SEEDS // 3)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS // 3, CHUNK))
def test_every_seed_keeps_every_promise_where_deletions_purge(first):
    require_every_promise(purging, range(first, min(first + CHUNK, SEEDS // 3)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS // 6, CHUNK))
def test_every_seed_keeps_every_promise_where_checkpoints_rest_on_others(first):
    require_every_promise(resting, range(first, min(first + CHUNK, SEEDS // 6)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS // 3, CHUNK))
def test_every_seed_keeps_every_promise_where_records_are_attached(first):
    require_every_promise(recording, range(first, min(first + CHUNK, SEEDS // 3)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, 4 * (SEEDS // 3), 4 * CHUNK))
def test_every_seed_keeps_every_promise_where_objects_are_forged(first):
    require_every_promise(tampering, range(first, min(first + 4 * CHUNK, 4 * (SEEDS // 3)), 4))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS // 3, CHUNK))
def test_every_seed_keeps_every_promise_where_the_workflow_is_copied(first):
    require_every_promise(copying, range(first, min(first + CHUNK, SEEDS // 3)))


@pytest.mark.parametrize(
    "plan",
    [
        claimed_after_a_new_one,
        contested,
        damaged_index,
        deleted_during_a_pause,
        indexed_after_damage,
        overtaken,
        promised_twice,
        purged_before_its_retry,
        purged_below_others,
        purged_during_a_load,
        repaired_during_a_load,
        rests_on_what_was_deleted,
    ],
)
def test_every_written_plan_keeps_every_promise(plan):
    for seed in range(amount(small=40, full=200)):
        if run(plan(seed)).violation:
            pytest.fail(described(seed, plan(seed)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", [*MUTANTS, *RESTING], ids=lambda each: each.rule)
def test_a_rule_broken_in_the_real_code_is_noticed(mutant):
    with planted(mutant):
        found = next((seed for seed in mutant.seeds if run(mutant.plan(seed)).violation), None)
        assert found is not None, f"no seed notices: {mutant.rule}"
        # A mutant that cannot run would be noticed by any seed.
        assert "Error(" not in run(mutant.plan(found)).violation
    assert not run(mutant.plan(found)).violation


@pytest.mark.parametrize("moment", [each for each in PROCESS_FAULTS if each.startswith("crash")])
def test_a_crash_at_any_request_of_a_save_loses_nothing(moment):
    scripts = (
        (Step("0.0", spec.SAVE), Step("0.1", spec.SAVE, checkpoint_id="x", has_blob=True), Step("0.2", spec.LOAD)),
        (Step("1.0", spec.SAVE, compares=True), Step("1.1", spec.DELETE, target="0.1")),
        (Step("3.0", spec.COLLECT, keep_last=1, attempts=1),),
    )
    quiet = run(Plan(Weather(1), scripts))
    assert not quiet.violation
    assert quiet.network is not None
    requests = [each for each in quiet.network.requests if each[0] != " "]
    assert len(requests) > 10
    for request in requests:
        outcome = run(Plan(Weather(1, planned={request: moment}), scripts))
        assert outcome.network is not None
        assert outcome.network.struck == [request]
        assert not outcome.violation, (request, outcome.violation)


def test_a_seed_gives_the_same_run_again():
    first, second = run(planned(3)), run(planned(3))
    assert first.trace == second.trace
    assert [str(each) for each in first.history] == [str(each) for each in second.history]


def test_a_failure_is_shrunk_to_a_few_steps():
    mutant = next(each for each in MUTANTS if each.rule == "no compare-and-set")
    with planted(mutant):
        seed = next(seed for seed in mutant.seeds if run(planned(seed)).violation)
        plan = shrink(planned(seed), run)
        assert run(plan).violation
    assert len(plan.steps) < len(planned(seed).steps)
    assert len(plan.steps) <= 4


def test_a_read_of_what_was_overwritten_before_it_began_is_not_linearizable():
    saves = [
        Operation("a", spec.SAVE, value="a", began=0, ended=1, revision=1),
        Operation("b", spec.SAVE, value="b", began=2, ended=3, revision=2),
    ]
    stale = Operation("c", spec.LOAD, began=4, ended=5, revision=1, answer="a")
    assert unexplained([*saves, stale]) == [stale]
    assert unexplained([*saves, Operation("c", spec.LOAD, began=2.5, ended=5, revision=1, answer="a")]) == []


def test_an_unknown_outcome_may_come_to_pass_later_or_never():
    lost = Operation("a", spec.SAVE, value="a", began=0)
    nothing = Operation("b", spec.LOAD, began=1, ended=2, error="WORKFLOW_NOT_FOUND")
    late = Operation("c", spec.PAGE, began=3, ended=4, revision=1, listed=[Checkpoint(1, "", "a")])
    assert unexplained([lost, nothing]) == []
    assert unexplained([lost, nothing, late]) == []
    gone = Operation("d", spec.LOAD, began=5, ended=6, error="CHECKPOINT_NOT_FOUND")
    assert unexplained([lost, nothing, late, gone]) == [gone]


def require_every_promise(plan: Callable[[int], Plan], seeds: range) -> None:
    """Run the plans of some seeds. Fail with the shortest plan that still breaks a promise."""
    for seed in seeds:
        if run(plan(seed)).violation:
            pytest.fail(described(seed, shrink(plan(seed), run)))


def described(seed: int, plan: Plan) -> str:
    """Return the violation, the history and the trace of a seed."""
    outcome: Outcome = run(plan)
    return "\n".join([f"seed {seed}: {outcome.violation}", *map(str, outcome.history), *outcome.trace])
