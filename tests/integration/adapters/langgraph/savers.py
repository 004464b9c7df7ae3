"""Savers and checkpoints of LangGraph for tests."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint

# Too large to be inline, so that there is a blob to damage.
LONG = "x" * 100_000


class Synchronous(BaseCheckpointSaver[Any]):
    """A saver whose asynchronous methods call the synchronous ones of another saver in a thread."""

    def __init__(self, saver: Any) -> None:
        super().__init__(serde=saver.serde)
        self.saver = saver

    def with_allowlist(self, extra_allowlist: Any) -> "Synchronous":
        return Synchronous(self.saver.with_allowlist(extra_allowlist))

    async def aget_tuple(self, config: Any) -> Any:
        return await asyncio.to_thread(self.saver.get_tuple, config)

    async def alist(self, config: Any, **options: Any) -> AsyncIterator[Any]:
        for each in await asyncio.to_thread(lambda: list(self.saver.list(config, **options))):
            yield each

    async def aput(self, *arguments: Any) -> Any:
        return await asyncio.to_thread(self.saver.put, *arguments)

    async def aput_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        await asyncio.to_thread(self.saver.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.saver.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.saver.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.saver.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(lambda: self.saver.prune(thread_ids, strategy=strategy))

    async def aget_delta_channel_history(self, *, config: Any, channels: Sequence[str]) -> Any:
        return await asyncio.to_thread(lambda: self.saver.get_delta_channel_history(config=config, channels=channels))


def config(thread_id: Any = "t", ns: str = "", checkpoint_id: str | None = None) -> Any:
    named = {"thread_id": thread_id, "checkpoint_ns": ns}
    return {"configurable": named | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}


def checkpoint(checkpoint_id: str = "", versions: dict[str, Any] | None = None, **values: Any) -> Any:
    made = empty_checkpoint()
    made["id"] = checkpoint_id or made["id"]
    made["channel_values"] = values
    made["channel_versions"] = versions or dict.fromkeys(values, 1)
    return made


async def put(saver: Any, at: Any, made: Any = None, **metadata: Any) -> Any:
    """Put a checkpoint after the one that a config names, and return the new config."""
    made = made or checkpoint()
    return await saver.aput(
        at, made, {"source": "loop", "step": 1, "parents": {}, **metadata}, made["channel_versions"]
    )


async def listed(saver: Any, at: Any, **options: Any) -> list[str]:
    return [each.checkpoint["id"] async for each in saver.alist(at, **options)]


async def written(saver: Any, at: Any) -> list[tuple[str, str, Any]]:
    return (await saver.aget_tuple(at)).pending_writes
