"""Whatever a program without the key writes into the bucket is noticed, reported, and never served or obeyed."""

import random

import pytest

from tests.support.budget import all_with_full_budget, amount
from tests.support.planted import planted
from tests.verification.tampering.adversary import attacks, must_be_reported
from tests.verification.tampering.mutants import MUTANTS
from tests.verification.tampering.world import ViolationError, World

SEEDS = amount(small=10, full=1500)
# Of which one must notice a mutant.
MUTANT_SEEDS = 150
_FOREIGN = "another store"


async def violation_of(seed: int) -> str:
    """Return the promise that an attack breaks; "" if none."""
    chance = random.Random(seed)
    world, foreign = World(), World(_FOREIGN)
    done: list[str] = []
    try:
        await world.grow(chance)
        await foreign.grow(chance)
        await world.observe(may_fail=False)
        if await world.check():
            raise ViolationError("fsck reports objects of a server")
        found = list(attacks(world, foreign, chance, chance.randint(1, 3)))
        before = {each.path: world.objects.get(each.path, (None, 0))[0] for each in found}
        for attack in found:
            done.append(f"{attack.path}: {attack.how}")
            world.store.objects.write(attack.path, attack.data)
        await world.observe(may_fail=True)
        reported = await world.check()
        for attack in filter(must_be_reported, found):
            if attack.path not in reported:
                raise ViolationError(f"fsck does not report {attack.path}")
        await world.collect()
        if chance.random() < 0.5:
            await world.go_on(chance)
            await world.observe(may_fail=True)
        # Whatever the attack made collections and saves do, nothing else is lost.
        for path, data in before.items():
            if data is None:
                world.store.objects.delete(path)
            else:
                world.store.objects.write(path, data)
        await world.observe(may_fail=False)
    except ViolationError as error:
        return f"{error} after {done}"
    return ""


@pytest.mark.timeout(600)
async def test_no_attack_is_served_and_none_makes_a_server_remove_anything():
    for seed in range(SEEDS):
        found = await violation_of(seed)
        assert not found, f"seed {seed}: {found}"


async def test_a_marker_of_a_history_that_was_rolled_back_is_reported():
    world = World()
    await world.grow(random.Random(1))
    follower = await world.fork()
    assert await world.check() == {follower}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", all_with_full_budget(MUTANTS, small=3), ids=lambda each: each.rule)
async def test_a_broken_rule_is_noticed(mutant):
    with planted(mutant):
        for seed in range(MUTANT_SEEDS):
            if await violation_of(seed):
                return
    pytest.fail(f"no seed notices: {mutant.rule}")
