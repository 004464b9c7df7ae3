"""Threads of LangGraph as workflows of Holdfast: names, retention and deletion."""

import asyncio
import operator
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Annotated, Any, TypedDict

import holdfast
import pytest
from holdfast_server.protocol.format.keys import encode_name
from hypothesis import given
from hypothesis import strategies as st

from tests.support import folder_objects
from tests.support.required import require_engine
from tests.support.servers import server

require_engine("langgraph.graph")

from holdfast.adapters.langgraph import HoldfastSaver  # noqa: E402
from holdfast.adapters.langgraph.names import Place, namespaces_prefix, place_of  # noqa: E402
from langgraph.graph import START, StateGraph  # noqa: E402

from tests.integration.adapters.langgraph.savers import checkpoint, config, listed, put  # noqa: E402

AT: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture
async def saver(target: str, namespace: str) -> AsyncIterator[HoldfastSaver]:
    async with HoldfastSaver.from_target(target, namespace=namespace) as opened:
        yield opened


@pytest.fixture
async def another(target: str, namespace: str) -> AsyncIterator[HoldfastSaver]:
    async with HoldfastSaver.from_target(target, namespace=namespace) as opened:
        yield opened


@pytest.fixture
async def client(target: str) -> AsyncIterator[holdfast.AsyncClient]:
    async with holdfast.AsyncClient(target) as opened:
        yield opened


async def living(client: holdfast.AsyncClient, namespace: str) -> set[str]:
    return {each.workflow_id async for each in client.list_workflows(namespace) if each.checkpoint_revision}


# Names

NAMES = st.text(max_size=150) | st.sampled_from(
    ["", "a", "ab", "a#", "a#b", "#", "%", "%!", "%23", "a%23b", ".", "..", "~" * 60, "ü" * 60, "x" * 5000, "\ud800"]
)
PLACES = st.builds(Place, NAMES, NAMES)


@given(PLACES, PLACES)
def test_no_two_namespaces_have_the_same_workflow_and_a_prefix_finds_those_of_one_thread(one, other):
    assert (one.workflow_id == other.workflow_id) == (one == other)
    for place in (one, other):
        is_found = place.workflow_id.startswith(namespaces_prefix(one.thread_id))
        assert is_found == (place.thread_id == one.thread_id and place.checkpoint_ns != "")
        assert place_of(place.workflow_id, place.part) == place


@given(PLACES)
def test_no_workflow_has_a_name_that_a_list_by_prefix_cannot_skip(place):
    assert not encode_name(place.workflow_id).startswith("~")
    assert len(place.workflow_id.encode()) <= 512


async def test_deleting_a_thread_spares_threads_whose_names_begin_with_its_name(saver, another):
    threads = ["a", "ab", "a#", "a#b", "", "a%23", "A", "a" * 100, "a" * 101]
    for thread_id in threads:
        for ns in ("", "child", "child|" * 60):
            await put(saver, config(thread_id, ns))
    for number, thread_id in enumerate(threads, start=1):
        await another.adelete_thread(thread_id)
        left = {each.config["configurable"]["thread_id"] async for each in saver.alist(None)}
        assert left == set(threads[number:])


async def test_copies_have_the_names_of_their_threads_however_long(saver, another):
    long = ["t", "t" * 300, "u" * 300, "v"]
    places = ["", "child", "child|" * 60]
    for ns in places:
        at = await put(saver, config(long[0], ns), checkpoint("1", ns=ns))
        await saver.aput_writes(at, [("ch", ns)], "task")
        await put(saver, at, checkpoint("2", ns=ns))
    for source, copy in pairwise(long):
        await saver.acopy_thread(source, copy)
        await saver.adelete_thread(source)
    found = [each async for each in another.alist(None)]
    named = {(each.config["configurable"]["thread_id"], each.config["configurable"]["checkpoint_ns"]) for each in found}
    assert named == {("v", ns) for ns in places}
    for ns in places:
        at = config("v", ns)
        assert [each.checkpoint["channel_values"] async for each in another.alist(at)] == [{"ns": ns}] * 2
        assert (await another.aget_tuple(config("v", ns, "1"))).pending_writes == [("task", "ch", ns)]
        assert (await another.aget_tuple(at)).parent_config == config("v", ns, "1")


# Retention


async def test_the_largest_id_stays_the_latest_whatever_is_saved_after_it(saver, another, client, namespace):
    for each in ("3", "1", "2"):
        at = await put(saver, config(), checkpoint(each, n=each))
        await saver.aput_writes(at, [("ch", each)], "task")
    await client.prune(namespace, "t", keep_last=1)
    for each in (saver, another):
        found = await each.aget_tuple(config())
        assert (found.checkpoint["id"], found.checkpoint["channel_values"]) == ("3", {"n": "3"})
        assert found.pending_writes == [("task", "ch", "3")]
    assert await listed(another, AT) == ["3", "2"]
    for each in ("25", "4", "35"):
        await put(another, config(), checkpoint(each))
        await client.prune(namespace, "t", keep_last=1)
    assert (await saver.aget_tuple(config())).checkpoint["id"] == "4"
    await saver.aprune(["t"])
    assert await listed(another, AT) == ["4"]


