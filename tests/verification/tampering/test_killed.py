"""A store that gets its MACs is whole whenever the command is killed: another run finishes, and no server opens it."""

import json
import signal
import subprocess
import time

from holdfast_server.protocol.format.manifest import open_layout
from holdfast_server.protocol.log.log import Log
from holdfast_server.stores.file import FileStore

from tests.support import folder_objects, servers
from tests.support.budget import amount
from tests.support.workflows import GRACE, Workflow

CHECKPOINTS = 150
# How many objects have a MAC when the command is killed, at least.
MOMENTS = amount(small=(60,), full=(0, 1, 60, 200))


def with_macs(folder):
    with folder_objects.database(folder) as connection:
        query = "SELECT count(*) FROM contents WHERE substr(value, 1, 6) = x'48464d4b0003'"
        return connection.execute(query).fetchone()[0]


def is_begun(folder):
    return b"macKeyId" in folder_objects.read(folder, "holdfast.json")


def kill(folder, moment, flags):
    """Kill the command once some objects have a MAC, unless it has ended."""
    process = subprocess.Popen([*servers.EXECUTABLE, "add-macs", "--first", *flags], stdout=subprocess.DEVNULL)
    while process.poll() is None and not (is_begun(folder) and with_macs(folder) >= moment):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


async def test_a_store_is_whole_wherever_its_first_macs_are_interrupted(tmp_path):
    folder, keys = tmp_path / "store", tmp_path / "mac-keys.toml"
    async with FileStore.open(folder) as store:
        await open_layout(store, grace_seconds=GRACE)
        run = Workflow(Log(store, grace_seconds=GRACE))
        for number in range(CHECKPOINTS):
            await run.save(b"x" * number, checkpoint_id=f"c{number}")
    flags = [f"--store={folder.as_uri()}", f"--mac-keys-file={keys}"]
    servers.run("mac-key", "create", flags[1])
    for moment in MOMENTS:
        kill(folder, moment, flags)
        if b"addingMacs" not in folder_objects.read(folder, "holdfast.json"):
            # It had finished.
            break
        # No server and no other command opens a store that is half done.
        refused = servers.run("fsck", *flags)
        assert (refused.returncode, "not all objects of the store have a MAC yet" in refused.stderr) == (2, True)
    done = servers.run("add-macs", "--first", *flags)
    assert done.returncode == 0 or "the store has its MACs already" in done.stderr
    checked = servers.run("fsck", *flags)
    figures = json.loads(checked.stdout)
    assert (checked.returncode, figures["findings"], figures["checkpoints"]) == (0, 0, CHECKPOINTS)
    # The check has left its report.
    assert with_macs(folder) == 2 * CHECKPOINTS + 1
