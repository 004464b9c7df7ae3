"""Two calls at the same time."""

import asyncio

import pytest
from holdfast_server.console.together import both


async def test_both_results_are_returned():
    assert await both(asyncio.sleep(0, "a"), asyncio.sleep(0, "b")) == ("a", "b")


@pytest.mark.parametrize("is_first", [True, False])
async def test_the_error_of_one_is_raised_by_itself_after_the_other_has_ended(is_first):
    ended = []

    async def fail():
        await asyncio.sleep(0)
        raise LookupError("gone")

    async def go_on():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    pair = (fail(), go_on()) if is_first else (go_on(), fail())
    with pytest.raises(LookupError, match="gone"):
        await both(*pair)
    assert ended == [True]