async def test_a_thread_copied_newest_first_keeps_its_latest(saver, client, namespace):
    for n in reversed(range(6)):
        parent = config(checkpoint_id=f"{n - 1}") if n else config()
        await put(saver, parent, checkpoint(f"{n}", n=n))
    infos = [each async for each in client.list(namespace, "t")]
    assert [each.checkpoint_id for each in infos if each.checkpoint_id == "5"] == ["5"]
    await client.prune(namespace, "t", keep_last=1)
    assert (await saver.aget_tuple(config())).checkpoint["id"] == "5"


# Deletions


@pytest.mark.parametrize("prunes", [False, True])
async def test_after_retention_a_deletion_leaves_nothing(saver, another, client, namespace, prunes):
    for ns in ("", "a", "b", "c" * 300):
        for number in range(4):
            await put(saver, config(ns=ns), checkpoint(str(number)))
    for each in await living(client, namespace) if prunes else ():
        await client.prune(namespace, each, keep_last=1)
    await another.adelete_thread("t")
    assert await living(client, namespace) == set()


async def test_the_index_that_an_earlier_version_kept_is_deleted_with_its_thread(saver, client, namespace):
    await client.save(namespace, "t#", b'["t", "child"]', format=holdfast.Format("langgraph-names", 1))
    await put(saver, config(ns="child"))
    assert len(await listed(saver, AT)) == 1
    await saver.adelete_thread("t")
    assert await living(client, namespace) == set()


async def refused(call: Any) -> None:
    with pytest.raises(holdfast.CheckpointDeletedError, match="was deleted since"):
        await call


@pytest.mark.parametrize("begins_anew", [False, True])
@pytest.mark.parametrize("ns", ["", "child"])
async def test_a_run_whose_thread_is_deleted_saves_nothing_any_more(saver, another, ns, begins_anew):
    at = await put(saver, config(ns=ns), checkpoint("1"))
    await saver.aget_tuple(config(ns=ns))
    await another.adelete_thread("t")
    if begins_anew:
        await put(another, config(ns=ns), checkpoint("5"))
    for each in ("2", "3"):
        await refused(put(saver, at, checkpoint(each)))
    await refused(saver.aput_writes(at, [("ch", 1)], "task"))
    assert await listed(another, AT) == (["5"] if begins_anew else [])
    # A load begins another run.
    await saver.aget_tuple(config(ns=ns))
    await put(saver, config(ns=ns), checkpoint("6"))
    assert await listed(another, AT) == (["6", "5"] if begins_anew else ["6"])


async def test_a_run_from_an_older_checkpoint_is_refused_too_after_the_thread_was_deleted(saver, another):
    for each in ("1", "2"):
        at = await put(saver, config(), checkpoint(each))
    old = config(checkpoint_id="1")
    await saver.aget_tuple(old)
    await another.adelete_thread("t")
    await put(another, config(), checkpoint("5"))
    await refused(put(saver, old, checkpoint("6")))
    assert await listed(another, AT) == ["5"]
    assert at["configurable"]["checkpoint_id"] == "2"


async def test_a_run_continues_if_only_the_checkpoint_it_began_from_was_pruned(saver, another):
    at = await put(saver, config(), checkpoint("1"))
    await saver.aget_tuple(config())
    await put(another, config(), checkpoint("2"))
    await another.aprune(["t"])
    await put(saver, at, checkpoint("3"))
    assert await listed(another, AT) == ["3", "2"]


async def test_a_caller_that_deletes_a_thread_may_begin_it_again_at_once(saver):
    for each in ("1", "2"):
        for ns in ("", "child"):
            await saver.aget_tuple(config(ns=ns))
            await put(saver, config(ns=ns), checkpoint(each))
        await saver.adelete_thread("t")
    await put(saver, config(), checkpoint("3"))
    assert await listed(saver, AT) == ["3"]


async def test_a_new_run_in_the_same_process_does_not_hide_the_deletion_from_an_older_one(saver, another):
    """Two runs of one saver differ as LangGraph's do: by an object in all configs of a run."""

    def of(runtime: object, **named: Any) -> Any:
        return {"configurable": {**config(**named)["configurable"], "__pregel_runtime": runtime}}

    old, new = object(), object()
    at = await put(saver, config(), checkpoint("1"))
    await saver.aget_tuple(of(old))
    await another.adelete_thread("t")
    assert await saver.aget_tuple(of(new)) is None
    await put(saver, of(new), checkpoint("5"))
    await refused(put(saver, of(old, checkpoint_id=at["configurable"]["checkpoint_id"]), checkpoint("6")))
    await put(saver, of(new, checkpoint_id="5"), checkpoint("7"))
    assert await listed(another, AT) == ["7", "5"]


