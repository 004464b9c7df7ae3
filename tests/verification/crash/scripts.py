"""The program of recorded processes: it plays a script in each of its folders.

Each note is one write to a file beside the store, so that the record of system calls contains the promises up to
each of its moments.
"""

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path

from holdfast_server.protocol.format.manifest import open_layout
from holdfast_server.stores.base import ObjectStore
from holdfast_server.stores.file import FileStore

from tests.support.planted import planted
from tests.verification.crash.alone import alone, small
from tests.verification.crash.mutants import MUTANTS
from tests.verification.crash.player import (
    GRACE_SECONDS,
    LARGE_BYTES,
    RESTING_BYTES,
    SMALL_BYTES,
    Note,
    Player,
    until_done,
)

# In the folder of a run. The parent of the store is missing too, on purpose.
STORE = "data/store"
NOTES = "notes"


async def life(players: Sequence[Player]) -> None:
    """Every operation of one server in the life of a workflow."""
    (player,) = players
    await player.save("w", "a1")
    await player.save("w", "a2", checkpoint_id="wiped")
    await player.save("w", "a3", LARGE_BYTES)
    await player.save("w", "a4", checkpoint_id="chosen")
    await player.save("v", "a5", LARGE_BYTES)
    await player.delete("w", "wiped", purges=True)
    await player.delete("w", "chosen")
    await player.collect("w", 2, graces=2)
    await player.collect("w", 2, graces=4)
    await player.save("w", "a6", checkpoint_id="other")
    await player.load("w")


async def together(players: Sequence[Player]) -> None:
    """Two servers that make the same store at the same time, with several saves in a batch."""
    await asyncio.gather(
        *(
            player.save(f"w{number}", f"{name}{number}{checkpoint_id}", size, checkpoint_id)
            for name, player in zip("ab", players, strict=True)
            for number, size, checkpoint_id in (
                (1, SMALL_BYTES, ""),
                (2, SMALL_BYTES, ""),
                (2, SMALL_BYTES, "chosen"),
                (2, SMALL_BYTES, "other"),
                (3, LARGE_BYTES, ""),
            )
        ),
        *(player.load(f"w{number}") for player in players for number in (1, 2, 3)),
    )
    await asyncio.gather(*(player.load(f"w{number}") for player in players for number in (1, 2, 3)))


async def goes_on(players: Sequence[Player]) -> None:
    """The operations of a second server after a first one stopped."""
    (player,) = players
    await player.load("w")
    await player.save("w", "b1")
    await player.load("w", "chosen")
    await player.save("w", "b2", checkpoint_id="chosen")
    await player.save("v", "b3", LARGE_BYTES)


async def rests(players: Sequence[Player]) -> None:
    """Checkpoints that rest on earlier ones, which are purged, deleted and collected."""
    (player,) = players
    await player.save("r", "r1", RESTING_BYTES, "first")
    await player.save("r", "r2", RESTING_BYTES)
    await player.save("r", "r3", RESTING_BYTES, "chosen")
    await player.save("r", "r4", RESTING_BYTES)
    await player.save("r", "r5", RESTING_BYTES)
    # The others are stored again.
    await player.delete("r", "first", purges=True)
    await player.save("r", "r6", RESTING_BYTES)
    await player.delete("r", "chosen")
    await player.collect("r", 2, graces=2)
    await player.collect("r", 2, graces=4)
    await player.save("r", "r7", RESTING_BYTES)
    await player.load("r")


async def rests_on(players: Sequence[Player]) -> None:
    """The operations of a second server, which builds on the checkpoints of a first one that stopped."""
    (player,) = players
    await player.save("r", "s1", RESTING_BYTES)
    await player.save("r", "s2", RESTING_BYTES)
    await player.delete("r", "chosen", purges=True)
    await player.load("r")


async def saves(players: Sequence[Player]) -> None:
    """One save of each kind."""
    (player,) = players
    await player.save("w", "a1")
    await player.save("w", "a2", checkpoint_id="chosen")
    await player.save("w", "a3", LARGE_BYTES)


SCRIPTS: dict[str, tuple[int, Callable[[Sequence[Player]], Awaitable[None]]]] = {
    "life": (1, life),
    "together": (2, together),
    "goes_on": (1, goes_on),
    "rests": (1, rests),
    "rests_on": (1, rests_on),
    "saves": (1, saves),
}


async def play(script: str, folder: Path) -> None:
    """Play a script on the store of a folder."""
    count, perform = SCRIPTS[script]
    descriptor = os.open(folder / NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)

    def note(what: Note) -> None:
        os.write(descriptor, json.dumps(what).encode() + b"\n")

    try:
        async with AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(_opened(folder / STORE)) for _ in range(count)]
            await asyncio.gather(*(_made_sure(store) for store in stores))
            await perform([Player(store, note) for store in stores])
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[FileStore]:
    async with AsyncExitStack() as stack:
        yield await until_done(lambda: stack.enter_async_context(FileStore.open(folder)))


async def _made_sure(store: ObjectStore) -> None:
    await until_done(lambda: open_layout(store, grace_seconds=GRACE_SECONDS))


async def _main(script: str, folders: Sequence[str]) -> None:
    for folder in folders:
        await play(script, Path(folder))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--planted", choices=[mutant.rule for mutant in MUTANTS])
    parser.add_argument("script", choices=SCRIPTS)
    parser.add_argument("folders", nargs="+")
    options = parser.parse_args()
    broken_rule = next((each for each in MUTANTS if each.rule == options.planted), None)
    with alone() if options.alone else small(), planted(broken_rule) if broken_rule else nullcontext():
        asyncio.run(_main(options.script, options.folders))
