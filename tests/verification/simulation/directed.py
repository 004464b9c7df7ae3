"""Written plans for coincidences that chance hardly ever draws. A seed still draws everything else."""

import random
from dataclasses import replace

from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.plans import Plan, Step
from tests.verification.simulation.store import GRACE, Weather

_SAVE = Step("", spec.SAVE, has_blob=True, patience=10 * GRACE, attempts=1)
_LOAD = replace(_SAVE, kind=spec.LOAD, has_blob=False)
_COLLECT = replace(_LOAD, kind=spec.COLLECT, keep_last=1)
_ROT = replace(_LOAD, kind=spec.ROT)
_REPAIR = replace(_LOAD, kind=spec.REPAIR)


def contested(seed: int) -> Plan:
    """Two writers of one revision: one wins it and pauses before it learns so, then the other wins it again."""
    stalls = {
        "0.0/0 PUT log #0": "unanswered",
        "0.0/0 GET log #1": "pause before:3.0",
        "5.0/0 PUT log #0": "pause before:2.6",
    }
    busy = {"server": 2}
    return Plan(
        Weather(seed, planned=stalls),
        (
            _script(0, replace(_SAVE, has_blob=False, server=0), 0.001),
            _script(1, replace(_SAVE, **busy), 0.0, 0.01, 0.01),
            _script(2, replace(_LOAD, **busy), 0.002, 3.1),
            _script(3, replace(_COLLECT, **busy), 0.03, 1.2, 1.1),
            _script(5, replace(_SAVE, server=1), 0.0005),
        ),
    )


def deleted_during_a_pause(seed: int) -> Plan:
    """A writer pauses for less than a grace before a revision that another one commits, deletes and has collected."""
    delete_all = replace(_SAVE, kind=spec.DELETE_ALL, has_blob=False, server=0)
    return Plan(
        Weather(seed, planned={"1.0/0 PUT log #0": "pause before:0.02"}),
        (
            (*_script(0, replace(_SAVE, server=0), 0.0), *_script(4, delete_all, 0.001)),
            (*_script(5, replace(_SAVE, server=0), 1.501), *_script(6, delete_all, 0.001)),
            _script(1, replace(_SAVE, server=1), 1.5),
            _script(2, replace(_LOAD, target="1.0", server=0), 1.53),
            _script(3, replace(_COLLECT, server=2), 1.503),
        ),
    )


def repaired_during_a_load(seed: int) -> Plan:
    """A load finds a damaged head, and goes on after a repair has fenced it and a writer has continued."""
    return Plan(
        Weather(seed, planned={"2.0/0 GET log #0": "pause after:0.003"}),
        (
            _script(0, _SAVE, 0.0, 0.001),
            _script(1, _SAVE, 0.005),
            _script(2, replace(_LOAD, falls_back=True), 0.003),
            _script(5, _ROT, 0.002),
            _script(6, _REPAIR, 0.004),
        ),
    )


def overtaken(seed: int) -> Plan:
    """A load falls back from a damaged checkpoint, and pauses until everything that it might find is collected."""
    request = f"2.0/0 GET log #{random.Random(seed).randrange(1, 4)}"
    return Plan(
        Weather(seed, planned={request: "pause before:2.5"}),
        (
            _script(0, _SAVE, 0.0, 0.001, 0.001, 0.001),
            _script(1, _SAVE, 0.006, 0.001),
            _script(2, replace(_LOAD, target="0.3", falls_back=True), 0.005),
            _script(3, _COLLECT, 0.03, 1.2, 1.1),
            _script(5, _ROT, 0.004),
        ),
    )


def purged_during_a_load(seed: int) -> Plan:
    """A load learns the newest checkpoint from the head, and pauses until that is purged."""
    purge = replace(_SAVE, kind=spec.DELETE, has_blob=False, purges=True)
    return Plan(
        Weather(seed, planned={"2.0/0 GET log #1": "pause before:0.003"}),
        (
            (*_script(0, _SAVE, 0.0, 0.001, 0.001), *_script(4, replace(purge, target="0.0"), 0.001)),
            _script(1, replace(purge, target="0.2"), 0.006),
            _script(2, _LOAD, 0.005),
        ),
    )


def purged_before_its_retry(seed: int) -> Plan:
    """A server dies after the commit of a save, and everything is purged before the next attempt."""
    purge = replace(_SAVE, kind=spec.DELETE_ALL, has_blob=False, purges=True)
    return Plan(
        Weather(seed, planned={"0.0/0 PUT log #0": "crash after"}),
        (_script(0, replace(_SAVE, attempts=3), 0.0), _script(1, purge, 0.00001)),
    )