@pytest.mark.parametrize("moment", range(4))
async def test_a_namespace_that_begins_while_its_thread_is_deleted_is_gone_whichever_comes_first(
    saver, another, client, namespace, monkeypatch, moment
):
    await put(saver, config(), checkpoint("1"))
    child: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "child", "checkpoint_map": {"": "1"}}}
    assert await saver.aget_tuple(child) is None
    call, calls = saver._clients.asynchronous._transport._caller.call, []

    async def interrupted(method: str, *rest: Any, **named: Any) -> Any:
        if len(calls) == moment:
            await another.adelete_thread("t")
        calls.append(method)
        return await call(method, *rest, **named)

    monkeypatch.setattr(saver._clients.asynchronous._transport._caller, "call", interrupted)
    if moment < 3:
        await refused(put(saver, child, checkpoint("2")))
    else:
        await put(saver, child, checkpoint("2"))
        await another.adelete_thread("t")
    usual = ["AcquireWriter", "List", "Save"]
    assert calls[: len(usual)] == usual[: len(calls)]
    assert await living(client, namespace) == set()


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def remembering(saver: Any, pause: Any) -> Any:
    """Return a graph whose inner graph has a checkpointer of its own, with one namespace for all runs."""

    async def note(state: State) -> State:
        await pause("inner")
        return {"log": [f"inner {len(state['log'])}"]}

    async def first(state: State) -> State:
        await pause("first")
        return {"log": ["first"]}

    inner = StateGraph(State).add_node("note", note).add_edge(START, "note").compile(checkpointer=True)

    async def child(state: State) -> State:
        found = await inner.ainvoke({"log": ["call"]})
        return {"log": found["log"]}

    builder = StateGraph(State).add_node("first", first).add_node("child", child).add_node("last", first)
    builder.add_edge(START, "first").add_edge("first", "child").add_edge("child", "last")
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("where", ["first", "inner"])
@pytest.mark.parametrize("is_new", [False, True])
async def test_a_graph_whose_thread_is_deleted_while_it_runs_leaves_nothing_to_continue_from(
    saver, another, client, namespace, durability, where, is_new
):
    async def nothing(place: str) -> None:
        pass

    async def deletes(place: str) -> None:
        if place == where:
            await another.adelete_thread("t")

    fresh = await remembering(another, nothing).ainvoke({"log": ["in"]}, {"configurable": {"thread_id": "other"}})
    if not is_new:
        await remembering(another, nothing).ainvoke({"log": ["in"]}, AT)
    try:
        await remembering(saver, deletes).ainvoke({"log": ["in"]}, AT, durability=durability)
        was_refused = False
    except holdfast.CheckpointDeletedError:
        was_refused = True
    # A new thread cannot be deleted before its first save has reached the server.
    assert was_refused or (is_new and durability != "sync")
    if not was_refused:
        await another.adelete_thread("t")
    assert not [each for each in await living(client, namespace) if each == "t" or each.startswith("t#")]
    assert await remembering(another, nothing).ainvoke({"log": ["in"]}, AT) == fresh


async def test_many_concurrent_runs_of_one_saver_all_save_completely(saver):
    async def nothing(place: str) -> None:
        await asyncio.sleep(0)

    graph = remembering(saver, nothing)
    threads = [{"configurable": {"thread_id": f"t{n}"}} for n in range(10)]
    found = await asyncio.gather(*(graph.ainvoke({"log": ["in"]}, at) for at in threads))
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("purge", [False, True])
async def test_a_thread_that_is_deleted_with_purge_has_no_bytes_left_in_the_store(tmp_path, purge):
    store = tmp_path / "store"

    def has_secrets() -> bool:
        return bool(folder_objects.objects_with(store, b"the-secret"))

    # All objects of a store are read: that of the other tests has too many.
    with server(store.as_uri()) as target:
        async with HoldfastSaver.from_target(target, namespace="purge", purge=purge) as saver:
            for ns in ("", "child"):
                for number in "12":
                    kept = {**checkpoint(number), "channel_values": {"ch": "the-secret" * 20_000}}
                    at = await put(saver, config("t", ns=ns), kept)
                    await saver.aput_writes(at, [("ch", "the-secret")], "task")
            assert has_secrets()
            await saver.adelete_thread("t")
            assert has_secrets() is not purge
            await saver.adelete_thread("t")
            assert has_secrets() is not purge
