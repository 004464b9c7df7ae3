"""The users of a soak. Each goes on until the time is up, whatever errors it gets, and checks every answer."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import holdfast

from tests.verification.soak.ledger import PASSING, Ledger, digest_of

FORMAT = holdfast.Format("soak", 1)
KEEP_LAST = 5
RETENTION = {"trimmed": {"keep_last": KEEP_LAST}}
SIZES = {"kept": (100, 3_000, 80_000), "trimmed": (100, 200_000, 5_000_000), "fenced": (100,), "runs": (100, 90_000)}
TTL = timedelta(seconds=5)
# What half of each payload consists of, so that many are stored as deltas.
_COMMON = random.Random("common").randbytes(1 << 20)
_CALL_SECONDS = 40.0

_Answer = TypeVar("_Answer")
_GONE = frozenset({"CHECKPOINT_NOT_FOUND", "CHECKPOINT_DELETED", "WORKFLOW_NOT_FOUND"})
_FENCED = frozenset({"WRITER_FENCED"})


class User:
    """A user with a client of each server.

    Args:
        name: unique among the users.
        clients: one for each server; each call uses one of them at random.
        ledger: the ledger for all calls.
        is_over: returns whether the time is up.

    """

    def __init__(
        self, name: str, clients: list[holdfast.AsyncClient], ledger: Ledger, is_over: Callable[[], bool]
    ) -> None:
        self._name = name
        self._clients = clients
        self._ledger = ledger
        self._is_over = is_over
        self._chance = random.Random(name)
        self._count = 0
        self._ended_with = ""

    # Users that save

    async def keep(self) -> None:
        """Save into workflows that keep everything and that other users save into."""
        while await self._goes_on(0.2):
            await self._save("kept", f"w{self._chance.randrange(4)}")

    async def trim(self) -> None:
        """Save into workflows that keep the newest few; some checkpoints have a time to live."""
        while await self._goes_on(0.2):
            await self._save("trimmed", f"w{self._chance.randrange(4)}", expires=self._chance.random() < 0.2)

    async def rival(self) -> None:
        """Take over a workflow from its writer, and save until another user takes it over."""
        epoch: int | None = None
        while await self._goes_on(0.1):
            if epoch is None:
                await asyncio.sleep(self._chance.uniform(0, 1))
                writer = await self._call("acquire_writer", lambda: self._client().acquire_writer("fenced", "w"))
                epoch = None if writer is None else writer.epoch
                continue
            await self._save("fenced", "w", epoch=epoch)
            if self._ended_with == "WRITER_FENCED":
                epoch = None

    async def run(self) -> None:
        """Use one workflow after the other: save with chosen ids, resume, delete checkpoints, delete the workflow."""
        number = 0
        while await self._goes_on(0.1):
            number += 1
            where = ("runs", f"{self._name}-{number}")
            for step in range(self._chance.randrange(3, 12)):
                if self._is_over():
                    return
                await self._save(*where, checkpoint_id=f"step-{step}")
                if self._chance.random() < 0.3:
                    await self._delete_one(*where)
                await self._load_one(*where)
            if await self._call("delete_workflow", lambda where=where: self._client().delete_workflow(*where), _GONE):
                self._ledger.workflows[where].is_over = True

    async def _save(
        self,
        namespace: str,
        workflow_id: str,
        *,
        checkpoint_id: str = "",
        epoch: int | None = None,
        expires: bool = False,
    ) -> None:
        where = (namespace, workflow_id)
        self._count += 1
        size = self._chance.choices(SIZES[namespace], [4**-each for each in range(len(SIZES[namespace]))])[0]
        common = _COMMON[: size // 2]
        data = f"{self._name}-{self._count}-".encode() + common + self._chance.randbytes(size - len(common))
        digest = self._ledger.send(where, data)
        saved = await self._call(
            "save",
            lambda: self._client().save(
                *where,
                data,
                format=FORMAT,
                checkpoint_id=checkpoint_id,
                epoch=epoch,
                ttl=TTL if expires else None,
                timeout=_CALL_SECONDS,
            ),
            _FENCED if epoch is not None else frozenset(),
        )
        if saved is not None:
            self._ledger.acknowledge(where, saved, digest, expires=expires)
        elif self._ended_with in PASSING:
            self._ledger.workflows[where].unknown += 1

    async def _delete_one(self, namespace: str, workflow_id: str) -> None:
        workflow = self._ledger.workflows[namespace, workflow_id]
        left = [each for each in workflow.acknowledged if each not in workflow.let_go]
        if left:
            chosen = self._chance.choice(left)
            workflow.let_go.add(chosen)
            await self._call("delete", lambda: self._client().delete(namespace, workflow_id, chosen), _GONE)

    # Users that load

    async def look(self) -> None:
        """Load, list, validate and resume, in every kind of workflow that is not deleted."""
        while await self._goes_on(0.05):
            where = self._chance.choice([("kept", f"w{self._chance.randrange(4)}"), ("fenced", "w")])
            await self._chance.choice([self._load_newest, self._load_one, self._list, self._resume])(*where)

    async def _load_newest(self, namespace: str, workflow_id: str) -> None:
        workflow = self._ledger.workflows[namespace, workflow_id]
        least = workflow.newest
        loaded = await self._call("load", lambda: self._client().load(namespace, workflow_id), self._not_yet(least))
        if loaded is not None and (loaded.revision < least or digest_of(loaded.data) not in workflow.sent):
            self._ledger.broken.append(
                f"{namespace}/{workflow_id}: a load gave revision {loaded.revision}, not {least}"
            )

    async def _load_one(self, namespace: str, workflow_id: str) -> None:
        workflow = self._ledger.workflows[namespace, workflow_id]
        known = [each for each in workflow.acknowledged if each not in workflow.let_go]
        if not known:
            return
        chosen = self._chance.choice(known)
        loaded = await self._call("load by id", lambda: self._client().load(namespace, workflow_id, chosen))
        if loaded is not None and digest_of(loaded.data) != workflow.acknowledged[chosen].digest:
            self._ledger.broken.append(f"{namespace}/{workflow_id}: {chosen} has other content")

    async def _list(self, namespace: str, workflow_id: str) -> None:
        workflow = self._ledger.workflows[namespace, workflow_id]
        known = {each for each in workflow.acknowledged if each not in workflow.let_go}

        async def listed() -> set[str]:
            return {each.checkpoint_id async for each in self._client().list(namespace, workflow_id, page_size=1000)}

        found = await self._call("list", listed, self._not_yet(len(known)))
        if found is not None and not known <= found:
            self._ledger.broken.append(f"{namespace}/{workflow_id}: a list lacks {sorted(known - found)}")

    async def _resume(self, namespace: str, workflow_id: str) -> None:
        least = self._ledger.workflows[namespace, workflow_id].newest
        resumed = await self._call(
            "resume",
            lambda: self._client().resume(namespace, workflow_id, format=FORMAT, fallback=True),
            self._not_yet(least),
        )
        if resumed is not None and (resumed.fell_back or resumed.revision < least):
            self._ledger.broken.append(f"{namespace}/{workflow_id}: resumed at {resumed.revision}: {resumed.skipped}")

    def _not_yet(self, known: int) -> frozenset[str]:
        return frozenset() if known else _GONE

    # Every user

    async def _call(
        self, what: str, send: Callable[[], Awaitable[_Answer]], allowed: frozenset[str] = frozenset()
    ) -> _Answer | None:
        self._ended_with = ""
        try:
            answer = await send()
        except holdfast.HoldfastError as error:
            self._ended_with = error.reason
            self._ledger.fail(f"{self._name}: {what}", error, allowed)
            return None
        self._ledger.calls[what] += 1
        return answer

    def _client(self) -> holdfast.AsyncClient:
        return self._chance.choice(self._clients)

    async def _goes_on(self, longest_rest_seconds: float) -> bool:
        await asyncio.sleep(self._chance.uniform(0, longest_rest_seconds))
        return not self._is_over()
