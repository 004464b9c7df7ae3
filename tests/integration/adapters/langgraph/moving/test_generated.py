"""Generated histories move in and out again, whatever their ids, parents, namespaces and writes are."""

import sqlite3
import uuid
from contextlib import closing

from holdfast.adapters.langgraph import HoldfastSaver, export_threads, import_threads
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from tests.integration.adapters.langgraph.moving.others import Foreign
from tests.integration.adapters.langgraph.savers import checkpoint, config
from tests.support.budget import amount

IDS = st.text("0123456789", min_size=1, max_size=3)
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.uuids(),
    st.lists(st.integers(0, 5), max_size=3).map(set),
    st.lists(st.integers(0, 5), max_size=3).map(tuple),
    st.dictionaries(st.text(max_size=3), st.booleans(), max_size=3),
)
WRITES = st.lists(
    st.tuples(st.sampled_from(["x", "y", "__interrupt__", "__error__", "__resume__"]), VALUES), min_size=1, max_size=4
)


@st.composite
def _saved(draw):
    """Return a checkpoint with its place, parent and the writes of its tasks."""
    return {
        "thread": draw(st.sampled_from(["t", "u", "t#x", ""])),
        "ns": draw(st.sampled_from(["", "sub", "sub:1|a/b"])),
        "id": draw(IDS),
        "parent": draw(st.none() | IDS),
        "values": draw(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)),
        "metadata": draw(st.dictionaries(st.sampled_from(["source", "note"]), st.text(max_size=5), max_size=2)),
        "tasks": draw(
            st.dictionaries(
                st.text("abc", min_size=1, max_size=3), st.tuples(WRITES, st.text("~ab", max_size=2)), max_size=3
            )
        ),
    }


HISTORIES = st.lists(_saved(), max_size=12, unique_by=lambda each: (each["thread"], each["ns"], each["id"]))


@settings(max_examples=amount(small=8, full=40), deadline=None)
@given(HISTORIES, st.integers(1, 12))
async def test_any_history_moves_in_and_out_again(target, history, cut):
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        savers = [InMemorySaver(), SqliteSaver(connection), Foreign()]
        for saver in savers:
            _put(saver, history[:cut])
        for source in savers:
            await _check_moves(target, source, history, cut)


async def _check_moves(target, source, history, cut):
    async with HoldfastSaver.from_target(target, namespace=uuid.uuid4().hex) as saver:
        first = await import_threads(source, saver)
        assert (first.failed, first.verified, first.present) == (0, len(history[:cut]), 0), first.problems
        # The rest comes later, with ids and parents in any order.
        _put(source, history[cut:])
        second = await import_threads(source, saver)
        assert (second.failed, second.verified, second.present) == (0, len(history), first.written), second.problems
        assert _listed(saver) == _listed(source)
        copy = InMemorySaver()
        out = await export_threads(saver, copy)
        assert (out.failed, out.verified) == (0, len(history)), out.problems
        assert _listed(copy) == _listed(source)


def _put(saver, history):
    for each in history:
        versions = {channel: f"{each['id']}.{channel}" for channel in each["values"]}
        made = checkpoint(each["id"], versions, **each["values"])
        saver.put(config(each["thread"], each["ns"], each["parent"]), made, each["metadata"], versions)
        for task_id, (writes, path) in each["tasks"].items():
            saver.put_writes(config(each["thread"], each["ns"], each["id"]), writes, task_id, path)


def _listed(saver):
    return sorted(
        (
            (
                *(listed.config["configurable"][name] for name in ("thread_id", "checkpoint_ns", "checkpoint_id")),
                (listed.parent_config or {"configurable": {"checkpoint_id": ""}})["configurable"]["checkpoint_id"],
                repr(_ordered(listed.checkpoint)),
                repr(_ordered(listed.metadata)),
                repr(listed.pending_writes),
            )
            for thread_id in ("t", "u", "t#x", "")
            for listed in saver.list(config(thread_id) | {"configurable": {"thread_id": thread_id}})
        ),
    )


def _ordered(value):
    return sorted((key, _ordered(inner)) for key, inner in value.items()) if isinstance(value, dict) else value
