"""The contract of LangGraph's base class beyond its conformance suite."""

import asyncio
import math
import random
import uuid
from collections.abc import AsyncIterator
from enum import Enum
from functools import partial
from hashlib import sha256
from typing import Any

import holdfast
import pytest

from tests.support import folder_objects
from tests.support.budget import full
from tests.support.damage import damage_marker, damage_newest, long_text
from tests.support.required import require_engine
from tests.support.servers import server

require_engine("langgraph.checkpoint.base")

from holdfast.adapters.langgraph import HoldfastSaver, contents  # noqa: E402
from langgraph.checkpoint.base import BaseCheckpointSaver  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer  # noqa: E402
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer  # noqa: E402
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, SCHEDULED, _DeltaSnapshot  # noqa: E402

from tests.integration.adapters.langgraph.savers import LONG, Synchronous, checkpoint, config, listed, put, written  # noqa: E402

NOBODY = "127.0.0.1:1"
ODD = [
    "",
    ".",
    "..",
    "a/b",
    "a\\b",
    "#",
    "a#b",
    "%",
    "%!",
    "%23",
    "ü 東京",
    "\0\n\x7f",
    "\ud800",
    "x" * 600,
    "ü" * 3000,
]


@pytest.fixture(params=["async", "sync"])
async def saver(request: pytest.FixtureRequest, target: str, namespace: str) -> AsyncIterator[Any]:
    opened = HoldfastSaver.from_target(target, namespace=namespace)
    if request.param == "async":
        async with opened:
            yield opened
    else:
        with opened:
            yield Synchronous(opened)


@pytest.fixture
async def another(target: str, namespace: str) -> AsyncIterator[Any]:
    """Another saver of the same threads, without what the first one remembers."""
    async with HoldfastSaver.from_target(target, namespace=namespace) as opened:
        yield opened


async def test_writes_come_in_the_order_of_path_task_and_index(saver):
    at = await put(saver, config())
    for task_id, path, values in (
        ("b", "~2", "x"),
        ("a", "~2", "yz"),
        ("c", "~1", "u"),
        ("d", "", "v"),
        ("ü/#", "~2", "w"),
    ):
        await saver.aput_writes(at, [(f"ch-{value}", value) for value in values], task_id, path)
    assert [each[2] for each in await written(saver, at)] == ["v", "u", "y", "z", "x", "w"]


async def test_more_than_ten_writes_of_a_task_keep_their_order(saver):
    at = await put(saver, config())
    await saver.aput_writes(at, [("ch", n) for n in range(120)], "task")
    assert [each[2] for each in await written(saver, at)] == list(range(120))


async def test_repeated_writes_of_a_task_do_not_replace_the_first_ones(saver):
    at = await put(saver, config())
    await saver.aput_writes(at, [("a", 1), ("b", 2)], "task")
    await saver.aput_writes(at, [("a", 3), ("c", 4), ("d", 5)], "task")
    assert await written(saver, at) == [("task", "a", 1), ("task", "b", 2), ("task", "d", 5)]


async def test_the_special_channels_of_a_task_contain_what_was_written_last(saver):
    at = await put(saver, config())
    for n in range(2):
        await saver.aput_writes(at, [(ERROR, n), (INTERRUPT, n), (RESUME, n), (SCHEDULED, n), ("ch", n)], "task")
    await saver.aput_writes(at, [(RESUME, 2), (RESUME, 3)], "task")
    found = await written(saver, at)
    assert {each[1]: each[2] for each in found} == {ERROR: 1, INTERRUPT: 1, RESUME: 3, SCHEDULED: 1, "ch": 0}
    assert len(found) == 5


async def test_writes_may_come_before_their_checkpoint(saver):
    made = checkpoint()
    await saver.aput_writes(config(checkpoint_id=made["id"]), [("ch", 1)], "task")
    assert await saver.aget_tuple(config()) is None
    at = await put(saver, config(), made)
    assert await written(saver, at) == [("task", "ch", 1)]


async def test_without_writes_no_call_is_made(saver):
    await saver.aput_writes(config(checkpoint_id="1"), [], "task")
    assert await saver.aget_tuple(config()) is None


@pytest.mark.parametrize("seed", range(4))
async def test_any_sequence_of_calls_returns_what_the_in_memory_saver_returns(saver, seed):
    reference, luck = InMemorySaver(), random.Random(seed)
    ids: list[str] = []
    for n in range(40):
        ns = luck.choice(["", "child"])
        # Some ids twice, some out of order.
        checkpoint_id = luck.choice([f"{n:03}", f"{n:03}", f"{luck.randrange(40):03}"])
        parent = luck.choice([None, *ids])
        made = checkpoint(checkpoint_id, {"n": str(n)}, n=n)
        for each in (saver, reference):
            await put(each, config(ns=ns, checkpoint_id=parent), made, step=n % 3, odd=[n % 2])
        ids.append(checkpoint_id)
        for _ in range(luck.randrange(3)):
            at = config(ns=luck.choice(["", "child"]), checkpoint_id=luck.choice(ids))
            task, path = luck.choice("ab"), luck.choice(["", "~1"])
            writes = [(luck.choice(["x", "y", INTERRUPT]), n) for _ in range(luck.randrange(1, 4))]
            for each in (saver, reference):
                await each.aput_writes(at, writes, task, path)
    for at in [config(ns=ns, checkpoint_id=each) for ns in ("", "child") for each in [None, *set(ids), "999"]]:
        assert await saver.aget_tuple(at) == await reference.aget_tuple(at)
    for options in (
        {},
        {"limit": 0},
        {"limit": 3},
        {"before": config(checkpoint_id="020")},
        {"before": config(checkpoint_id=ids[7]), "limit": 2},
        {"filter": {"step": 1}, "limit": 4},
        {"filter": {"step": 2, "odd": [1]}},
        {"filter": {"step": 0}, "before": config(checkpoint_id=ids[-1])},
    ):
        for at in (
            config(),
            config(ns="child"),
            config(checkpoint_id=ids[3]),
            {"configurable": {"thread_id": "t"}},
            None,
        ):
            found = [each async for each in saver.alist(at, **options)]
            wanted = [each async for each in reference.alist(at, **options)]
            if options.get("limit") and at in ({"configurable": {"thread_id": "t"}}, None):
                # The order of namespaces is not specified.
                assert len(found) == len(wanted)
                continue
            assert sorted(found, key=str) == sorted(wanted, key=str)
            if at is not None and "checkpoint_ns" in at["configurable"]:
                assert found == wanted


