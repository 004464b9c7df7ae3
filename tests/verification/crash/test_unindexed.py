"""A server that is killed between a commit and the index of its id: loads by id work, and a later server indexes it."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import holdfast
import pytest
from holdfast_server.protocol.format.id_index import BLOCK

from tests.support import folder_objects
from tests.support.servers import run, server, start
from tests.verification.crash.killed import AFTER, MOMENTS

FORMAT = holdfast.Format("test", 1)
# A block and what the deaths of some servers leave of another one.
SAVES = 2 * BLOCK


def ids() -> Iterator[str]:
    """Yield new ids."""
    return (f"id-{number}" for number in range(10 * BLOCK))


def save_until_killed(store: Path, moment: str, new: Iterator[str]) -> list[str]:
    """Save under new ids to a server that is killed at a moment. Return the ids that may be committed."""
    within = [sys.executable, "-m", "tests.verification.crash.killed", moment]
    process, target = start(store.as_uri(), within=within)
    sent = []
    try:
        with holdfast.Client(target, timeout=2) as client:
            for checkpoint_id in new:
                sent.append(checkpoint_id)
                try:
                    client.save(
                        "n", "w", checkpoint_id.encode(), format=FORMAT, checkpoint_id=checkpoint_id, fresh_id=True
                    )
                except holdfast.HoldfastError:
                    break
        assert process.wait(30) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    return sent


def indexes(store: Path) -> list[str]:
    """Return the objects of the index."""
    return folder_objects.keys(store, "*/idx/*")


@pytest.mark.parametrize("moment", MOMENTS)
def test_every_acknowledged_id_is_found_after_the_server_was_killed_before_it_was_indexed(tmp_path, moment):
    new = ids()
    # Each save after the block is full dies again, since the index is due again.
    sent = [*save_until_killed(tmp_path, moment, new), *save_until_killed(tmp_path, moment, new)]
    assert len(sent) > BLOCK
    assert len(indexes(tmp_path)) == (moment == AFTER)
    with server(tmp_path.as_uri()) as target, holdfast.Client(target) as client:
        committed = {each.checkpoint_id for each in client.list("n", "w")}
        # The save in progress when a server died is committed or not.
        assert len(set(sent) - committed) <= 2
        for checkpoint_id in sent:
            if checkpoint_id in committed:
                assert client.load("n", "w", checkpoint_id).data == checkpoint_id.encode()
            else:
                with pytest.raises(holdfast.CheckpointNotFoundError):
                    client.load("n", "w", checkpoint_id)
        while len(committed) < SAVES:
            checkpoint_id = next(new)
            client.save("n", "w", checkpoint_id.encode(), format=FORMAT, checkpoint_id=checkpoint_id, fresh_id=True)
            committed.add(checkpoint_id)
    # The next server finds all of them by the index of the one that drained.
    assert indexes(tmp_path)
    with server(tmp_path.as_uri()) as target, holdfast.Client(target) as client:
        for checkpoint_id in committed:
            assert client.load("n", "w", checkpoint_id).data == checkpoint_id.encode()
    assert run("fsck", "--store", tmp_path.as_uri()).returncode == 0
