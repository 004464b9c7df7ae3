"""A chat takes a few times its content in a folder, though each of its steps saves the whole state."""

import pytest

from tests.support.required import require_engine

require_engine("langgraph.graph")

from benchmarks import savers, stored  # noqa: E402
from benchmarks.workloads import langgraph  # noqa: E402

# How many times the content. Ids and times are new in every run and move bases: 200 turns took 5.84 to 6.02 on idle
# cores, and more than 6.2 once beside other tests.
CHATS = [(20, 4.5), (50, 4.7), (200, 6.6)]


@pytest.mark.parametrize(("turns", "most"), CHATS)
async def test_a_chat_takes_a_few_times_its_content(tmp_path, monkeypatch, turns, most):
    monkeypatch.setenv("HOLDFAST_DELTAS", "true")
    chat = await langgraph.chat(turns)
    async with savers.holdfast(tmp_path.as_uri()) as saver:
        for piece in chat.pieces:
            for call in piece:
                await call(saver)
    assert stored.in_folder(tmp_path) < most * chat.content_bytes
