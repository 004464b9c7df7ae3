"""The checks of rights notice each rule of authorization that is broken in the real code."""

import asyncio

import pytest

from tests.support.planted import planted
from tests.verification.rights.mutants import MUTANTS

# A call that a broken rule lets run may wait for something that does not come.
_SECONDS = 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.rule)
async def test_a_broken_rule_of_rights_is_noticed(mutant):
    with planted(mutant), pytest.raises(AssertionError):
        await asyncio.wait_for(mutant.check(), _SECONDS)
    await mutant.check()