def claimed_after_a_new_one(seed: int) -> Plan:
    """A save claims an id that a checkpoint has got long before, without a claim."""
    new = replace(_SAVE, checkpoint_id="x", is_fresh=True, has_blob=False)
    others = [
        replace(new, checkpoint_id="", is_fresh=False) if seed % 2 else replace(new, checkpoint_id=f"new-{each}")
        for each in "abcd"
    ]
    return Plan(
        Weather(seed),
        (
            _script(0, new, 0.0),
            *(_script(10 + index, other, 0.001 * (1 + index)) for index, other in enumerate(others)),
            _script(1, replace(new, is_fresh=False), 0.006),
            _script(2, replace(_LOAD, target="0.0"), 0.007),
        ),
    )


def rests_on_what_was_deleted(seed: int) -> Plan:
    """A save follows the deletion of the newest checkpoint, while a collection is about to remove its content."""
    save = replace(_resting(seed), has_blob=True)
    return Plan(
        Weather(seed, planned={"3.0/0 DELETE blob #0": "pause before:0.1"}),
        (
            (*_script(0, save, 0.0, 0.001), Step("1.0", spec.DELETE, target="0.1", rest=0.001)),
            _script(2, save, 1.25),
            _script(3, replace(_COLLECT, keep_last=9), 1.2),
        ),
    )


def indexed_after_damage(seed: int) -> Plan:
    """The marker of a new id rots before the index is written, and is not among the recent entries by then."""
    new = replace(_SAVE, checkpoint_id="x", is_fresh=True, has_blob=False, server=0)
    fence = replace(_LOAD, kind=spec.FENCE, server=1)
    return Plan(
        Weather(seed, planned={"1.0/0 PUT idx #0": "crash before"}),
        (
            _script(0, new, 0.0),
            _script(1, replace(new, checkpoint_id="y"), 0.001),
            _script(5, _ROT, 0.003),
            _script(6, fence, 0.002, 0.002, 0.001, 0.001),
            _script(7, replace(new, checkpoint_id="z", server=2), 0.008),
            _script(8, replace(new, checkpoint_id="w", server=2), 0.009),
            _script(2, replace(_LOAD, target="0.0"), 0.01),
            _script(3, replace(_LOAD, target="1.0"), 0.01),
        ),
    )


def purged_below_others(seed: int) -> Plan:
    """Checkpoints rest on one that is purged. The purge dies or pauses somewhere, while others save and load."""
    chance, save = random.Random(seed), _resting(seed)
    moments = ("pause before:0.002", "pause after:0.002", "crash before", "crash after")
    stalls = {
        f"1.0/0 {chance.choice(('PUT log #0', 'REPLACE log #0', 'REPLACE log #1'))}": chance.choice(moments),
        "5.0/0 PUT log #0": chance.choice(("pause before:0.002", "")),
        f"2.0/0 GET {chance.choice(('log #0', 'log #1', 'blob #0', 'blob #1'))}": "pause before:0.003",
    }
    purge = Step("1.0", spec.DELETE, target="0.0", purges=True, patience=10 * GRACE, attempts=1, rest=0.006, server=1)
    return Plan(
        Weather(seed, planned={place: moment for place, moment in stalls.items() if moment}),
        (
            _script(0, replace(save, server=0), 0.0, 0.001, 0.001),
            (purge,),
            _script(2, _LOAD, 0.005, 0.002),
            _script(5, replace(save, server=0), chance.choice((0.0058, 0.0065)), 0.001),
            _script(3, replace(_COLLECT, keep_last=9), 0.03),
        ),
    )


def damaged_index(seed: int) -> Plan:
    """An object of the index of ids rots or is lost."""
    new = replace(_SAVE, is_fresh=True, has_blob=False)
    saves = (_script(10 + each, replace(new, checkpoint_id=f"new-{each}"), 0.001 * each) for each in range(6))
    loads = (_script(20 + each, replace(_LOAD, target=f"{10 + each}.0"), 0.01) for each in range(2))
    return Plan(Weather(seed), (*saves, _script(5, _ROT, 0.008), *loads))


def promised_twice(seed: int) -> Plan:
    """Two saves have the same id, and both promise that it is new."""
    new = replace(_SAVE, checkpoint_id="x", is_fresh=True, has_blob=False)
    return Plan(
        Weather(seed), (_script(0, new, 0.0), _script(1, new, 0.001), _script(2, replace(_LOAD, target="0.0"), 0.002))
    )


def _resting(seed: int) -> Step:
    return replace(_SAVE, rests=True, has_blob=seed % 2 == 0)


def _script(client: int, step: Step, *rests: float) -> tuple[Step, ...]:
    return tuple(replace(step, name=f"{client}.{index}", rest=rest) for index, rest in enumerate(rests))