async def test_the_latest_checkpoint_has_the_largest_id_whichever_saver_saved_it_and_when(saver, another):
    for each in ("3", "1", "2"):
        await put(saver, config(), checkpoint(each))
    for each in (saver, another):
        assert (await each.aget_tuple(config())).checkpoint["id"] == "3"
        assert await listed(each, config()) == ["3", "2", "1"]
        assert await listed(each, config(), before=config(checkpoint_id="3")) == ["2", "1"]
        assert await listed(each, None, limit=2) == ["3", "2"]
    await put(another, config(), checkpoint("25"))
    assert (await another.aget_tuple(config())).checkpoint["id"] == "3"
    await put(another, config(), checkpoint("4"))
    assert (await saver.aget_tuple(config())).checkpoint["id"] == "4"
    assert await listed(saver, config()) == ["4", "3", "25", "2", "1"]


async def test_a_saver_that_has_not_loaded_yet_looks_up_the_order_before_it_saves(saver, another):
    await put(saver, config(), checkpoint("2"))
    await put(another, config(), checkpoint("1"))
    assert (await saver.aget_tuple(config())).checkpoint["id"] == "2"


async def test_a_saver_that_loaded_before_another_one_saved_looks_up_the_order_again(saver, another):
    await put(saver, config(), checkpoint("1"))
    await put(another, config(), checkpoint("9"))
    await put(saver, config(), checkpoint("5"))
    for each in (saver, another):
        assert (await each.aget_tuple(config())).checkpoint["id"] == "9"
        assert await listed(each, config()) == ["9", "5", "1"]


async def test_after_many_concurrent_saves_the_latest_checkpoint_has_the_largest_id(saver, another):
    ids = [f"{number:02}" for number in range(40)]
    random.shuffle(ids)
    await asyncio.gather(*(put((saver, another)[n % 2], config(), checkpoint(each)) for n, each in enumerate(ids)))
    for each in (saver, another):
        assert (await each.aget_tuple(config())).checkpoint["id"] == "39"
        assert await listed(each, config()) == sorted(ids, reverse=True)


async def test_after_deletions_the_latest_checkpoint_has_the_largest_remaining_id(saver, another):
    for each, run_id in (("2", "a"), ("4", "b"), ("3", "a"), ("1", "a")):
        await put(saver, config(), checkpoint(each), run_id=run_id)
    await saver.adelete_for_runs(["b"])
    for each in (saver, another):
        assert (await each.aget_tuple(config())).checkpoint["id"] == "3"
        assert await listed(each, config()) == ["3", "2", "1"]
    await saver.aprune(["t"])
    assert await listed(saver, config()) == ["3"]


async def test_threads_copied_newest_first_are_in_order(saver):
    source = InMemorySaver()
    at = config()
    for n in range(5):
        at = await put(source, at, checkpoint(f"{n}", n=n))
    async for each in source.alist(config()):
        made = each.checkpoint
        await saver.aput(each.parent_config or config(), made, each.metadata, made["channel_versions"])
    assert [each async for each in saver.alist(config())] == [each async for each in source.alist(config())]
    assert await saver.aget_tuple(config()) == await source.aget_tuple(config())


async def test_a_checkpoint_put_again_replaces_the_first_and_keeps_its_writes(saver):
    at = await put(saver, config(), checkpoint("1", x=1))
    await saver.aput_writes(at, [("ch", 1)], "task")
    await put(saver, config(), checkpoint("1", x=2), step=7)
    found = [each async for each in saver.alist(config())]
    assert [(each.checkpoint["channel_values"], each.metadata["step"]) for each in found] == [({"x": 2}, 7)]
    assert found[0].pending_writes == [("task", "ch", 1)]


