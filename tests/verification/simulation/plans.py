"""The plan of a run: the scripts of its clients, and the faults, all drawn from one seed."""

import random
from dataclasses import dataclass, replace
from itertools import chain

from tests.verification.simulation import linearizability as spec
from tests.verification.simulation.store import GRACE, PROCESS_FAULTS, READ_FAULTS, WRITE_FAULTS, Weather

_NASTY = (
    "pause before PUT log",
    "pause after PUT blob",
    "pause after PUT log",
    "pause after GET log",
    "pause before GET blob",
    "pause before DELETE blob",
    "pause before DELETE log",
    "late PUT log",
    "late DELETE log",
    "late DELETE id",
    "refused PUT log",
    "unanswered PUT log",
    "crash after PUT log",
)


@dataclass(frozen=True)
class Step:
    """One request of a client.

    Attributes:
        name: unique in the run.
        kind: the kind of operation.
        target: the step whose checkpoint is loaded or deleted; "": the newest.
        checkpoint_id: the chosen id of a save, or the id for records.
        compares: whether a save requires the revision that the client knows.
        lags: how many revisions the client knows that are newer than the one it requires.
        boasts: whether a save names an epoch above its client's own.
        leases: whether a fence asks for a lease.
        forces: whether a fence evicts the holder of a lease.
        has_blob: whether the payload goes into a blob.
        keep_last: how many checkpoints a collection or a prune keeps.
        replaces: whether a save replaces the checkpoint with its id.
        patience: seconds before an attempt is given up.
        attempts: the number of attempts.
        falls_back: whether a load may fall back.
        rest: the pause before it, in graces; None: as in the plan.
        size: the size of a page.
        server: which of the three servers; None: any.
        reads_records: whether a load reads the records too.
        pinned: whether a save pins its checkpoint.
        purges: whether a deletion purges.
        is_fresh: whether a save promises that its id is new.
        rests: whether a save is long enough to be stored as a delta.

    """

    name: str
    kind: str
    target: str = ""
    checkpoint_id: str = ""
    compares: bool = False
    lags: int = 0
    boasts: bool = False
    leases: bool = False
    forces: bool = False
    has_blob: bool = False
    keep_last: int = 2
    replaces: bool = False
    patience: float = 60.0
    attempts: int = 4
    falls_back: bool = False
    rest: float | None = None
    size: int = 2
    server: int | None = None
    reads_records: bool = False
    pinned: bool = False
    purges: bool = False
    is_fresh: bool = False
    rests: bool = False


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes:
        weather: the faults.
        scripts: the steps of each client.
        hurry: how often a step begins without a pause.
        naps: the other pauses, in graces.
        collides: whether the digests of recent entries have two values only.
        upgrades: how many servers start before the store's format is upgraded.
        keyed: whether the store has MACs, so that damage may be forgery.

    """

    weather: Weather
    scripts: tuple[tuple[Step, ...], ...]
    hurry: float = 0.5
    naps: tuple[float, ...] = (1e-4, 0.03, 0.3, 1.1)
    collides: bool = False
    upgrades: int = 0
    keyed: bool = False

    @property
    def steps(self) -> list[Step]:
        return [step for script in self.scripts for step in script]


def planned(seed: int) -> Plan:
    """Return the plan of a seed: one of four kinds in turn."""
    return (_hurried, _lasting, _stalled, _damaged)[seed % 4](seed, random.Random(seed))


def replacing(seed: int) -> Plan:
    """Return the plan of a seed in which saves replace each other or are pinned, and some deletions are prunes."""
    plan, chance = planned(seed), random.Random(f"{seed} replacing")

    def changed(step: Step) -> Step:
        draw = chance.random()
        if step.kind == spec.SAVE and draw < 0.6:
            chosen = step.checkpoint_id or chance.choice("xyz")
            return replace(step, checkpoint_id=chosen, replaces=draw < 0.5, pinned=draw < 0.1)
        is_pruned = step.kind in (spec.DELETE, spec.DELETE_ALL, spec.PAGE) and draw < 0.5
        return replace(step, kind=spec.PRUNE, keep_last=chance.choice((1, 2, 3))) if is_pruned else step

    return replace(plan, scripts=tuple(tuple(map(changed, script)) for script in plan.scripts))


def colliding(seed: int) -> Plan:
    """Return the plan of `replacing` with digests of recent entries that collide, in some runs after an upgrade."""
    chance = random.Random(f"{seed} colliding")
    return replace(replacing(seed), collides=True, upgrades=chance.choice((0, 0, 1, 2, 3)))


def purging(seed: int) -> Plan:
    """Return the plan of `replacing` with more deletions, which purge."""
    plan, chance = replacing(seed), random.Random(f"{seed} purging")

    def changed(step: Step) -> Step:
        often = {spec.PAGE: 0.5, spec.LOAD: 0.3, spec.SAVE: 0.15}.get(step.kind, 0.0)
        if chance.random() < often:
            step = replace(step, kind=spec.DELETE, checkpoint_id="", replaces=False)
        is_deletion = step.kind in (spec.DELETE, spec.DELETE_ALL)
        return replace(step, purges=chance.random() < 0.8) if is_deletion else step

    return replace(plan, scripts=tuple(tuple(map(changed, script)) for script in plan.scripts))


def freshening(seed: int) -> Plan:
    """Return the plan of a seed in which most saves have new ids, and loads are by their ids."""
    plan, chance = (replacing if seed % 8 < 4 else planned)(seed), random.Random(f"{seed} freshening")

    def changed(step: Step) -> Step:
        if step.kind == spec.SAVE and not step.checkpoint_id and chance.random() < 0.9:
            return replace(step, checkpoint_id=f"new-{step.name}", is_fresh=True)
        if step.kind in (spec.LOAD, spec.PAGE) and chance.random() < 0.7:
            target = f"{chance.randrange(2)}.{chance.randrange(6)}"
            return replace(step, kind=spec.LOAD, target=target, falls_back=chance.random() < 0.1)
        return step

    return replace(plan, scripts=tuple(tuple(map(changed, script)) for script in plan.scripts))


def resting(seed: int) -> Plan:
    """Return the plan of `purging` or `copying` in which most saves are stored as deltas."""
    chance = random.Random(f"{seed} resting")
    plan, often = chance.choice((replacing, purging, purging, copying))(seed), chance.choice((0.6, 1.0, 1.0))

    def changed(step: Step) -> Step:
        return replace(step, rests=step.kind == spec.SAVE and chance.random() < often)

    return replace(plan, scripts=tuple(tuple(map(changed, script)) for script in plan.scripts))


def comparing(seed: int) -> Plan:
    """Return the plan of a seed in which saves and fences require revisions, beside prunes and collections."""
    plan, chance, leasing = planned(seed), random.Random(f"{seed} comparing"), random.Random(f"{seed} leasing")

    def changed(step: Step) -> Step:
        if step.kind == spec.SAVE:
            lags, boasts = chance.choice((0, 0, 1, 2)), chance.random() < 0.1
            return replace(step, compares=chance.random() < 0.8, lags=lags, boasts=boasts)
        draw = chance.random()
        if step.kind == spec.PAGE and draw < 0.5:
            step = replace(step, kind=chance.choice((spec.PRUNE, spec.FENCE)), keep_last=1)
        elif step.kind == spec.LOAD and draw < 0.3:
            step = replace(step, kind=spec.FENCE)
        if step.kind == spec.FENCE:
            leases, forces = leasing.random() < 0.6, leasing.random() < 0.3
            return replace(step, compares=chance.random() < 0.5, leases=leases, forces=forces)
        return step

    return replace(plan, scripts=tuple(tuple(map(changed, script)) for script in plan.scripts))


def tampering(seed: int) -> Plan:
    """Return the plan of a seed in which objects of a store with MACs are forged, or rot."""
    # Every fourth seed has damage.
    plan = (freshening if seed % 8 < 4 else planned)(seed | 3)
    return replace(plan, keyed=True)


def recording(seed: int) -> Plan:
    """Return the plan of `replacing` in which records are attached, and loaded with checkpoints."""
    plan, chance = replacing(seed), random.Random(f"{seed} recording")
    often = chance.choice((0.3, 0.6))

    def changed(step: Step) -> list[Step]:
        chosen = chance.choice("xy")
        if step.kind == spec.LOAD:
            return [replace(step, checkpoint_id=chosen, falls_back=False, reads_records=True)]
        if step.kind != spec.SAVE:
            return [step]
        attach = Step(f"{step.name}a", spec.ATTACH, checkpoint_id=step.checkpoint_id or chosen, attempts=step.attempts)
        both = [attach, step] if chance.random() < 0.5 else [step, attach]
        return both if chance.random() < often else [step]

    return replace(plan, scripts=tuple(tuple(chain.from_iterable(map(changed, script))) for script in plan.scripts))


def copying(seed: int) -> Plan:
    """Return the plan of `recording` in which the workflow is copied, and the copy collected."""
    plan, chance = recording(seed), random.Random(f"{seed} copying")
    patience = chance.choice((60, 3600, 2 * GRACE, 10 * GRACE))
    rest = chance.choice((1e-5, 1e-4, 0.03, 0.3))
    copy = Step("8.0", spec.COPY, patience=patience, attempts=chance.choice((1, 4, 8)), rest=rest)
    collect_ = Step("", spec.COLLECT_COPY, keep_last=1000, patience=10 * GRACE, attempts=1)
    collections = tuple(replace(collect_, name=f"9.{index}") for index in range(chance.choice((0, 3, 6))))
    return replace(plan, scripts=(*plan.scripts, (copy,), collections))


def _hurried(seed: int, chance: random.Random) -> Plan:
    """Return a plan with many faults of a few kinds, in overlapping operations."""
    rates, scripts = _rates(chance), _scripts(chance, collections=chance.choice((0, 2, 5)))
    hurry = chance.choice((0.2, 0.5, 0.9))
    weather = Weather(seed, rates, storms=_storms(chance), deaths=_deaths(chance))
    return Plan(weather, scripts, hurry=hurry)


def _lasting(seed: int, chance: random.Random) -> Plan:
    """Return a plan of days, with the faults that interfere most with collections."""
    rates = {each: rate / 3 for each, rate in _rates(chance).items()}
    rates |= dict.fromkeys(chance.sample(_NASTY, chance.choice((1, 2, 3))), 0.3)
    return Plan(Weather(seed, rates), _scripts(chance, collections=9), hurry=chance.choice((0.1, 0.5)))


def _stalled(seed: int, chance: random.Random) -> Plan:
    """Return a plan in which a writer, a reader and a collection pause somewhere, while all others go on for graces."""
    victim = f"0.{chance.randrange(5)}/0"
    collector = f"{chance.choice((3, 4))}.{chance.randrange(14)}/0"
    places = {
        f"{victim} {chance.choice(('PUT log #0', 'PUT log #0', 'PUT blob #0'))}": (0.02, 0.06, 1.2, 2.5, 4.0),
        f"{victim} {chance.choice(('GET log #0', 'GET log #1'))}": (1.2, 2.5, 4.0),
        f"2.0/0 {chance.choice(('GET log #0', 'GET blob #0'))}": (1.2, 2.5, 4.0),
        f"{collector} {chance.choice(('PUT log #0', 'LIST blob #0'))}": (0.3, 1.2, 2.5),
    }
    stalls = {
        place: f"pause {_moment(place, chance)}:{chance.choice(graces)}"
        for place, graces in places.items()
        if chance.random() < 0.7
    }
    save = Step("", spec.SAVE, has_blob=True, attempts=4)
    deletes = chance.choice((0, 0, 0.4))
    steady = tuple(
        replace(save, name=f"1.{index}", kind=spec.DELETE_ALL if chance.random() < deletes else spec.SAVE)
        for index in range(16)
    )
    collect_ = Step("", spec.COLLECT, keep_last=1, patience=10 * GRACE, attempts=1)
    return Plan(
        Weather(seed, planned=stalls),
        (
            tuple(replace(save, name=f"0.{index}", patience=10 * GRACE, attempts=2) for index in range(5)),
            steady,
            (Step("2.0", spec.LOAD, patience=10 * GRACE, attempts=1),),
            *(tuple(replace(collect_, name=f"{client}.{index}") for index in range(14)) for client in (3, 4)),
        ),
        hurry=0.1,
        naps=chance.choice(((0.003, 0.01, 0.03, 0.6), (0.003, 0.1, 0.3, 0.6))),
    )


def _damaged(seed: int, chance: random.Random) -> Plan:
    """Return a plan in which an object rots beside saves, loads, lists, repairs and a collection or two."""

    def read(index: int) -> Step:
        target = chance.choice(("", f"{index % 2}.{index}"))
        return Step(f"7.{index}", spec.LOAD, target=target, falls_back=chance.random() < 0.7)

    scripts = _scripts(chance, collections=chance.choice((0, 0, 3)))
    rots = tuple(Step(f"5.{index}", spec.ROT, attempts=1) for index in range(chance.choice((1, 1, 2))))
    repair = Step("", spec.REPAIR, patience=10 * GRACE, attempts=1)
    repairs = tuple(replace(repair, name=f"6.{index}") for index in range(chance.choice((0, 1, 2))))
    readers = tuple(read(index) for index in range(6))
    rates = {each: rate / 3 for each, rate in _rates(chance).items()}
    rates["pause after GET log"] = chance.choice((0.0, 0.0, 0.1))
    return Plan(Weather(seed, rates), (*scripts, rots, repairs, readers), hurry=chance.choice((0.2, 0.8, 1.0)))


def _storms(chance: random.Random) -> tuple[tuple[float, float, str], ...]:
    """Return the times in which every request fails in the same way."""
    kinds = [each for each in (*WRITE_FAULTS, *READ_FAULTS) if each not in ("slow", "doubled")]
    found = []
    for _ in range(chance.choice((0, 0, 1, 3))):
        first = 10 ** chance.uniform(0, 5)
        found.append((first, first + 10 ** chance.uniform(0, 4), chance.choice(kinds)))
    return tuple(found)


def _deaths(chance: random.Random) -> dict[int, int]:
    return {server: chance.randint(1, 200) for server in range(6) if chance.random() < 0.1}


def _moment(place: str, chance: random.Random) -> str:
    if "PUT log" in place:
        return chance.choice(("before", "before", "after"))
    return "after"


def _rates(chance: random.Random) -> dict[str, float]:
    busy = chance.choice((0.0, 0.02, 0.06, 0.12))
    kinds = (*WRITE_FAULTS, *READ_FAULTS, *PROCESS_FAULTS)
    return {kind: busy * chance.choice((0.0, 0.0, 0.3, 1.0)) for kind in kinds}


def _scripts(chance: random.Random, *, collections: int) -> tuple[tuple[Step, ...], ...]:
    keep_last = chance.choice((1, 1, 2, 4))
    has_blobs, compares, chooses = chance.random(), chance.choice((0.0, 0.6)), chance.choice((0.0, 0.4))

    def script(client: int, length: int, kinds: dict[str, int]) -> tuple[Step, ...]:
        return tuple(step(f"{client}.{index}", kinds) for index in range(length))

    def step(name: str, kinds: dict[str, int]) -> Step:
        kind = chance.choices(list(kinds), list(kinds.values()))[0]
        return Step(
            name=name,
            kind=kind,
            target=chance.choice(("", f"{chance.randrange(2)}.{chance.randrange(8)}")),
            checkpoint_id=chance.choice("xyz") if kind == spec.SAVE and chance.random() < chooses else "",
            compares=chance.random() < compares,
            has_blob=chance.random() < has_blobs,
            keep_last=keep_last,
            # A collection has no caller that gives up. Each appends at most once, since it is never retried.
            patience=10 * GRACE if kind == spec.COLLECT else chance.choice((0.2, 60, 3600, 2 * GRACE)),
            attempts=1 if kind == spec.COLLECT else chance.choice((1, 3, 6)),
            falls_back=chance.random() < 0.3,
        )

    writes = {
        spec.SAVE: 12,
        spec.LOAD: 2,
        spec.PAGE: 2,
        spec.FENCE: chance.choice((0, 2)),
        spec.DELETE: chance.choice((0, 2)),
        spec.DELETE_ALL: chance.choice((0, 0, 2)),
    }
    return (
        script(0, chance.randint(2, 8), writes),
        script(1, chance.randint(2, 8), writes),
        script(2, chance.randint(1, 5), {spec.LOAD: 2, spec.PAGE: 1}),
        script(3, collections, {spec.COLLECT: 1}),
        script(4, collections, {spec.COLLECT: 1}),
    )


def without(plan: Plan, names: set[str]) -> Plan:
    """Return the plan without some of its steps."""
    scripts = tuple(tuple(step for step in script if step.name not in names) for script in plan.scripts)
    return replace(plan, scripts=scripts)
