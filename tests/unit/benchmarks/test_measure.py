import asyncio
from contextlib import asynccontextmanager

from benchmarks.measure import Effort, Figure, Subject, compare


def test_a_ratio_is_the_median_of_the_ratios_of_each_round():
    ours, theirs = Figure(rates=[10.0, 100.0, 30.0]), Figure(rates=[10.0, 50.0, 10.0])
    assert ours.of(theirs) == 2.0


async def test_subjects_have_their_turns_in_each_round_and_load_what_every_caller_saved():
    turns = []

    @asynccontextmanager
    async def subject(name):
        saved = set()

        async def save(caller):
            saved.add(caller)
            turns.append(name)

        async def load(caller):
            assert caller in saved
            await asyncio.sleep(0)

        yield Subject(save, load)

    found = await compare({"a": subject("a"), "b": subject("b")}, Effort(callers=(20,), rounds=2, seconds=0.0))
    assert [len(each.rates) for each in found["save", 20].values()] == [2, 2]
    assert [each.operations for each in found["save", 20].values()] == [40, 40]
    changes = [name for name, before in zip(turns, ["", *turns[:-1]], strict=True) if name != before]
    # The warm-up comes first.
    assert changes == ["a", "b"] * 3