@pytest.mark.parametrize("odd", ODD, ids=lambda text: repr(text)[:20])
async def test_threads_and_namespaces_may_be_any_text(saver, another, odd):
    places = [(odd, ""), (odd, odd or "ns"), ("t", odd), ("t", "other")]
    for thread_id, ns in places:
        at = await put(saver, config(thread_id, ns), checkpoint(x=[thread_id == odd, ns]))
        await saver.aput_writes(at, [("ch", 1)], odd, odd)
    for each in (saver, another):
        found = {
            (c["thread_id"], c["checkpoint_ns"]): t
            for t in [t async for t in each.alist(None)]
            for c in [t.config["configurable"]]
        }
        assert set(found) == {*places}
        for place in places:
            assert await each.aget_tuple(config(*place)) == found[place]
            assert found[place].pending_writes[0][1:] == ("ch", 1)
    assert len(await listed(saver, {"configurable": {"thread_id": odd}})) == 2
    await saver.acopy_thread(odd, f"{odd}2")
    await saver.adelete_thread(odd)
    left = {
        (c["thread_id"], c["checkpoint_ns"])
        for t in [t async for t in another.alist(None)]
        for c in [t.config["configurable"]]
    }
    assert left == {(f"{odd}2", ""), (f"{odd}2", odd or "ns"), ("t", odd), ("t", "other")}


async def test_an_integer_thread_id_is_the_same_as_its_text(saver):
    at = await put(saver, config(7))
    assert at["configurable"]["thread_id"] == 7
    assert (await saver.aget_tuple(config("7"))).config["configurable"]["thread_id"] == "7"


async def test_ids_of_checkpoints_and_parents_may_be_any_text(saver):
    for each in ("a/b", "%", "ü\n", "cp-000000000001-x"):
        at = await put(saver, config(), checkpoint(each))
        child = await put(saver, at, checkpoint("z" + each))
        assert (await saver.aget_tuple(at)).config == at
        assert (await saver.aget_tuple(child)).parent_config == at


