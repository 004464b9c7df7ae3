"""Two runs of one thread: with exclusive ownership the overtaken one is refused before it writes anything."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import holdfast
import pytest

from tests.integration.adapters.langgraph.savers import checkpoint, config, listed, put
from tests.integration.adapters.programs import imports_of
from tests.support.forked import Forked
from tests.support.required import require_engine

require_engine("langgraph.graph")

from holdfast.adapters.langgraph import HoldfastSaver  # noqa: E402
from langgraph.graph import START, StateGraph  # noqa: E402
from langgraph.types import Command  # noqa: E402

from tests.integration.adapters.programs.langgraph_approval import AT, State, shop  # noqa: E402

PROGRAM = "tests.integration.adapters.programs.langgraph_approval"
REFUSED = {"RevisionConflictError", "WriterFencedError"}


class Process:
    """Run a process that approves the order."""

    def __init__(self, target: str, namespace: str, name: str, ownership: str) -> None:
        arguments = (target, namespace, name, ownership)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = Forked(PROGRAM, *arguments, modules=imports_of(PROGRAM), text=True, **pipes)

    def says(self) -> str:
        return self.process.stdout.readline().strip()

    def proceed(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def approving(target: str, namespace: str, name: str, ownership: str) -> Iterator[Process]:
    each = Process(target, namespace, name, ownership)
    try:
        yield each
    finally:
        each.process.kill()
        each.process.communicate()


async def nothing(_point: str) -> None:
    pass


async def ask(target: str, namespace: str) -> None:
    async with HoldfastSaver.from_target(target, namespace=namespace) as saver:
        await shop(saver, "nobody", nothing).ainvoke({"asked": False}, AT, durability="sync")


async def chain(target: str, namespace: str) -> tuple[Any, list[Any]]:
    """Return the final values, after checking that each checkpoint is the child of the one before."""
    async with HoldfastSaver.from_target(target, namespace=namespace) as saver:
        found = [each async for each in saver.alist(AT)]
        for child, parent in zip(found, [*found[1:], None], strict=True):
            assert child.parent_config == (parent and parent.config)
        state = await shop(saver, "nobody", nothing).aget_state(AT)
        return state.values, [each.config["configurable"]["checkpoint_id"] for each in found]


async def test_of_two_processes_that_loaded_the_same_question_one_keeps_its_result(target, namespace):
    await ask(target, namespace)
    _, before = await chain(target, namespace)
    with (
        approving(target, namespace, "one", "exclusive") as one,
        approving(target, namespace, "two", "exclusive") as two,
    ):
        for each in (one, two):
            assert each.says() == "loaded"
        for each in (one, two):
            each.proceed()
        said = {}
        for each, name in ((one, "one"), (two, "two")):
            word = each.says()
            # The tool of the refused process may have begun.
            while word == "shipping":
                each.proceed()
                word = each.says()
            said[name] = word
    winner = next(name for name, word in said.items() if word == "kept")
    assert {word for name, word in said.items() if name != winner} <= REFUSED
    values, after = await chain(target, namespace)
    assert values == {"asked": True, "shipped_by": winner}
    assert after[-len(before) :] == before
    assert len(after) == len(before) + 2


async def test_a_process_that_is_overtaken_while_its_tool_runs_is_refused_before_the_result_is_saved(target, namespace):
    await ask(target, namespace)
    with approving(target, namespace, "slow", "exclusive") as slow:
        assert slow.says() == "loaded"
        slow.proceed()
        assert slow.says() == "shipping"
        with approving(target, namespace, "fast", "exclusive") as fast:
            for point in ("loaded", "shipping"):
                assert fast.says() == point
                fast.proceed()
            assert fast.says() == "kept"
        kept = await chain(target, namespace)
        slow.proceed()
        assert slow.says() == "WriterFencedError"
    assert kept[0]["shipped_by"] == "fast"
    assert await chain(target, namespace) == kept


async def test_two_shared_runs_both_continue(target, namespace):
    await ask(target, namespace)
    with approving(target, namespace, "one", "shared") as one, approving(target, namespace, "two", "shared") as two:
        for point in ("loaded", "shipping"):
            for each in (one, two):
                assert each.says() == point
                each.proceed()
        assert [one.says(), two.says()] == ["kept", "kept"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_of_two_tasks_of_one_saver_that_approve_concurrently_one_keeps_its_result(target, namespace, durability):
    both = asyncio.Barrier(2)

    class Waiting(HoldfastSaver):
        async def aget_tuple(self, config: Any) -> Any:
            found = await super().aget_tuple(config)
            await both.wait()
            return found

    await ask(target, namespace)
    async with Waiting.from_target(target, namespace=namespace, ownership="exclusive") as saver:
        ended = await asyncio.gather(
            *(
                shop(saver, name, nothing).ainvoke(Command(resume=name), AT, durability=durability)
                for name in ("one", "two")
            ),
            return_exceptions=True,
        )
    (kept,) = [each for each in ended if isinstance(each, dict)]
    (refused,) = [each for each in ended if isinstance(each, Exception)]
    assert type(refused).__name__ in REFUSED
    values, after = await chain(target, namespace)
    assert values == kept
    assert len(after) == (3 if durability == "exit" else 4)


async def test_of_two_threads_of_one_saver_that_approve_concurrently_one_keeps_its_result(target, namespace):
    both = threading.Barrier(2)

    class Waiting(HoldfastSaver):
        def get_tuple(self, config: Any) -> Any:
            found = super().get_tuple(config)
            both.wait()
            return found

    def ship_of(name: str) -> Any:
        def ship(state: State) -> State:
            from langgraph.types import interrupt  # noqa: PLC0415

            interrupt("ship it?")
            return {"shipped_by": name}

        def close(state: State) -> State:
            return {"asked": True}

        builder = StateGraph(State).add_node("ship", ship).add_node("close", close)
        return builder.add_edge(START, "ship").add_edge("ship", "close")

    await ask(target, namespace)
    with Waiting.from_target(target, namespace=namespace, ownership="exclusive") as saver:

        def approve(name: str) -> Any:
            graph = ship_of(name).compile(checkpointer=saver)
            return graph.invoke(Command(resume=name), AT, durability="sync")

        with ThreadPoolExecutor(2) as threads:
            tried = [threads.submit(approve, name) for name in ("one", "two")]
            failed = [each.exception() for each in tried]
    (refused,) = [each for each in failed if each is not None]
    assert type(refused).__name__ in REFUSED
    values, _ = await chain(target, namespace)
    assert values == next(each.result() for each, error in zip(tried, failed, strict=True) if error is None)


async def test_reading_the_state_takes_nothing_from_a_run_and_hides_nothing_from_it(target, namespace):
    looked = []

    async def looks(point: str) -> None:
        looked.append((await shop(saver, "x", nothing).aget_state(AT)).next)

    await ask(target, namespace)
    async with HoldfastSaver.from_target(target, namespace=namespace, ownership="exclusive") as saver:
        assert (await shop(saver, "one", looks).ainvoke(Command(resume="one"), AT))["shipped_by"] == "one"
    assert looked

    async def overtaken(point: str) -> None:
        async with HoldfastSaver.from_target(target, namespace=namespace, ownership="exclusive") as other:
            while True:
                # The run may acquire the thread between the load and the write of this update.
                with suppress(holdfast.RevisionConflictError):
                    await shop(other, "two", nothing).aupdate_state(AT, {"shipped_by": "two"}, as_node="close")
                    break
        await shop(saver, "x", nothing).aget_state(AT)

    async with HoldfastSaver.from_target(target, namespace=namespace, ownership="exclusive") as saver:
        await shop(saver, "one", nothing).ainvoke({"asked": False}, AT)

        async def watched() -> None:
            async for _ in shop(saver, "one", overtaken).astream(Command(resume="one"), AT, durability="sync"):
                await shop(saver, "x", nothing).aget_state(AT)

        with pytest.raises((holdfast.WriterFencedError, holdfast.RevisionConflictError)):
            await watched()
    assert (await chain(target, namespace))[0]["shipped_by"] == "two"


async def test_an_exclusive_saver_continues_after_maintenance_and_from_run_to_run(target, namespace):
    async with HoldfastSaver.from_target(target, namespace=namespace, ownership="exclusive") as saver:
        for number in range(3):
            found = await shop(saver, f"{number}", nothing).ainvoke({"asked": False}, AT)
            assert "__interrupt__" in found
            await saver.aprune(["order"])
            found = await shop(saver, f"{number}", nothing).ainvoke(Command(resume="yes"), AT)
            assert found["shipped_by"] == str(number)


async def test_direct_puts_of_an_exclusive_saver_continue_from_the_newest_checkpoint(target, namespace):
    async with (
        HoldfastSaver.from_target(target, namespace=namespace, ownership="exclusive") as one,
        HoldfastSaver.from_target(target, namespace=namespace, ownership="exclusive") as two,
    ):
        at = await put(one, config(), checkpoint("1"))
        await one.aput_writes(at, [("ch", 1)], "task")
        await two.aget_tuple(config())
        await put(two, at, checkpoint("2"))
        with pytest.raises(holdfast.WriterFencedError):
            await put(one, at, checkpoint("3"))
        with pytest.raises(holdfast.WriterFencedError):
            await one.aput_writes(at, [("ch", 2)], "other")
        await one.aget_tuple(config())
        await put(one, at, checkpoint("4"))
        with pytest.raises((holdfast.WriterFencedError, holdfast.RevisionConflictError)):
            await put(two, at, checkpoint("5"))
        assert await listed(one, config()) == ["4", "2", "1"]
        assert (await one.aget_tuple(at)).pending_writes == [("task", "ch", 1)]


@pytest.mark.parametrize("ownership", ["", None, "Exclusive", True])
def test_an_invalid_ownership_is_refused(ownership):
    with pytest.raises(ValueError, match="ownership must be"):
        HoldfastSaver("127.0.0.1:1", namespace="n", ownership=ownership)
