"""Usage on every kind of store: equal to a naive count of what the store lists."""

import random

import pytest
from holdfast_server.protocol.maintenance import usage_pages

from tests.support.usage import ALL_ACTIONS, Workflows, figures, measured, naive


async def test_usage_equals_a_naive_count(store):
    worked_on = Workflows(store, 1)
    chance = random.Random(1)
    for action in [*ALL_ACTIONS, *chance.choices(ALL_ACTIONS, k=20)]:
        await worked_on.act(action)
    expected = {run.keys.prefix: each for run in worked_on.runs if (each := await naive(run))["objects"]}
    assert len(expected) > 1
    found, _ = await measured(worked_on.log, size=2)
    assert {prefix: figures(each.usage) for prefix, each in found.items()} == expected


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(usage_pages, "_MAX_OBJECTS", 7)


@pytest.mark.usefixtures("small_pages")
async def test_a_measurement_goes_on_where_its_page_ended(store):
    worked_on = Workflows(store, 2)
    for action in (*ALL_ACTIONS, "attach", "large", "fresh"):
        await worked_on.act(action)
    for run in worked_on.runs:
        expected = await naive(run)
        token, pages = "", 0
        while expected["objects"]:
            page = await usage_pages.page_of_one(run.log, run.keys, token, reads_markers=True, end_seconds=float("inf"))
            token, pages = page.next_token, pages + 1
            if not token:
                assert figures(page.workflows[0].usage) == expected
                assert pages == expected["objects"] // 7 + 1
                break