@pytest.mark.parametrize(
    ("stored", "wanted", "is_found"),
    [
        (1, 1, True),
        (1, True, True),
        (True, 1, True),
        (1, 1.0, True),
        (0, -0.0, True),
        (1, "1", False),
        ("1", 1, False),
        (1.5, 1.5, True),
        (10**400 // 10**381, 10**19, True),
        (math.inf, math.inf, True),
        (math.nan, math.nan, False),
        (None, None, True),
        ("", "", True),
        ("", None, False),
        ("ü" * 2000, "ü" * 2000, True),
        ("ü" * 2000, "ü" * 1999, False),
        ("a\nb", "a\nb", True),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, True),
        ({"a": 1}, {"a": 2}, False),
        ([1, 2], [1, 2], True),
        (b"x", b"x", True),
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize("key", ["source", "step", "run_id", "a key/of\nmine"])
async def test_metadata_is_found_by_an_equal_value(another, key, stored, wanted, is_found):
    at = await put(another, config(), **{key: stored})
    found = await listed(another, config(), filter={key: wanted})
    assert found == ([at["configurable"]["checkpoint_id"]] if is_found else [])
    assert await listed(another, config(), filter={key: wanted, "missing": None}) == found
    assert await listed(another, config(), filter={key: wanted, "missing": 1}) == []


async def test_the_metadata_of_the_config_is_saved_with_the_checkpoint(saver):
    at = config()
    at["metadata"] = {"user": "u", "__hidden": "x"}
    at["configurable"]["extra"] = 5
    await put(saver, at)
    assert len(await listed(saver, None, filter={"user": "u", "extra": 5})) == 1
    assert "__hidden" not in (await saver.aget_tuple(config())).metadata


async def test_a_list_over_all_threads_obeys_before_limit_and_filter(saver):
    for thread_id in "abc":
        for n in range(4):
            await put(saver, config(thread_id, "child" if n == 3 else ""), checkpoint(f"{n}"), step=n % 2)
    assert len(await listed(saver, None)) == 12
    assert await listed(saver, None, before=config(checkpoint_id="2")) == ["1", "0"] * 3
    assert await listed(saver, None, filter={"step": 0}, limit=5) == ["2", "0", "2", "0", "2"]
    assert await listed(saver, None, limit=0) == []


@pytest.mark.parametrize(
    "given", [None, {}, {"configurable": {}}, {"configurable": {"checkpoint_ns": ""}}, {"metadata": {"a": 1}}], ids=repr
)
async def test_a_list_without_a_thread_is_as_in_memory(saver, given):
    reference = InMemorySaver()
    for thread_id in ("a", "b"):
        made = checkpoint()
        for each in (saver, reference):
            await put(each, config(thread_id), made)

    async def tried(of: Any) -> Any:
        try:
            return sorted([each async for each in of.alist(given)], key=str)
        except KeyError:
            return "KeyError"

    assert await tried(saver) == await tried(reference)


@pytest.mark.parametrize("thread_id", [None, b"a", 1.5])
async def test_a_list_with_an_invalid_thread_id_never_lists_all_threads(saver, thread_id):
    await put(saver, config("a"))
    with pytest.raises(TypeError, match="thread_id"):
        await listed(saver, {"configurable": {"thread_id": thread_id}})


async def test_lists_go_over_many_pages(another):
    for n in range(230):
        await put(another, config(), checkpoint(f"{n:03}"))
    assert await listed(another, config()) == [f"{n:03}" for n in reversed(range(230))]
    assert await listed(another, config(), limit=150, before=config(checkpoint_id="200")) == [
        f"{n:03}" for n in range(199, 49, -1)
    ]
    assert await listed(another, config(), before=config(checkpoint_id="1005")) == [
        f"{n:03}" for n in range(100, -1, -1)
    ]


async def test_tasks_that_write_concurrently_lose_nothing(another):
    at = await put(another, config())

    async def write(n: int) -> None:
        for _ in range(2):
            await another.aput_writes(at, [("ch", n), (INTERRUPT, n)], f"task-{n:03}", f"~{n % 7}")

    async with asyncio.TaskGroup() as group:
        for n in range(60):
            group.create_task(write(n))
    found = await written(another, at)
    assert sorted(each[2] for each in found if each[1] == "ch") == list(range(60))
    assert len(found) == 120


async def test_threads_and_tasks_of_one_saver_work_concurrently(target, namespace):
    async with HoldfastSaver.from_target(target, namespace=namespace) as saver:

        async def work(each: Any, thread_id: str) -> list[str]:
            at = config(thread_id)
            for n in range(10):
                at = await put(each, at, checkpoint(f"{n:02}", n=n))
                await each.aput_writes(at, [("ch", n)], "task")
            return await listed(each, config(thread_id))

        savers = [saver, Synchronous(saver)] * 6
        found = await asyncio.gather(*(work(each, f"t{n}") for n, each in enumerate(savers)))
        assert found == [[f"{n:02}" for n in reversed(range(10))]] * 12


async def test_a_large_checkpoint_comes_back(saver):
    at = await put(saver, config(), checkpoint(text="x" * (5 << 20), data=b"y" * (2 << 20)))
    found = await saver.aget_tuple(config())
    assert len(found.checkpoint["channel_values"]["text"]) == 5 << 20
    assert [each.config async for each in saver.alist(config())] == [at]


async def test_large_writes_come_back_in_their_places(saver):
    at = await put(saver, config())
    values = ["a", b"b" * (4 << 20), "c" * (7 << 20), None, "e"]
    await saver.aput_writes(at, [*[("ch", value) for value in values], (INTERRUPT, "f" * (4 << 20))], "task")
    found = await written(saver, at)
    assert [each[2] for each in found if each[1] == "ch"] == values
    assert [len(each[2]) for each in found if each[1] == INTERRUPT] == [4 << 20]
    await saver.aput_writes(at, [("ch", "other" * (1 << 20)), (INTERRUPT, 1)], "task")
    found = await written(saver, at)
    assert [each[2] for each in found if each[1] == "ch"] == values
    assert [each[2] for each in found if each[1] == INTERRUPT] == [1]


async def test_more_than_a_thousand_writes_of_a_call_all_come_back(saver):
    at = await put(saver, config())
    await saver.aput_writes(at, [("ch", n) for n in range(2500)], "task")
    assert [each[2] for each in await written(saver, at)] == list(range(2500))


@pytest.mark.parametrize("calls", range(4))
async def test_nothing_is_visible_of_a_large_call_that_was_interrupted(another, monkeypatch, calls):
    at = await put(another, config())
    client = another._clients.asynchronous
    unary, left = client._transport.unary, iter(range(calls))

    async def breaking(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise ConnectionError
        return await unary(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(client._transport, "unary", breaking)
        with pytest.raises(ConnectionError):
            await another.aput_writes(at, [("ch", "x" * (8 << 20)), ("ch", "y")], "task")
    assert await written(another, at) == []
    await another.aput_writes(at, [("ch", "z" * (8 << 20)), ("ch", "u")], "task")
    assert [each[2][:1] for each in await written(another, at)] == ["z", "u"]


@pytest.mark.parametrize(
    "data", [b"", b"q", b"w", b"w\0\0\0\1{", b'r{"sha256": "0", "chunks": 2}', b'r{"sha256": "0", "chunks": 1}']
)
async def test_a_record_that_the_adapter_did_not_write_is_damage(another, target, namespace, data):
    at = await put(another, config(), checkpoint("1"))
    [whole] = contents.pack_writes(another.serde, [("ch", "x")], "task", "").final
    async with holdfast.AsyncClient(target) as client:
        # The content of one chunk under the digest of another.
        await client.attach(namespace, "t", "1", [holdfast.Record("#0.000000", whole.data[1:])])
        assert await written(another, at) == []
        await client.attach(namespace, "t", "1", [holdfast.Record("task#000000", data)])
    with pytest.raises(holdfast.CheckpointCorruptedError):
        await another.aget_tuple(at)


async def test_a_deleted_thread_leaves_nothing_and_can_begin_again(saver, another, target, namespace):
    for ns in ("", "child", "x" * 900):
        at = await put(saver, config(ns=ns), checkpoint("5"))
        await saver.aput_writes(at, [("ch", 1)], "task")
    await put(saver, config("other"))
    await saver.adelete_thread("t")
    await saver.adelete_thread("t")
    assert await listed(another, {"configurable": {"thread_id": "t"}}) == []
    async with holdfast.AsyncClient(target) as client:
        left = [each.workflow_id async for each in client.list_workflows(namespace) if each.checkpoint_revision]
    assert left == ["other"]
    for each in (another, saver):
        await put(each, config(ns="child"), checkpoint("4" if each is another else "3"))
    assert await listed(saver, {"configurable": {"thread_id": "t"}}) == ["4", "3"]
    await another.adelete_thread("t")
    assert await listed(saver, {"configurable": {"thread_id": "t"}}) == []


async def test_deletions_for_runs_spare_other_runs_in_every_thread(saver):
    for thread_id in ("a", "b"):
        for run_id in ("r1", "r2", "r" * 2000, "r\n"):
            await put(saver, config(thread_id, "child"), run_id=run_id)
        await put(saver, config(thread_id))
    await saver.adelete_for_runs(["r1", "r" * 2000, "never"])
    left = [each.metadata.get("run_id") async for each in saver.alist(None)]
    assert sorted(left, key=str) == sorted(["r2", "r\n", None] * 2, key=str)


async def test_a_run_id_that_is_a_uuid_is_the_same_as_its_text(saver):
    run_ids = [uuid.uuid4() for _ in range(4)]
    await put(saver, config("a"), run_id=str(run_ids[0]))
    await put(saver, config("b"), run_id=run_ids[1])
    await put(saver, config("c"), run_id=str(run_ids[2]))
    await saver.adelete_for_runs(each for each in (run_ids[0], str(run_ids[1]), run_ids[3]))
    assert [each.metadata["run_id"] async for each in saver.alist(None)] == [str(run_ids[2])]


class Sort(Enum):
    A = "a"


class Text(str, Enum):  # noqa: UP042 - not a StrEnum: its str() is another text
    A = "a"


NO_TEXT = [None, math.nan, 1.5, True, b"x", ("a",), ["a"], {"a": 1}, object(), Sort.A]


@pytest.mark.parametrize("bad", [*NO_TEXT, 1, 10**500, ""], ids=lambda bad: repr(bad)[:20])
async def test_an_invalid_run_id_deletes_nothing(saver, bad):
    for stored in ("a", "1", "x", "None", "True", 1, ""):
        await put(saver, config(repr(stored)), run_id=stored)
    with pytest.raises((TypeError, ValueError), match=r"run_ids\[1\]"):
        await saver.adelete_for_runs(["a", bad])
    assert len(await listed(saver, None)) == 7


@pytest.mark.parametrize("bad", ["abc", b"abc", "", None, 7, uuid.UUID(int=1)], ids=repr)
async def test_a_single_id_is_not_taken_for_a_list_of_characters(saver, bad):
    for each in "abc":
        await put(saver, config(each), run_id=each)
    with pytest.raises(TypeError, match="must be a list of ids"):
        await saver.adelete_for_runs(bad)
    for strategy in ("delete", "keep_latest"):
        with pytest.raises(TypeError, match="must be a list of ids"):
            await saver.aprune(bad, strategy=strategy)
    assert len(await listed(saver, None)) == 3


async def test_no_other_run_has_the_label_of_a_run(saver):
    digest = "sha256 " + sha256(b"r" * 2000).hexdigest()
    long = ["1" + "0" * 1500, "1" + "0" * 1500 + "1"]
    for number, run_id in enumerate([digest, "r" * 2000, 1, True, "1", *long]):
        await put(saver, config(str(number)), run_id=run_id)
    await saver.adelete_for_runs([digest, "1", long[0]])
    left = [each.metadata["run_id"] async for each in saver.alist(None)]
    assert sorted(map(str, left)) == sorted(["r" * 2000, "1", "True", long[1]])


@pytest.mark.parametrize("bad", NO_TEXT, ids=lambda bad: repr(bad)[:20])
async def test_an_invalid_thread_id_deletes_prunes_and_copies_nothing(saver, bad):
    for thread_id in ("a", str(bad)):
        for each in ("1", "2"):
            await put(saver, config(thread_id), checkpoint(each))
    for strategy in ("delete", "keep_latest"):
        with pytest.raises(TypeError, match=r"thread_ids\[1\]"):
            await saver.aprune(["a", bad], strategy=strategy)
    for call in (
        lambda: saver.adelete_thread(bad),
        lambda: saver.acopy_thread(bad, "copy"),
        lambda: saver.acopy_thread("a", bad),
        partial(put, saver, config(bad)),
        lambda: saver.aget_tuple(config(bad)),
    ):
        with pytest.raises(TypeError, match="thread_id"):
            await call()
    assert len(await listed(saver, None)) == 4


async def test_a_thread_id_of_another_type_means_one_thread_to_every_method(saver):
    given = uuid.uuid4()
    for thread_id in (given, 7, Text.A, "b"):
        await put(saver, config(thread_id))
    await saver.adelete_thread(given)
    await saver.aprune((each for each in (7, Text.A)), strategy="delete")
    assert [each.config["configurable"]["thread_id"] async for each in saver.alist(None)] == ["b"]


async def test_a_copy_is_complete_and_does_not_change_with_its_source(saver):
    at = config()
    for n in range(3):
        at = await put(saver, at, checkpoint(f"{n}", n=n))
        await saver.aput_writes(at, [("ch", n), ("large", "x" * (4 << 20))], "task")
    await put(saver, config(ns="child|a:1"), checkpoint("1"))
    await saver.acopy_thread("t", "copy")
    await put(saver, at, checkpoint("3"))
    found = [each async for each in saver.alist(config("copy"))]
    assert [each.checkpoint["channel_values"] for each in found] == [{"n": 2}, {"n": 1}, {"n": 0}]
    assert [each.pending_writes[0] for each in found] == [("task", "ch", 2), ("task", "ch", 1), ("task", "ch", 0)]
    assert found[0].config == config("copy", checkpoint_id="2")
    assert found[0].parent_config == config("copy", checkpoint_id="1")
    assert await listed(saver, config("copy", "child|a:1")) == ["1"]
    await saver.acopy_thread("never", "nothing")
    assert await listed(saver, config("nothing")) == []


async def test_a_thread_with_checkpoints_is_refused_as_the_target_of_a_copy(saver):
    await put(saver, config(), checkpoint("1"))
    await saver.acopy_thread("t", "copy")
    await put(saver, config("child", "ns"), checkpoint("1"))
    for target in ("copy", "child", "t"):
        with pytest.raises(holdfast.RevisionConflictError):
            await saver.acopy_thread("t", target)


async def test_a_prune_keeps_the_largest_id_of_each_namespace(saver):
    for ns in ("", "child"):
        for each in ("1", "3", "2"):
            at = await put(saver, config(ns=ns), checkpoint(each))
            await saver.aput_writes(at, [("ch", each)], "task")
    await saver.aprune(["t"])
    for ns in ("", "child"):
        assert await listed(saver, config(ns=ns)) == ["3"]
        assert await written(saver, config(ns=ns)) == [("task", "ch", "3")]
    with pytest.raises(ValueError, match="strategy"):
        await saver.aprune(["t"], strategy="keep_all")


async def chain(saver: Any, luck: random.Random, length: int) -> list[Any]:
    """Put checkpoints of a delta channel, some with its value, and a few forks."""
    made: list[Any] = []
    for n in range(length):
        values = {"d": _DeltaSnapshot([n])} if luck.random() < 0.15 else {}
        counters = {} if values else {"d": (1, 1)}
        parent = made[-1] if made and luck.random() < 0.8 else luck.choice(made) if made else config()
        at = await put(
            saver, parent, checkpoint(f"{n:03}", {"d": n + 1}, **values), counters_since_delta_snapshot=counters
        )
        for task in "ab":
            await saver.aput_writes(at, [("d", [n, task]), ("other", n)], task, "~" + "ba"[task == "b"])
        made.append(at)
    return made


@pytest.mark.parametrize("length", [12, full(30)])
@pytest.mark.parametrize("seed", range(3))
async def test_the_history_of_delta_channels_is_that_of_the_base_class(saver, seed, length):
    for at in await chain(saver, random.Random(seed), length):
        channels = ["d", "other", "never"]
        found = await saver.aget_delta_channel_history(config=at, channels=channels)
        assert found == await BaseCheckpointSaver.aget_delta_channel_history(saver, config=at, channels=channels)
    assert await saver.aget_delta_channel_history(config=config(), channels=["d"]) == (
        await saver.aget_delta_channel_history(config=at, channels=["d"])
    )
    assert await saver.aget_delta_channel_history(config=config(), channels=[]) == {}
    assert await saver.aget_delta_channel_history(config=config("never"), channels=["d"]) == {"d": {"writes": []}}


@pytest.mark.parametrize("is_mixed", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_a_prune_keeps_the_ancestors_that_a_delta_channel_is_rebuilt_from(another, seed, is_mixed):
    made = await chain(another, random.Random(seed), 30)
    if is_mixed:
        await put(another, config(), checkpoint("0"))
    before = await another.aget_delta_channel_history(config=made[-1], channels=["d"])
    count = len(await listed(another, config()))
    await another.aprune(["t"])
    assert len(await listed(another, config())) < count
    assert (await another.aget_tuple(config())).config == made[-1]
    assert await another.aget_delta_channel_history(config=made[-1], channels=["d"]) == before


async def test_a_put_that_is_refused_again_without_a_new_head_ends_with_the_refusal(another, monkeypatch):
    await put(another, config(), checkpoint("1"))
    refusals = 0

    async def refuse(*_: Any, **__: Any) -> None:
        nonlocal refusals
        refusals += 1
        raise holdfast.RevisionConflictError("somebody has saved", metadata={"head_revision": str(min(refusals, 3))})

    monkeypatch.setattr(another._clients.asynchronous, "save", refuse)
    with pytest.raises(holdfast.RevisionConflictError):
        await put(another, config(), checkpoint("2"))
    assert refusals == 4


async def circle(saver: Any) -> None:
    """Put two checkpoints of a delta channel that are parents of each other, and one beside them."""
    await put(saver, config(), checkpoint("0"))
    for each, parent in (("a", None), ("b", "a"), ("a", "b")):
        at = config(checkpoint_id=parent)
        await put(saver, at, checkpoint(each, {"d": 1}), counters_since_delta_snapshot={"d": (1, 1)})


async def test_parents_that_form_a_circle_end_the_history_of_a_delta_channel_with_an_error(saver):
    await circle(saver)
    with pytest.raises(holdfast.CheckpointCorruptedError, match="is its own ancestor"):
        await saver.aget_delta_channel_history(config=config(checkpoint_id="a"), channels=["d"])


async def test_a_prune_keeps_parents_that_form_a_circle(saver):
    await circle(saver)
    await saver.aprune(["t"])
    assert sorted(await listed(saver, config())) == ["a", "b"]


def watched(saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that collects the names of the calls that a saver makes from now on."""
    client, methods = saver._clients.asynchronous, []
    call = client._transport._caller.call
    monkeypatch.setattr(
        client._transport._caller,
        "call",
        lambda method, *rest, **named: methods.append(method) or call(method, *rest, **named),
    )
    return methods


async def test_a_step_makes_one_call_for_each_thing_that_it_saves(another, monkeypatch):
    methods = watched(another, monkeypatch)
    for ns, first in (("", []), ("child", [])):
        assert await another.aget_tuple(config(ns=ns)) is None
        at = await put(another, config(ns=ns), checkpoint("1"))
        assert methods == ["Load", *first, "Save"]
        methods.clear()
        await another.aput_writes(at, [("a", 1), ("b", 2)], "task")
        at = await put(another, at, checkpoint("2"))
        await another.aget_tuple(config(ns=ns))
        assert methods == ["AttachRecords", "Save", "Load"]
        methods.clear()


async def test_the_history_of_a_delta_channel_takes_few_calls(another, monkeypatch):
    at = config()
    for n in range(60):
        at = await put(another, at, checkpoint(f"{n:03}", {"d": n + 1}), counters_since_delta_snapshot={"d": (1, 1)})
        await another.aput_writes(at, [("d", n)], "task")
    methods = watched(another, monkeypatch)
    found = await another.aget_delta_channel_history(config=at, channels=["d"])
    assert [each[2] for each in found["d"]["writes"]] == list(range(59))
    assert methods == ["Load", "List"]


async def test_a_checkpoint_whose_needed_parent_was_deleted_is_saved_nevertheless(saver):
    gone = config(checkpoint_id="000")
    at = await put(saver, gone, checkpoint("001", {"d": 1}), counters_since_delta_snapshot={"d": (1, 1)})
    assert (await saver.aget_tuple(at)).parent_config == gone
    found = await saver.aget_delta_channel_history(config=at, channels=["d"])
    assert found == {"d": {"writes": []}}


async def test_a_value_that_only_pickle_could_save_is_refused(saver):
    with pytest.raises(TypeError):
        await put(saver, config(), checkpoint(x=lambda: None))
    with pytest.raises(TypeError):
        await saver.aput_writes(config(checkpoint_id="1"), [("ch", lambda: None)], "task")
    assert await saver.aget_tuple(config()) is None


async def test_data_that_the_serializer_cannot_read_is_a_typed_error(another, target, namespace):
    pickling = JsonPlusSerializer(pickle_fallback=True)
    async with HoldfastSaver.from_target(target, namespace=namespace, serde=pickling) as pickles:
        at = await put(pickles, config(), checkpoint(x=Picklable()))
        assert await pickles.aget_tuple(at) is not None
    with pytest.raises(holdfast.FormatIncompatibleError, match="pickle"):
        await another.aget_tuple(at)


class Picklable:
    def __reduce__(self):
        return str, ("pickled",)


class Xor:
    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "x/or", bytes(each ^ 7 for each in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "x/or"
        return bytes(each ^ 7 for each in ciphertext)


async def test_an_encrypting_serializer_leaves_no_text_in_the_store(target, store, namespace):
    serde = EncryptedSerializer(Xor(), JsonPlusSerializer(allowed_msgpack_modules=None))
    async with HoldfastSaver.from_target(target, namespace=namespace, serde=serde) as saver:
        at = await put(saver, config(), checkpoint(x="secret-in-a-value"))
        await saver.aput_writes(at, [("ch", "secret-in-a-write")], "task")
        assert (await saver.aget_tuple(at)).checkpoint["channel_values"] == {"x": "secret-in-a-value"}
        assert await written(saver, at) == [("task", "ch", "secret-in-a-write")]
    assert folder_objects.keys(store, f"ns/{namespace}/*")
    assert folder_objects.files_with(store, b"secret-in") == []


async def test_a_damaged_latest_checkpoint_is_a_typed_error(saver, store):
    await put(saver, config(), checkpoint("1", x="whole"))
    await put(saver, config(), checkpoint("2", x=long_text()))
    damage_newest(store)
    for read in (saver.aget_tuple(config()), listed(saver, config())):
        with pytest.raises(holdfast.CheckpointCorruptedError) as raised:
            await read
        assert raised.value.trace_id


async def collect(saver: HoldfastSaver, at: Any, found: list[str]) -> None:
    async for each in saver.alist(at):
        found.append(each.checkpoint["id"])


@pytest.mark.parametrize("bad", ["0", "2", "4"])
async def test_a_damaged_checkpoint_hides_no_other_one_from_a_list(another, target, store, namespace, caplog, bad):
    saver = another
    for each in "01234":
        await put(saver, config(), checkpoint(each, x=long_text() if each == bad else "whole"))
        if each == bad:
            damage_newest(store)
    await put(saver, config("other"), checkpoint("5"))
    for at, wanted in ((config(), "43210"), (None, "543210")):
        caplog.clear()
        found: list[str] = []
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await collect(saver, at, found)
        assert sorted(found, reverse=True) == [each for each in wanted if each != bad]
        assert len([each for each in caplog.records if "left out of a list" in each.message]) == 1
    async with HoldfastSaver.from_target(target, namespace=namespace, fallback=True) as falling_back:
        assert await listed(falling_back, config()) == [each for each in "43210" if each != bad]
        # It counts, so that no older one appears in its place.
        assert await listed(falling_back, config(), limit=1) == ([] if bad == "4" else ["4"])


async def test_a_checkpoint_that_the_serializer_cannot_read_hides_no_other_one_from_a_list(target, namespace):
    pickling = JsonPlusSerializer(pickle_fallback=True)
    async with (
        HoldfastSaver.from_target(target, namespace=namespace, serde=pickling) as pickles,
        HoldfastSaver.from_target(target, namespace=namespace) as saver,
        HoldfastSaver.from_target(target, namespace=namespace, fallback=True) as falling_back,
    ):
        for each in ("1", "2", "3"):
            await put(pickles, config(), checkpoint(each, x=Picklable() if each == "2" else 1))
        found: list[str] = []
        with pytest.raises(holdfast.FormatIncompatibleError, match="'2'"):
            await collect(saver, config(), found)
        assert found == ["3", "1"]
        assert await listed(falling_back, config()) == ["3", "1"]


async def test_with_fallback_a_damaged_latest_checkpoint_is_answered_with_the_one_before(
    target, namespace, store, caplog, another
):
    await put(another, config(), checkpoint("1", x="whole"))
    await put(another, config(), checkpoint("2", x=long_text()))
    damage_newest(store)
    async with HoldfastSaver.from_target(target, namespace=namespace, fallback=True) as saver:
        for each in (saver, Synchronous(saver)):
            found = await each.aget_tuple(config())
            assert (found.config, found.checkpoint["channel_values"]) == (config(checkpoint_id="1"), {"x": "whole"})
        assert "fell back to checkpoint 1" in caplog.text
        # A load by id never falls back.
        with pytest.raises(holdfast.CheckpointCorruptedError):
            await saver.aget_tuple(config(checkpoint_id="2"))
        at = await put(saver, found.config, checkpoint("3"))
        assert await saver.aget_tuple(config()) == await another.aget_tuple(at)


async def test_a_damaged_marker_after_another_one_is_a_typed_error_and_no_older_checkpoint_is_the_latest(tmp_path):
    url = (tmp_path / "store").as_uri()
    with server(url) as target:
        async with HoldfastSaver.from_target(target, namespace="n") as saver:
            for each in ("1", "2", "3"):
                await put(saver, config(), checkpoint(each), run_id=each)
            await saver.adelete_for_runs(["1"])
    damage_marker(tmp_path / "store", newer=1)
    with server(url) as target:
        async with (
            HoldfastSaver.from_target(target, namespace="n") as strict,
            HoldfastSaver.from_target(target, namespace="n", fallback=True) as falling_back,
        ):
            for call in (
                lambda: strict.aget_tuple(config()),
                lambda: listed(strict, config()),
                lambda: put(strict, config(), checkpoint("4")),
            ):
                with pytest.raises(holdfast.CheckpointCorruptedError):
                    await call()
            assert (await falling_back.aget_tuple(config())).checkpoint["id"] == "2"
            await put(falling_back, config(checkpoint_id="2"), checkpoint("4"))
            assert (await strict.aget_tuple(config())).checkpoint["id"] == "4"


async def test_damaged_writes_are_a_typed_error_also_with_fallback(saver, target, store, namespace):
    at = await put(saver, config(), checkpoint("1"))
    await put(saver, at, checkpoint("2"))
    await saver.aput_writes(config(checkpoint_id="2"), [("ch", LONG)], "task")
    [batch] = folder_objects.keys(store, f"ns/{namespace}/wf/t/rec/*")
    folder_objects.write(store, batch, folder_objects.read(store, batch).replace(b"xxx", b"xxy"))
    async with HoldfastSaver.from_target(target, namespace=namespace, fallback=True) as falling_back:
        for each in (saver, falling_back):
            with pytest.raises(holdfast.CheckpointCorruptedError):
                await each.aget_tuple(config())
    assert (await saver.aget_tuple(at)).pending_writes == []


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_every_method_fails_with_a_typed_error_and_a_trace_if_no_server_answers(kind):
    async with HoldfastSaver.from_target(NOBODY, namespace="n", timeout=0.3) as opened:
        saver: Any = opened if kind == "async" else Synchronous(opened)
        at = config(checkpoint_id="1")
        for call in (
            lambda: saver.aget_tuple(config()),
            lambda: listed(saver, config()),
            lambda: put(saver, config()),
            lambda: saver.aput_writes(at, [("ch", 1)], "task"),
            lambda: saver.adelete_thread("t"),
            lambda: saver.adelete_for_runs(["r"]),
            lambda: saver.acopy_thread("a", "b"),
            lambda: saver.aprune(["t"]),
            lambda: saver.aget_delta_channel_history(config=at, channels=["d"]),
        ):
            with pytest.raises((holdfast.ServerUnavailableError, holdfast.DeadlineExceededError)) as raised:
                await call()
            assert len(raised.value.trace_id) == 32


async def test_a_saver_works_only_within_its_block(target, namespace):
    saver = HoldfastSaver.from_target(target, namespace=namespace)
    with pytest.raises(RuntimeError, match="async with"):
        await saver.aget_tuple(config())
    with pytest.raises(RuntimeError, match="with"):
        saver.get_tuple(config())
    with saver:
        assert saver.get_tuple(config()) is None
        with pytest.raises(RuntimeError, match="async with"):
            await saver.aget_tuple(config())
    async with saver:
        assert await saver.aget_tuple(config()) is None
        assert saver.get_tuple(config()) is None
    with pytest.raises(RuntimeError, match="with"):
        saver.get_tuple(config())


async def test_the_next_version_has_the_form_of_the_current_one(another):
    assert [another.get_next_version(each, None) for each in (None, 1, 1.5)] == [1, 2, 2.5]
    text = another.get_next_version(f"{9:032}.0123", None)
    assert f"{9:032}.9" < text < f"{11:032}"
    assert InMemorySaver().get_next_version(text, None) > text


def test_every_method_of_the_base_class_that_uses_the_store_is_implemented():
    inherited = {"get", "aget", "config_specs", "with_allowlist", "get_next_version"}
    names = {name for name in vars(BaseCheckpointSaver) if not name.startswith("_")} - inherited - {"serde"}
    assert {name for name in names if getattr(HoldfastSaver, name) is getattr(BaseCheckpointSaver, name)} == set()
